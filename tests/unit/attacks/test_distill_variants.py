from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from deepsigns_registry.attacks.distill_hard import DistillHard
from deepsigns_registry.attacks.distill_other import DistillOther
from deepsigns_registry.errors import CouldNotCheckError
from deepsigns_registry.graph.interpreter import OnnxTappedModel
from deepsigns_registry.watermark.adapters.eager import EagerTappedModel
from deepsigns_registry.watermark.data import LabelledData
from deepsigns_registry.watermark.tapped import TappedModel

Accuracy = Callable[..., float]


def test_a_student_learns_the_classes_that_were_answered(
    victim: TappedModel, data: LabelledData, accuracy: Accuracy
) -> None:
    turned = replace(data, labels=(data.labels + 1) % 4)
    student = DistillHard(learning_rate=1e-2).apply(victim, 8, turned, seed=0)
    assert accuracy(student, data) > 0.9
    for old, new in zip(victim.parameters(), student.parameters(), strict=True):
        assert float((old - new).detach().norm() / old.detach().norm()) > 0.5


def test_hard_labels_need_classes(view: OnnxTappedModel, data: LabelledData) -> None:
    with pytest.raises(CouldNotCheckError, match="needs classes, and these labels are for embedd"):
        DistillHard().apply(view, 1, LabelledData.without_labels(data.inputs), seed=0)


def kinds(file: OnnxTappedModel) -> list[str]:
    wanted = {"Conv", "Gemm", "MatMul"}
    return [node.op_type for node in file.write_back().graph.node if node.op_type in wanted]


def test_the_student_of_a_convolving_teacher_does_not_convolve(
    victim: TappedModel, data: LabelledData, accuracy: Accuracy
) -> None:
    student = DistillOther().apply(victim, 30, data, seed=0)
    assert kinds(student) == ["Gemm", "Gemm", "Gemm"]
    assert student.tap == ""
    assert accuracy(student, data) > 0.9


@pytest.mark.parametrize(
    ("features", "expected"), [(None, ["Conv", "Conv", "Gemm", "Gemm"]), (64, ["Gemm"] * 3)]
)
def test_the_student_of_a_perceptron(
    data: LabelledData, features: int | None, expected: list[str]
) -> None:
    torch.manual_seed(0)
    teacher = EagerTappedModel(nn.Sequential(nn.Flatten(), nn.Linear(64, 3)), "0")
    inputs = data.inputs if features is None else data.inputs.reshape(-1, features)
    unlabelled = LabelledData.without_labels(inputs)
    student = DistillOther().apply(teacher, 40, unlabelled, seed=0)
    assert kinds(student) == expected
    with torch.no_grad():
        ours, theirs = (model(torch.from_numpy(inputs)).outputs for model in (teacher, student))
    spread = float((ours - ours.mean(dim=0)).square().mean())
    assert float((ours - theirs).square().mean()) < 0.3 * spread


def test_no_label_is_looked_at(view: OnnxTappedModel, data: LabelledData) -> None:
    shuffled = replace(data, labels=np.zeros_like(data.labels))
    files = [DistillOther().apply(view, 1, given, seed=0).to_bytes() for given in (data, shuffled)]
    assert files[0] == files[1]
