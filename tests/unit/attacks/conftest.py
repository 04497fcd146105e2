"""A small trained model as all three adapters show it, and data to attack it with."""

import copy
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from deepsigns_registry.graph.export import export_onnx
from deepsigns_registry.graph.interpreter import OnnxTappedModel
from deepsigns_registry.watermark.adapters.eager import EagerTappedModel
from deepsigns_registry.watermark.adapters.exported import ExportedTappedModel
from deepsigns_registry.watermark.data import LabelledData
from deepsigns_registry.watermark.tapped import TappedModel

Accuracy = Callable[[TappedModel, LabelledData], float]


@pytest.fixture(scope="session")
def data() -> LabelledData:
    """600 images 1x8x8 of 4 classes: noisy copies of 4 patterns."""
    random = np.random.default_rng(0)
    patterns = random.normal(size=(4, 1, 8, 8))
    labels = np.arange(600) % 4
    inputs = patterns[labels] + 0.7 * random.normal(size=(600, 1, 8, 8))
    return LabelledData(inputs.astype(np.float32), labels.astype(np.int64))


@pytest.fixture(scope="session")
def eager(data: LabelledData) -> EagerTappedModel:
    """A trained convolutional model, tapped at its last hidden layer."""
    torch.manual_seed(0)
    layers = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(128, 32),
        nn.ReLU(),
        nn.Linear(32, 4),
    )
    model = EagerTappedModel(layers, "5")
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    inputs, labels = torch.from_numpy(data.inputs), torch.from_numpy(data.labels)
    for _ in range(20):
        optimizer.zero_grad()
        functional.cross_entropy(model(inputs).outputs, labels).backward()
        optimizer.step()
    return model.eval()


@pytest.fixture(scope="session")
def program(eager: EagerTappedModel, data: LabelledData) -> ExportedTappedModel:
    """The model as an exported program."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exported = torch.export.export(
            copy.deepcopy(eager.module),
            (torch.from_numpy(data.inputs[:4]),),
            dynamic_shapes=({0: torch.export.Dim.DYNAMIC},),
        )
        return ExportedTappedModel(exported, "5").eval()


@pytest.fixture(scope="session")
def onnx_file(
    eager: EagerTappedModel, data: LabelledData, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, str]:
    """The model's ONNX file and its tap."""
    path = tmp_path_factory.mktemp("attacked") / "model.onnx"
    return path, export_onnx(eager, data.inputs[:4], path)


@pytest.fixture
def view(onnx_file: tuple[Path, str]) -> OnnxTappedModel:
    """The file as a trainable model."""
    return OnnxTappedModel.from_file(*onnx_file).eval()


@pytest.fixture(params=["eager", "program", "view"])
def victim(request: pytest.FixtureRequest) -> TappedModel:
    """The same model as an eager module, as an exported program, and as an ONNX file."""
    model: TappedModel = request.getfixturevalue(request.param)
    return model


@pytest.fixture
def accuracy() -> Accuracy:
    """Share of the samples that a model classifies correctly."""

    def measure(model: TappedModel, data: LabelledData) -> float:
        with torch.no_grad():
            predicted = model(torch.from_numpy(data.inputs)).outputs.argmax(dim=1)
        return float((predicted.numpy() == data.labels).mean())

    return measure
