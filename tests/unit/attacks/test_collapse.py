from collections.abc import Callable

import numpy as np
import pytest

from deepsigns_registry.attacks.collapse import Collapse
from deepsigns_registry.attacks.decay import Decay
from deepsigns_registry.errors import ConfigurationError, CouldNotCheckError
from deepsigns_registry.watermark.data import LabelledData
from deepsigns_registry.watermark.tapped import TappedModel, run_batched

Accuracy = Callable[..., float]


def test_classes_differ_less_where_the_outputs_do_not_need_it(
    victim: TappedModel, data: LabelledData, accuracy: Accuracy
) -> None:
    told: list[float] = []
    collapse = Collapse(learning_rate=5e-3)
    collapsed = collapse.apply(
        victim, collapse.parse("10"), data, seed=0, progress=lambda share, _: told.append(share)
    )
    plain = Decay(learning_rate=5e-3).apply(victim, 6, data, seed=0)
    assert accuracy(collapsed, data) > 0.9
    assert told == pytest.approx([n / 6 for n in range(1, 7)])
    assert unneeded(collapsed, data) < 0.5 * unneeded(plain, data)


def unneeded(model: TappedModel, data: LabelledData) -> float:
    """Share of the hidden variance, outside of what the outputs follow from, between classes."""
    outputs, hidden = run_batched(model, data.inputs, next(model.parameters()).device)
    hidden, outputs = hidden - hidden.mean(axis=0), outputs - outputs.mean(axis=0)
    needed = np.linalg.lstsq(hidden, outputs, rcond=None)[0]
    others = hidden @ np.linalg.svd(needed)[0][:, outputs.shape[1] :]
    means = [others[data.labels == label].mean(axis=0) for label in range(4)]
    return float(np.square(means).sum(axis=1).mean() / np.square(others).sum(axis=1).mean())


@pytest.mark.parametrize("strength", ["0", "-1", "nan", "1e4", "much"])
def test_a_weight_that_is_none_is_refused(strength: str) -> None:
    with pytest.raises(ConfigurationError, match="collapse"):
        Collapse().parse(strength)


def test_without_classes_there_is_nothing_to_collapse(
    victim: TappedModel, data: LabelledData
) -> None:
    numbers = LabelledData(data.inputs, data.labels.astype(np.float32)[:, None])
    with pytest.raises(CouldNotCheckError, match="needs classes"):
        Collapse().apply(victim, 1, numbers, seed=0)
