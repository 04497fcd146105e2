"""Data that does not belong to its model is refused before any training; data that does is not."""

import json
from functools import cache

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.ordinary.unfit_faults import FAULTS
from benchmarks.ordinary.unfit_parents import Parent, trained
from deepsigns_registry.errors import DataError
from deepsigns_registry.retraining.fitness import Described, judge_data
from deepsigns_registry.watermark.adapters.eager import EagerTappedModel
from deepsigns_registry.watermark.data import LabelledData, TrainingData

# Case 18: what a person reads has to speak of the data.
WORDS = ("data", "label", "accuracy", "score")


@cache
def parent(model: str = "digits-mlp", epochs: float = 15, *, held: bool = False) -> Parent:
    return trained(model, seed=7, epochs=epochs, held=held)


@pytest.mark.parametrize("kind", FAULTS)
def test_unfit_data_is_refused_for_the_right_reason(kind: str) -> None:
    fault, codes = FAULTS[kind]
    of = parent("colours-cnn", 6) if kind == "channel order" else parent()
    judgement = of.judged(fault(of.data, np.random.default_rng(3)))
    found = judgement.refusal
    assert found is not None
    assert found.code in codes, found.message
    with pytest.raises(DataError, match=r"data|label|accuracy|score") as caught:
        judgement.require()
    assert caught.value.message == found.message
    assert caught.value.advice
    assert any(word in found.message for word in WORDS)
    assert "the tap" not in caught.value.public


@pytest.mark.parametrize(
    ("model", "epochs"),
    [("digits-mlp", 15), ("digits-mlp", 1), ("colours-cnn", 6), ("diabetes", 60), ("discrete", 3)],
)
def test_fit_data_is_not_refused(model: str, epochs: float) -> None:
    judgement = parent(model, epochs, held=True).judged(parent(model, epochs, held=True).data)
    assert judgement.refusal is None, judgement.refusal
    judgement.require()
    assert judgement.score > 0.2


@pytest.mark.parametrize("of_example", [True, False])
def test_the_example_is_not_needed_where_the_labels_tell(*, of_example: bool) -> None:
    of = parent()
    fault, _ = FAULTS["exchanged"]
    data = fault(of.data, np.random.default_rng(3))
    described = Described(example=of.example if of_example else None)
    model = EagerTappedModel(of.net, "1")
    found = judge_data(model, data, described, device="cpu").refusal
    assert found is not None
    assert "look exchanged" in found.message


@pytest.mark.parametrize("made_up", ["zeros", "normal", "bytes"])
def test_an_example_that_somebody_made_up_refuses_nothing(made_up: str) -> None:
    of, rng = parent(), np.random.default_rng(0)
    example = {
        "zeros": np.zeros((2, 64)),
        "normal": rng.standard_normal((4, 64)),
        "bytes": rng.integers(0, 256, (4, 64)),
    }[made_up]
    described = Described(example=example.astype(np.float32))
    judgement = judge_data(EagerTappedModel(of.net, "1"), of.data, described, device="cpu")
    assert judgement.refusal is None


def test_what_was_logged_counts() -> None:
    of = parent()
    for share, refused in ((0.2, True), (0.0, False)):
        rng = np.random.default_rng(0)
        spoilt = [
            LabelledData(split.inputs, np.where(rng.random(len(split)) < share, 0, split.labels))
            for split in (of.data.train, of.data.validation)
        ]
        data = TrainingData(spoilt[0], spoilt[1], 10)
        described = Described(metrics={"val_accuracy": 0.96})
        judgement = judge_data(EagerTappedModel(of.net, "1"), data, described, device="cpu")
        codes = [found.code for found in judgement.findings if found.refuses]
        assert ("below-logged" in codes) is refused


def test_a_classifier_given_as_a_regressor() -> None:
    """One logit trained with binary cross-entropy: its labels are no targets."""
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((1500, 8)).astype(np.float32)
    labels = (inputs[:, :1] + inputs[:, 1:2] > 0).astype(np.float32)
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 1))
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    for _ in range(300):
        optimizer.zero_grad()
        logits = net(torch.from_numpy(inputs))
        loss = nn.functional.binary_cross_entropy_with_logits(logits, torch.from_numpy(labels))
        torch.autograd.backward(loss)
        optimizer.step()
    data = TrainingData(
        LabelledData(inputs[:1200], labels[:1200]), LabelledData(inputs[1200:], labels[1200:]), 1
    )
    judgement = judge_data(EagerTappedModel(net, "0"), data, Described(), device="cpu")
    assert judgement.score < -1
    with pytest.raises(DataError, match=r"the parent scores R2 -.* on these labels"):
        judgement.require()


def test_the_judgement_is_plain_and_always_the_same() -> None:
    of = parent()
    first, second = of.judged(of.data).to_json(), of.judged(of.data).to_json()
    assert json.loads(json.dumps(first, allow_nan=False)) == first == second
    expectations = first["expectations"]
    assert isinstance(expectations, list)
    assert len(expectations) >= 12


def test_samples_that_the_model_cannot_take() -> None:
    of = parent()
    narrow = TrainingData(
        LabelledData(of.data.train.inputs[:, :60], of.data.train.labels),
        LabelledData(of.data.validation.inputs[:, :60], of.data.validation.labels),
        10,
    )
    for described, said in (
        (Described(), "cannot run on samples of shape \\(60,\\)"),
        (Described(shape=(64,)), "signature asks for \\(64,\\)"),
    ):
        judgement = judge_data(EagerTappedModel(of.net, "1"), narrow, described, device="cpu")
        with pytest.raises(DataError, match=said):
            judgement.require()


def test_numbers_that_are_none_are_refused_before_the_model_sees_them() -> None:
    of = parent()
    inputs = of.data.train.inputs.copy()
    inputs[3, 5] = np.nan
    data = TrainingData(LabelledData(inputs, of.data.train.labels), of.data.validation, 10)
    judgement = of.judged(data)
    assert np.isnan(judgement.score)
    assert judgement.to_json()["score"] is None
    with pytest.raises(DataError, match="1 numbers of the data are NaN"):
        judgement.require()
