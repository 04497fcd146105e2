"""One folder, two flavours."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from deepsigns_registry.attestation.digests import check_unsigned
from deepsigns_registry.errors import (
    ConfigurationError,
    CouldNotCheckError,
    RefusedError,
    UnmarkableError,
)
from deepsigns_registry.registry.assemble import assemble, onnx_file, pytorch_file

MLMODEL: dict[str, Any] = {
    "flavors": {
        "python_function": {"loader_module": "mlflow.pytorch", "data": "data"},
        "pytorch": {"model_data": "data", "code": "code"},
    },
    "model_id": "m-1",
    "model_size_bytes": 1,
    "signature": {"inputs": "[]"},
}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    (folder / "data").mkdir(parents=True)
    (folder / "code/deepsigns").mkdir(parents=True)
    (folder / "code/deepsigns/mine.py").write_text("x = 1\n")
    (folder / "deepsigns").mkdir()
    (folder / "deepsigns/watermark.sigstore.json").write_text("{}")
    (folder / "registered_model_meta").write_text("model_name: fraud\n")
    (folder / "data/model.pt2").write_bytes(b"unmarked")
    (folder / "requirements.txt").write_text("torch\n")
    (folder / "MLmodel").write_text(yaml.safe_dump(MLMODEL))
    return folder


@pytest.fixture
def marked(tmp_path: Path) -> tuple[Path, Path]:
    pair = tmp_path / "marked.pt2", tmp_path / "marked.onnx"
    pair[0].write_bytes(b"marked program")
    pair[1].write_bytes(b"marked graph")
    return pair


def test_data_is_replaced_a_flavour_added_and_the_rest_kept(
    source: Path, marked: tuple[Path, Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assemble(source, *marked, out)
    assert pytorch_file(out).read_bytes() == b"marked program"
    assert onnx_file(out).read_bytes() == b"marked graph"
    assert (out / "requirements.txt").read_text() == "torch\n"
    assert (out / "code/deepsigns/mine.py").exists()
    assert not (out / "deepsigns").exists()
    assert not (out / "registered_model_meta").exists()
    made = yaml.safe_load((out / "MLmodel").read_text())
    assert made["flavors"]["python_function"] == MLMODEL["flavors"]["python_function"]
    assert made["flavors"]["pytorch"] == MLMODEL["flavors"]["pytorch"]
    assert made["flavors"]["onnx"]["data"] == "model.onnx"
    assert made["flavors"]["onnx"]["code"] == "code"
    assert made["signature"] == MLMODEL["signature"]
    assert made["model_id"] is None
    assert made["model_size_bytes"] == len(b"marked programmarked graph") + 6 + 6


def test_out_must_be_new_and_nothing_is_left_of_a_failure(
    source: Path, marked: tuple[Path, Path], tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match="exists already"):
        assemble(source, *marked, source)
    with pytest.raises(CouldNotCheckError, match="cannot be assembled"):
        assemble(source, marked[0], tmp_path / "gone.onnx", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_other_models_are_told_what_to_do(source: Path, tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="holds no ONNX file"):
        onnx_file(source)
    (source / "data/model.pt2").rename(source / "data/model.pth")
    with pytest.raises(UnmarkableError, match="not in the pt2 format"):
        pytorch_file(source)
    (source / "MLmodel").write_text(yaml.safe_dump({"flavors": {"sklearn": {}}}))
    with pytest.raises(UnmarkableError, match="not a PyTorch model"):
        pytorch_file(source)
    with pytest.raises(UnmarkableError, match="not an MLflow model"):
        pytorch_file(tmp_path / "nothing")


@pytest.mark.parametrize("text", ["[", "[]", "flavors: 1", "\x00"])
def test_a_broken_description_is_could_not_check(source: Path, text: str) -> None:
    (source / "MLmodel").write_text(text)
    with pytest.raises(CouldNotCheckError, match="MLmodel"):
        pytorch_file(source)


def test_a_description_that_points_out_of_the_folder_finds_nothing(source: Path) -> None:
    shutil.copytree(source / "data", source.parent / "data")
    flavors = {"pytorch": {"model_data": "../data"}, "onnx": {"data": "../marked.onnx"}}
    (source.parent / "marked.onnx").write_bytes(b"x")
    (source / "MLmodel").write_text(yaml.safe_dump({"flavors": flavors}))
    with pytest.raises(UnmarkableError):
        pytorch_file(source)
    with pytest.raises(RefusedError):
        onnx_file(source)


def test_empty_folders_are_left_out(
    source: Path, marked: tuple[Path, Path], tmp_path: Path
) -> None:
    """Nothing could sign them, and the gate would refuse them."""
    (source / "code" / "empty" / "inner").mkdir(parents=True)
    assemble(source, *marked, tmp_path / "out")
    check_unsigned(tmp_path / "out")
    assert not (tmp_path / "out" / "code" / "empty").exists()


@pytest.mark.parametrize("name", ["loop", "a" * 300, "a\0b", "data"])
def test_a_name_that_is_no_file_finds_nothing(source: Path, name: str) -> None:
    (source / "loop").symlink_to("loop")
    content = {"flavors": {"onnx": {"data": name}, "pytorch": {"model_data": name}}}
    (source / "data" / "model.pt2").unlink()
    (source / "MLmodel").write_text(yaml.safe_dump(content))
    with pytest.raises(RefusedError, match="holds no ONNX file"):
        onnx_file(source)
    with pytest.raises(UnmarkableError, match="not in the pt2 format"):
        pytorch_file(source)
