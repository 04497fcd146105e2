import copy
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from deepsigns_registry.errors import ConfigurationError, UnmarkableError
from deepsigns_registry.graph.export import export_onnx
from deepsigns_registry.graph.neutral import neutralised
from deepsigns_registry.graph.session import OnnxSuspect
from deepsigns_registry.watermark.adapters.eager import EagerTappedModel
from deepsigns_registry.watermark.adapters.exported import ExportedTappedModel
from deepsigns_registry.watermark.tapped import Tapped, TappedModel, pool

Vectors = NDArray[np.float32]


def expected(model: TappedModel, inputs: Vectors) -> tuple[Vectors, Vectors]:
    with torch.no_grad():
        tapped = model.eval()(torch.from_numpy(inputs))
    return tapped.outputs.numpy(), tapped.activation.numpy()


def assert_same(model: TappedModel, path: Path, tap: str, inputs: Vectors) -> None:
    found = OnnxSuspect(path).run(inputs, tap=tap)
    for ours, theirs in zip(expected(model, inputs), found, strict=True):
        assert theirs is not None
        np.testing.assert_allclose(theirs, ours, rtol=1e-4, atol=1e-5)


def test_an_mlp_with_any_batch(mlp: TappedModel, vectors: Vectors, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    tap = export_onnx(mlp, vectors[:4], path)
    for size in (1, 7, 40):
        assert_same(mlp, path, tap, vectors[:size])


def test_a_feature_map_is_tapped_before_pooling(
    cnn: TappedModel, cnn_file: tuple[Path, str], images: Vectors
) -> None:
    path, tap = cnn_file
    assert_same(cnn, path, tap, images)
    graph = onnx.load(path).graph
    writer = next(node for node in graph.node if tap in node.output)
    assert writer.op_type == "Relu"
    # The pooling was only there to find the tensor.
    assert "ReduceMean" not in {node.op_type for node in graph.node}


def test_the_file_says_nothing_about_its_source(cnn_file: tuple[Path, str]) -> None:
    path, _ = cnn_file
    model = onnx.load(path)
    bare = onnx.load(path)
    for tensor in bare.graph.initializer:
        tensor.ClearField("raw_data")
    content = bare.SerializeToString()
    for leak in (b"layers", b"Model", b".py", b"tests", b"torch.", b"deepsigns", b"activation"):
        assert leak not in content
    graph = model.graph
    assert [entry.name for entry in graph.input] == ["input"]
    assert [entry.name for entry in graph.output] == ["output"]
    assert graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    parts: list[Any] = [*graph.node, *graph.initializer, *graph.input, *graph.output]
    assert not any(part.doc_string for part in parts)
    assert not any(part.metadata_props for part in parts)
    assert not model.metadata_props
    assert not graph.value_info
    assert {opset.domain for opset in model.opset_import} == {""}
    names = [name for node in graph.node for name in (*node.input, *node.output, node.name)]
    assert all(name in {"input", "output"} or name[1:].isdigit() for name in names)


def test_two_exports_are_the_same_bytes(mlp: TappedModel, vectors: Vectors, tmp_path: Path) -> None:
    first, second = tmp_path / "first.onnx", tmp_path / "second.onnx"
    export_onnx(mlp, vectors, first)
    export_onnx(mlp, vectors, second)
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize("kind", ["eager", "exported"])
def test_both_adapters_are_exported(
    kind: str, images: Vectors, cnn: TappedModel, tmp_path: Path
) -> None:
    layers = cnn.get_submodule("layers")
    model: TappedModel = EagerTappedModel(layers, "5")
    if kind == "exported":
        batch = ({0: torch.export.Dim("batch")},)
        program = torch.export.export(layers, (torch.from_numpy(images),), dynamic_shapes=batch)
        model = ExportedTappedModel(program, "5")
    path = tmp_path / "model.onnx"
    assert_same(cnn, path, export_onnx(model, images, path), images)


def test_the_modes_of_the_model_stay(cnn: TappedModel, images: Vectors, tmp_path: Path) -> None:
    cnn = copy.deepcopy(cnn).train()
    cnn.get_submodule("layers.1").eval()
    before = {name: part.training for name, part in cnn.named_modules()}
    export_onnx(cnn, images, tmp_path / "model.onnx")
    assert {name: part.training for name, part in cnn.named_modules()} == before


class _Vanishing(TappedModel):
    """Its tap is no tensor of the graph: noise of its own."""

    tap = "noise"

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 3)

    def forward(self, inputs: Tensor) -> Tapped:
        outputs = self.layer(inputs)
        return Tapped(outputs, pool(outputs * 0.5))


def test_a_tap_that_does_not_survive_is_refused(vectors: Vectors, tmp_path: Path) -> None:
    with pytest.raises(UnmarkableError, match="does not survive"):
        export_onnx(_Vanishing(), vectors, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


class _Branching(TappedModel):
    tap = "branch"

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 3)

    def forward(self, inputs: Tensor) -> Tapped:
        outputs = self.layer(inputs)
        if float(outputs.sum()) > 0:
            outputs = outputs + 1
        return Tapped(outputs, outputs)


def test_a_model_that_cannot_be_exported_is_refused_in_one_line(
    vectors: Vectors, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UnmarkableError, match="cannot be exported to ONNX") as caught:
        export_onnx(_Branching(), vectors, tmp_path / "model.onnx")
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())
    assert capfd.readouterr() == ("", "")


def test_a_file_that_answers_differently_is_not_published(
    mlp: TappedModel, vectors: Vectors, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"what stood here before")

    def wrong(model: onnx.ModelProto, tap: str) -> tuple[onnx.ModelProto, str]:
        clean, name = neutralised(model, tap)
        bias = clean.graph.initializer[-1]
        values = onnx.numpy_helper.to_array(bias) + 1
        bias.CopyFrom(onnx.numpy_helper.from_array(values, bias.name))
        return clean, name

    monkeypatch.setattr("deepsigns_registry.graph.export.neutralised", wrong)
    with pytest.raises(UnmarkableError, match="outputs differ"):
        export_onnx(mlp, vectors, path)
    assert path.read_bytes() == b"what stood here before"
    assert list(tmp_path.iterdir()) == [path]


def test_one_row_or_no_folder_is_refused(
    mlp: TappedModel, vectors: Vectors, tmp_path: Path
) -> None:
    with pytest.raises(UnmarkableError, match="1 example rows"):
        export_onnx(mlp, vectors[:1], tmp_path / "model.onnx")
    with pytest.raises(ConfigurationError, match="no such folder"):
        export_onnx(mlp, vectors, tmp_path / "missing" / "model.onnx")
