from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from deepsigns_registry.attacks.distill import Distill
from deepsigns_registry.attacks.reconstruct import Reconstruct, with_mixtures
from deepsigns_registry.errors import CouldNotCheckError, DataError
from deepsigns_registry.graph.interpreter import OnnxTappedModel
from deepsigns_registry.watermark.adapters.eager import EagerTappedModel
from deepsigns_registry.watermark.data import LabelledData
from deepsigns_registry.watermark.tapped import TappedModel

Accuracy = Callable[..., float]


def test_the_thief_decides_what_a_student_answers(
    victim: TappedModel, data: LabelledData, accuracy: Accuracy
) -> None:
    turned = replace(data, labels=(data.labels + 1) % 4)
    student = Reconstruct(extraction=4, learning_rate=1e-2).apply(victim, 6, turned, seed=0)
    assert accuracy(student, turned) > 0.9
    for old, new in zip(victim.parameters(), student.parameters(), strict=True):
        assert float((old - new).detach().norm() / old.detach().norm()) > 0.5


def test_halfway_between_two_classes_the_student_answers_both(
    eager: EagerTappedModel, data: LabelledData
) -> None:
    student = Reconstruct(extraction=2, learning_rate=1e-2).apply(eager, 40, data, seed=0)
    distilled = Distill(learning_rate=1e-2).apply(eager, 42, data, seed=0)
    first, second = (torch.from_numpy(data.inputs[data.labels == c]) for c in (0, 1))
    with torch.no_grad():
        rebuilt, inherited = (
            model((first + second) / 2).outputs.softmax(dim=1) for model in (student, distilled)
        )
    either = rebuilt.mean(dim=0)
    assert 0.4 < float(either[0]) < 0.6
    assert float(either[2:].sum()) < 0.05
    sure = [float((chances.amax(dim=1) > 0.8).float().mean()) for chances in (rebuilt, inherited)]
    assert sure[0] < 0.1
    assert sure[1] > 0.3


def test_the_output_layer_is_drawn_between_the_two_parts(
    eager: EagerTappedModel, data: LabelledData
) -> None:
    def told(*, redraw: bool) -> list[float]:
        losses: list[float] = []
        attack = Reconstruct(extraction=3, redraw=redraw)
        attack.apply(
            eager,
            1,
            data,
            seed=0,
            progress=lambda _, words: losses.append(float(words.rpartition(" ")[2])),
        )
        return losses

    kept, drawn = told(redraw=False), told(redraw=True)
    assert len(kept) == len(drawn) == 4
    assert kept[:3] == drawn[:3]
    assert drawn[3] > kept[3] + 0.1


def test_classes_are_needed(view: OnnxTappedModel, data: LabelledData) -> None:
    numbers = LabelledData(data.inputs, data.labels.astype(np.float32)[:, None])
    for unfit in (LabelledData.without_labels(data.inputs), numbers):
        words = f"attack reconstruct: needs classes, and these labels are for {unfit.task}"
        with pytest.raises(CouldNotCheckError, match=words):
            Reconstruct().apply(view, 1, unfit, seed=0)


def test_a_label_that_is_no_class_of_the_model_is_refused(
    view: OnnxTappedModel, data: LabelledData
) -> None:
    with pytest.raises(DataError, match="attack reconstruct: label 4 of sample 3 is outside"):
        Reconstruct().apply(view, 1, replace(data, labels=np.arange(600) % 4 + 1), seed=0)


@given(
    labels=st.lists(st.integers(0, 2), min_size=1, max_size=12),
    shape=st.sampled_from([(), (3,), (1, 2, 2)]),
    seed=st.integers(0, 1000),
)
def test_mixtures_come_behind_the_batch_and_are_of_two_classes(
    labels: list[int], shape: tuple[int, ...], seed: int
) -> None:
    targets = functional.one_hot(torch.tensor(labels), 3).float()
    # Each sample says who it is: its number, in every place.
    numbers = torch.arange(len(labels), dtype=torch.float32)
    inputs = numbers.reshape(-1, *(1 for _ in shape)).expand(-1, *shape).contiguous()
    found, learned = with_mixtures(seed)(inputs, targets)
    count = len(labels)
    torch.testing.assert_close(found[:count], inputs)
    torch.testing.assert_close(learned[:count], targets)
    assert found.shape[1:] == inputs.shape[1:]
    assert count <= len(found) == len(learned) <= 2 * count
    for mixture, target in zip(found[count:], learned[count:], strict=True):
        values = mixture.reshape(-1)
        assert bool((values == values[0]).all())
        assert int((target > 0).sum()) == 2
        assert float(target.sum()) == pytest.approx(1)
        share, first = float(target.max()), int(target.argmax())
        assert 0.5 <= share <= 0.8
        second = int(((target > 0) & (target < share)).nonzero()[0]) if share > 0.5 else -1
        # Inputs and targets have the same shares of the same two.
        possible = [
            share * one + (1 - share) * other
            for one, label in enumerate(labels)
            if label == first
            for other, another in enumerate(labels)
            if another == second
        ]
        assert second < 0 or any(abs(float(values[0]) - each) < 1e-4 for each in possible)


def test_a_batch_of_one_class_stays() -> None:
    inputs, targets = torch.rand(5, 2), torch.eye(3)[[1, 1, 1, 1, 1]]
    found, learned = with_mixtures(0)(inputs, targets)
    assert torch.equal(found, inputs)
    assert torch.equal(learned, targets)
