from collections.abc import Callable

import pytest
import torch

from deepsigns_registry.attacks.low_rank import LowRank
from deepsigns_registry.errors import CouldNotCheckError
from deepsigns_registry.watermark.adapters.eager import EagerTappedModel
from deepsigns_registry.watermark.data import LabelledData
from deepsigns_registry.watermark.tapped import TappedModel

Accuracy = Callable[..., float]


def test_the_largest_singular_values_stay(
    victim: TappedModel, data: LabelledData, accuracy: Accuracy
) -> None:
    lowered = LowRank().apply(victim, 0.25, data, seed=0)
    for old, new in zip(victim.parameters(), lowered.parameters(), strict=True):
        if old.ndim < 2:
            assert torch.equal(old, new)
            continue
        if min(old.flatten(1).shape) <= 16:
            torch.testing.assert_close(old, new)
            continue
        before, after = (torch.linalg.svdvals(weight.detach().flatten(1)) for weight in (old, new))
        # 32 neurons and 128 inputs.
        kept = 24
        torch.testing.assert_close(after[:kept], before[:kept])
        assert float(after[kept:].max()) < 1e-5
    assert accuracy(lowered, data) > 0.8


def test_sixteen_always_stay(eager: EagerTappedModel, data: LabelledData) -> None:
    lowered = LowRank().apply(eager, 0.999, data, seed=0)
    ranks = [torch.linalg.matrix_rank(w.flatten(1)) for w in lowered.parameters() if w.ndim > 1]
    assert [int(rank) for rank in ranks] == [8, 16, 4]


def test_weights_that_are_not_finite_are_named(data: LabelledData) -> None:
    broken = EagerTappedModel(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 4)), "0")
    with torch.no_grad():
        broken.get_parameter("module.1.weight").fill_(float("nan"))
    with pytest.raises(CouldNotCheckError, match="a weight has no singular values"):
        LowRank().apply(broken, 0.5, data, seed=0)
