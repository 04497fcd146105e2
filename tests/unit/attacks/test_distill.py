from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from deepsigns_registry.attacks.distill import Distill
from deepsigns_registry.attacks.quantize import Quantize
from deepsigns_registry.errors import CouldNotCheckError, DataError
from deepsigns_registry.graph.interpreter import OnnxTappedModel
from deepsigns_registry.watermark.adapters.eager import EagerTappedModel
from deepsigns_registry.watermark.data import LabelledData
from deepsigns_registry.watermark.tapped import TappedModel

Accuracy = Callable[..., float]


def test_a_student_answers_like_its_teacher(
    victim: TappedModel, data: LabelledData, accuracy: Accuracy
) -> None:
    student = Distill(learning_rate=1e-2).apply(victim, 8, data, seed=0)
    assert accuracy(student, data) > 0.9
    with torch.no_grad():
        inputs = torch.from_numpy(data.inputs)
        ours, theirs = (model(inputs).outputs.softmax(dim=1) for model in (victim, student))
    assert float((ours - theirs).abs().mean()) < 0.05
    # What is drawn is tested in test_fresh; here, that training did not find the way back.
    for old, new in zip(victim.parameters(), student.parameters(), strict=True):
        assert float((old - new).detach().norm() / old.detach().norm()) > 0.5


def test_labels_are_not_looked_at(view: OnnxTappedModel, data: LabelledData) -> None:
    shuffled = replace(data, labels=np.zeros_like(data.labels))
    files = [Distill().apply(view, 1, given, seed=0) for given in (data, shuffled)]
    first, again = [file.to_bytes() for file in files if isinstance(file, OnnxTappedModel)]
    assert first == again


def test_a_teacher_of_probabilities_teaches_the_same(
    eager: EagerTappedModel, data: LabelledData
) -> None:
    # Not a classifier's task, so that its last layer is not passed over.
    softly = nn.Sequential(eager.module, nn.Softmax(dim=1))
    probable = EagerTappedModel(softly, "0.5", task="regression")
    logits = Distill().apply(eager, 2, data, seed=0)
    chances = Distill().apply(probable, 2, data, seed=0)
    with torch.no_grad():
        inputs = torch.from_numpy(data.inputs)
        torch.testing.assert_close(
            logits(inputs).outputs.softmax(dim=1), chances(inputs).outputs, atol=1e-3, rtol=0
        )


def test_batch_normalisation_and_other_tasks(data: LabelledData) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten())
    teacher = EagerTappedModel(nn.Sequential(*module, nn.Linear(288, 5)), "3").eval()
    unlabelled = LabelledData.without_labels(data.inputs)
    student = Distill(learning_rate=1e-2).apply(teacher, 40, unlabelled, seed=0)
    with torch.no_grad():
        inputs = torch.from_numpy(data.inputs)
        ours, theirs = teacher(inputs).outputs, student(inputs).outputs
    assert float(functional.mse_loss(theirs, ours)) < 0.3 * float(ours.var(dim=0).mean())
    statistics = student.get_buffer("module.1.running_var")
    assert not torch.allclose(statistics, torch.ones(8))


@pytest.mark.parametrize("bits", [7.0, 8.0])
def test_what_is_quantised_cannot_be_drawn_anew(
    view: OnnxTappedModel, data: LabelledData, bits: float
) -> None:
    quantized = Quantize().apply(view, bits, data, seed=0)
    with pytest.raises(CouldNotCheckError, match=r"attack distill: .* float"):
        Distill().apply(quantized, 1, data, seed=0)


def test_no_data_is_refused(eager: EagerTappedModel, data: LabelledData) -> None:
    with pytest.raises(DataError, match="attack distill: 0 samples with 0 labels"):
        Distill().apply(eager, 1, LabelledData(data.inputs[:0], data.labels[:0]), seed=0)
