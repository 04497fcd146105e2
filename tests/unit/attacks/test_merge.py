from collections.abc import Callable

import pytest
import torch
from torch import nn

from deepsigns_registry.attacks.finetune import Finetune
from deepsigns_registry.attacks.merge import Merge, mean_of
from deepsigns_registry.errors import CouldNotCheckError
from deepsigns_registry.watermark.adapters.eager import EagerTappedModel
from deepsigns_registry.watermark.data import LabelledData
from deepsigns_registry.watermark.tapped import TappedModel

Accuracy = Callable[..., float]


def test_the_mean_of_the_model_and_its_copies(
    victim: TappedModel, data: LabelledData, accuracy: Accuracy
) -> None:
    merged = Merge(epochs=1, learning_rate=1e-2).apply(victim, 2, data, seed=1)
    copies = [Finetune(learning_rate=1e-2).apply(victim, 1, data, seed=seed) for seed in (16, 17)]
    groups = zip(*(model.parameters() for model in (victim, *copies, merged)), strict=True)
    for *given, mean in groups:
        assert not torch.equal(given[1], given[2])
        torch.testing.assert_close(mean, sum(given, torch.zeros(())) / 3)
    assert accuracy(merged, data) > 0.9


def test_running_statistics_are_averaged_and_counters_kept(data: LabelledData) -> None:
    module = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64), nn.Linear(64, 4)).eval()
    model = EagerTappedModel(module, "1")
    tuned = Finetune().apply(model, 1, data, seed=0)
    merged = mean_of([model, tuned]).state_dict()
    after = tuned.state_dict()
    means = [state["module.1.running_mean"] for state in (model.state_dict(), after, merged)]
    torch.testing.assert_close(means[2], (means[0] + means[1]) / 2)
    assert int(after["module.1.num_batches_tracked"]) == 5
    assert int(merged["module.1.num_batches_tracked"]) == 0


def test_other_architectures_are_refused(eager: EagerTappedModel) -> None:
    other = EagerTappedModel(nn.Sequential(nn.Flatten(), nn.Linear(64, 4)), "0")
    with pytest.raises(CouldNotCheckError, match="not of one architecture"):
        mean_of([eager, other])
