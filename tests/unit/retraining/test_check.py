"""Examinations of real models: what would be marked, and what not and why."""

import json
import shutil
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from deepsigns_registry.errors import NotFoundError, UnmarkableError
from deepsigns_registry.retraining.check import Examination, TensorForm, examine_version
from deepsigns_registry.retraining.effort import measured_effort
from deepsigns_registry.retraining.options import mark_settings
from deepsigns_registry.sections import ModelSettings
from deepsigns_registry.watermark.adapters.eager import EagerTappedModel
from deepsigns_registry.watermark.data import TrainingData
from deepsigns_registry.watermark.record import WatermarkRecord
from tests.support.clusters import CLASSES, FEATURES, prepared, samples, saved, silent, trained


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained model's folder, its data, and settings for both."""
    folder = tmp_path_factory.mktemp("check")
    train, validation = samples(800, 0), samples(200, 1)
    np.savez(
        folder / "data.npz",
        x_train=train.inputs,
        y_train=train.labels,
        x_validation=validation.inputs,
        y_validation=validation.labels,
    )
    turned = np.array([1, 2, 3, 0])
    np.savez(
        folder / "turned.npz",
        x_train=train.inputs,
        y_train=turned[train.labels],
        x_validation=validation.inputs,
        y_validation=turned[validation.labels],
    )
    (folder / "deepsigns.toml").write_text(
        '[models.m]\ndata = "data.npz"\n[models.turned]\ndata = "turned.npz"\n'
        '[models.gone]\ndata = "gone.npz"\n[models.hidden]\ndata = "data.npz"\nstealth = true\n'
    )
    saved(trained(train), folder / "version", train.inputs[:4])
    saved(nn.Linear(FEATURES, CLASSES), folder / "flat", train.inputs[:4])
    return folder


def examined(home: Path, version: str, model: str) -> Examination:
    with warnings.catch_warnings():
        # Great Expectations and MLflow warn of their own use of other packages.
        warnings.simplefilter("ignore")
        return examine_version(
            progress=silent,
            source=home / version,
            config=home / "deepsigns.toml",
            model=model,
            metrics={"accuracy": 0.99, "odd": float("nan")},
        )


def test_a_version_that_would_be_marked_tells_how(home: Path) -> None:
    before = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}
    found = examined(home, "version", "m")
    assert found.refusal is None
    assert found.inputs == TensorForm((FEATURES,), "float32")
    assert found.outputs == TensorForm((CLASSES,), "float32")
    assert found.candidates == (300,)
    assert found.schemes == ("blackbox", "whitebox")
    assert found.parameters == FEATURES * 300 + 300 + 300 * CLASSES + CLASSES
    assert found.judgement is not None
    assert found.judgement.score > 0.95
    assert found.effort is not None
    assert found.seconds is not None
    assert found.seconds > found.effort.seconds
    assert (found.effort.steps, found.effort.device) == (900, _device())
    # Weights, gradients, two moments and the parent, and then what a step keeps.
    assert found.effort.memory_bytes > 5 * 4 * found.parameters
    text = json.dumps(found.to_json(), allow_nan=False)
    assert not any(name in text for name in ("hideout", "head"))
    # Nothing is written beside the version, and nothing of it is changed.
    assert {path: path.read_bytes() for path in home.rglob("*") if path.is_file()} == before


def _device() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"


def test_data_that_does_not_belong_to_the_model_is_a_no(home: Path) -> None:
    found = examined(home, "version", "turned")
    assert found.refusal is not None
    assert found.refusal.code == "data"
    assert found.judgement is not None
    assert found.judgement.score < 0.1
    assert (found.schemes, found.effort) == ((), None)
    assert found.candidates == (300,)


def test_a_hidden_mark_is_said_to_be_one(home: Path) -> None:
    found = examined(home, "version", "hidden")
    # This model has too few weights for it.
    assert found.refusal is not None
    assert found.refusal.advice == "leave stealth out for this model"
    assert found.stealth
    assert found.to_json()["stealth"] is True
    assert not examined(home, "version", "turned").stealth


class Idle(nn.Module):
    """Its last hidden layer, the one that is tried first, is dead."""

    def __init__(self, net: nn.Sequential) -> None:
        super().__init__()
        (self.hideout, self.head) = net
        widening = nn.Linear(300, 320)
        nn.init.constant_(widening.bias, -1e4)
        self.last = nn.Sequential(widening, nn.ReLU())
        self.other = nn.Linear(320, CLASSES)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        hidden = self.hideout(inputs)
        answers = self.head(hidden)
        return torch.add(answers, self.other(self.last(hidden)))


def test_what_is_told_is_what_the_worker_would_do_also_where_the_first_layer_is_no_use(
    home: Path,
) -> None:
    torch.manual_seed(0)
    net = Idle(trained(samples(800, 0)))
    saved(net, home / "idle", samples(4, 2).inputs)
    found = examined(home, "idle", "m")
    assert found.candidates == (320, 300)
    assert (found.refusal, found.schemes) == (None, ("blackbox", "spread", "whitebox"))
    record = WatermarkRecord.from_bytes(prepared(home, "idle").record)
    assert record.secrets["whitebox"].arrays["activations"].shape[-1] == 300


def test_a_model_without_a_hidden_layer_is_a_no_and_what_is_known_is_told(home: Path) -> None:
    found = examined(home, "flat", "m")
    assert found.refusal is not None
    assert "no hidden layer" in found.refusal.message
    assert found.inputs == TensorForm((FEATURES,), "float32")
    assert found.to_json()["markable"] is False


def test_a_pickled_model_is_a_no_before_anything_is_loaded(home: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pickled"
    shutil.copytree(home / "version", folder)
    (folder / "data" / "model.pt2").rename(folder / "data" / "model.pth")
    found = examine_version(
        progress=silent, source=folder, config=home / "deepsigns.toml", model="m", metrics={}
    )
    assert found.refusal is not None
    assert "not in the pt2 format" in found.refusal.message


def test_data_that_is_not_there_is_a_configuration_error(home: Path) -> None:
    with pytest.raises(NotFoundError, match=r"gone\.npz: no such file"):
        examined(home, "version", "gone")


def test_a_larger_batch_takes_more_memory_and_more_data_more_steps() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(FEATURES, 64), nn.ReLU(), nn.Linear(64, CLASSES))
    model = EagerTappedModel(net, "1")
    data = TrainingData(samples(400, 0), samples(80, 1), CLASSES)
    options = mark_settings(ModelSettings(data="d.npz"))
    cpu = torch.device("cpu")
    small = measured_effort(model, data, options, cpu)
    large = measured_effort(model, data, replace(options, batch_size=256), cpu)
    assert large.memory_bytes > small.memory_bytes
    assert small.steps == large.steps == 900
    long = measured_effort(model, data, replace(options, minimum_steps=1, epochs=7), cpu)
    assert long.steps == 7 * 7
    assert small.seconds >= 0


def test_a_model_that_cannot_take_a_step_is_refused() -> None:
    net = nn.Sequential(nn.Linear(FEATURES, 64), nn.ReLU(), nn.Linear(64, CLASSES))
    data = TrainingData(samples(400, 0), samples(80, 1), CLASSES)
    options = mark_settings(ModelSettings(data="d.npz"))
    with pytest.raises(UnmarkableError, match="no trainable parameter"):
        measured_effort(
            EagerTappedModel(net.requires_grad_(requires_grad=False), "1"),
            data,
            options,
            torch.device("cpu"),
        )
