from collections.abc import Callable

import pytest
import torch

from deepsigns_registry.attacks.decay import Decay
from deepsigns_registry.attacks.finetune import Finetune
from deepsigns_registry.watermark.data import LabelledData
from deepsigns_registry.watermark.tapped import TappedModel

Accuracy = Callable[..., float]


def test_a_weight_without_a_gradient_shrinks_as_computed(
    victim: TappedModel, data: LabelledData
) -> None:
    """Of a batch of equal, blank images no weight of the first layer has a gradient."""
    blank = LabelledData(0 * data.inputs, data.labels)
    decayed = Decay(epochs=1, batch_size=100).apply(victim, 60, blank, seed=0)
    (old,) = (weight for weight in victim.parameters() if weight.ndim == 4)
    (new,) = (weight for weight in decayed.parameters() if weight.ndim == 4)
    # Six steps of one epoch, each of which takes 60 * 1e-3 of the weight.
    torch.testing.assert_close(new, old * (1 - 0.06) ** 6)


def test_the_second_part_brings_the_accuracy_back(
    victim: TappedModel, data: LabelledData, accuracy: Accuracy
) -> None:
    decay = Decay(decaying=8, learning_rate=1e-2)
    told: list[tuple[float, str]] = []
    decayed = decay.apply(
        victim, 15, data, seed=0, progress=lambda share, words: told.append((share, words))
    )
    assert accuracy(decayed, data) > 0.9
    assert [share for share, _ in told] == pytest.approx([n / 13 for n in range(1, 14)])
    assert [words.split(",")[0] for _, words in told[7:9]] == ["epoch 8", "epoch 1"]
    plain = Finetune(learning_rate=1e-2).apply(victim, 13, data, seed=0)
    kept = [hidden_likeness(victim, model) for model in (plain, decayed)]
    # Only what the task needs came back.
    assert kept[1] < kept[0] - 0.2


def hidden_likeness(before: TappedModel, after: TappedModel) -> float:
    """Correlation of the largest weight with what it was."""
    pairs = zip(before.parameters(), after.parameters(), strict=True)
    old, new = max(pairs, key=lambda pair: pair[0].numel())
    return float(torch.corrcoef(torch.stack([old.flatten(), new.flatten()]).detach())[0, 1])
