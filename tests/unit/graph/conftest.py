"""Small ONNX files and tapped models that the tests of this room share."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper
from torch import Tensor, nn

from deepsigns_registry.graph.export import export_onnx
from deepsigns_registry.watermark.tapped import Tapped, TappedModel, pool

Build = Callable[..., ModelProto]


class LayeredModel(TappedModel):
    """Layers in a row, tapped after one of them."""

    def __init__(self, layers: Sequence[nn.Module], tapped: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)
        self.tap = str(tapped)

    def forward(self, inputs: Tensor) -> Tapped:
        values, activation = inputs, inputs
        for index, layer in enumerate(self.layers):
            values = layer(values)
            if str(index) == self.tap:
                activation = values
        return Tapped(values, pool(activation))


@pytest.fixture
def build() -> Build:
    """Builds a model from nodes and constants; the input is `input`, the result `output`."""

    def make(
        nodes: Sequence[NodeProto],
        constants: dict[str, NDArray[np.generic]] | None = None,
        *,
        extents: Sequence[int | str] = ("batch", 4),
        opset: int = 20,
    ) -> ModelProto:
        graph = helper.make_graph(
            list(nodes),
            "graph",
            [helper.make_tensor_value_info("input", TensorProto.FLOAT, list(extents))],
            [ValueInfoProto(name="output")],
            [numpy_helper.from_array(value, name) for name, value in (constants or {}).items()],
        )
        opsets = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=10)

    return make


@pytest.fixture
def relu_file(tmp_path: Path, build: Build) -> Path:
    """A file with one Relu."""
    path = tmp_path / "relu.onnx"
    model = build([helper.make_node("Relu", ["input"], ["output"])])
    path.write_bytes(model.SerializeToString())
    return path


@pytest.fixture(scope="session")
def mlp() -> LayeredModel:
    """Linear, Relu, Linear, Relu, Linear on 6 features; tapped after the second Relu."""
    torch.manual_seed(0)
    layers = [nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, 4)]
    return LayeredModel(layers, 3).eval()


@pytest.fixture(scope="session")
def cnn() -> LayeredModel:
    """Convolutions with batch normalisation on 2x8x8 images; tapped at a feature map."""
    torch.manual_seed(1)
    layers = [
        nn.Conv2d(2, 6, 3, padding=1),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 8, 3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Dropout(0.2),
        nn.Linear(32, 4),
    ]
    return LayeredModel(layers, 5).eval()


@pytest.fixture(scope="session")
def vectors() -> NDArray[np.float32]:
    """float32 [40, 6]."""
    return np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)


@pytest.fixture(scope="session")
def images() -> NDArray[np.float32]:
    """float32 [20, 2, 8, 8]."""
    return np.random.default_rng(1).normal(size=(20, 2, 8, 8)).astype(np.float32)


@pytest.fixture(scope="session")
def cnn_file(
    cnn: LayeredModel, images: NDArray[np.float32], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, str]:
    """The convolutional model's file, and its tap."""
    path = tmp_path_factory.mktemp("cnn") / "cnn.onnx"
    return path, export_onnx(cnn, images, path)
