"""One model folder with both flavours: the marked PyTorch program and its ONNX file."""

import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import yaml

from deepsigns_registry.attestation.digests import BUNDLE_FOLDER
from deepsigns_registry.bounded.documents import read_yaml
from deepsigns_registry.bounded.regular import read_regular
from deepsigns_registry.bounded.unreadable import UnreadableError
from deepsigns_registry.errors import (
    ConfigurationError,
    CouldNotCheckError,
    RefusedError,
    UnmarkableError,
)

__all__ = ["ONNX_FILE", "assemble", "onnx_file", "pytorch_file"]

ONNX_FILE = "model.onnx"
_PROGRAM = "model.pt2"
_MLMODEL = "MLmodel"
# A signature of ten thousand columns is smaller.
_MOST_DESCRIPTION = 4 * 2**20


def assemble(source: Path, pt2: Path, onnx: Path, out: Path) -> None:
    """Copies a model folder with its PyTorch data replaced and an ONNX flavour added.

    Signature, input example, requirements, code and the pyfunc wrapper stay as they are, so that
    whoever loaded the source loads the marked version the same way, and
    `mlflow.onnx.load_model` works too. Empty folders are left out.

    Args:
        source: The unmarked version's folder.
        pt2: The marked program (`torch.export.save`).
        onnx: The marked ONNX file.
        out: A folder that does not exist yet.

    Raises:
        ConfigurationError: `out` exists.
        UnmarkableError: The source is no PyTorch model in the pt2 format.
        CouldNotCheckError: Something cannot be read or written.
    """
    if out.exists() or out.is_symlink():
        raise ConfigurationError(f"{out}: exists already", advice="name a folder that does not")
    description = _description(source)
    program = pytorch_file(source).relative_to(source)
    try:
        shutil.copytree(source, out, ignore=_left_out(source))
        _drop_empty_folders(out)
        shutil.copyfile(pt2, out / program)
        shutil.copyfile(onnx, out / ONNX_FILE)
        description["flavors"]["onnx"] = {
            "onnx_version": _onnx_version(),
            "data": ONNX_FILE,
            # CPU is asked for by name: MLflow's default prints errors where there is no GPU.
            "providers": ["CPUExecutionProvider"],
            "onnx_session_options": None,
            "code": description["flavors"]["pytorch"].get("code"),
        }
        # It names the logged model of the source; this folder will be another one's.
        description["model_id"] = None
        description["model_size_bytes"] = sum(
            entry.stat().st_size
            for entry in out.rglob("*")
            if entry.is_file() and entry.name != _MLMODEL
        )
        text = yaml.safe_dump(description, default_flow_style=False, allow_unicode=True)
        (out / _MLMODEL).write_text(text, encoding="utf-8")
    except (OSError, shutil.Error) as error:
        shutil.rmtree(out, ignore_errors=True)
        raise CouldNotCheckError(f"{out}: cannot be assembled: {error}") from None


def pytorch_file(folder: Path) -> Path:
    """The `torch.export` program in a model folder.

    Raises:
        UnmarkableError: The folder holds another kind of model.
        CouldNotCheckError: It cannot be read.
    """
    flavor = _description(folder)["flavors"].get("pytorch")
    if not isinstance(flavor, Mapping):
        raise UnmarkableError(
            f"{folder}: not a PyTorch model", advice="log it with mlflow.pytorch.log_model"
        )
    path = folder / str(flavor.get("model_data", "data")) / _PROGRAM
    if not _is_inside(path, folder):
        raise UnmarkableError(
            f"{folder}: its PyTorch model is not in the pt2 format",
            advice="log it with mlflow.pytorch.log_model(..., input_example=...) of MLflow 3",
        )
    return path


def onnx_file(folder: Path) -> Path:
    """The ONNX file in a model folder.

    Raises:
        RefusedError: The folder has no ONNX flavour.
        CouldNotCheckError: It cannot be read.
    """
    flavor = _description(folder)["flavors"].get("onnx")
    name = str(flavor.get("data", "")) if isinstance(flavor, Mapping) else ""
    path = folder / name
    if not name or not _is_inside(path, folder):
        raise RefusedError(
            f"{folder}: holds no ONNX file", advice="audit a version that deepsigns has marked"
        )
    return path


def _is_inside(path: Path, folder: Path) -> bool:
    """Whether a path that a description names is a file in its folder."""
    try:
        return path.is_file() and path.resolve().is_relative_to(folder.resolve())
    except (OSError, ValueError, RuntimeError):
        # A name that is too long or none at all; links that lead to each other.
        return False


def _description(folder: Path) -> dict[str, Any]:
    path = folder / _MLMODEL
    try:
        content = read_yaml(
            read_regular(path, most_bytes=_MOST_DESCRIPTION), most_bytes=_MOST_DESCRIPTION
        )
    except FileNotFoundError:
        raise UnmarkableError(
            f"{folder}: not an MLflow model, there is no {_MLMODEL}",
            advice="log it with mlflow.pytorch.log_model",
        ) from None
    except OSError as error:
        raise CouldNotCheckError(f"{path}: cannot be read: {error.strerror}") from None
    except UnreadableError as error:
        raise CouldNotCheckError(f"{path}: {error}") from None
    if not isinstance(content, dict) or not isinstance(content.get("flavors"), dict):
        raise CouldNotCheckError(f"{path}: describes no model")
    return content


def _drop_empty_folders(out: Path) -> None:
    # They hold nothing that could be signed, and a gate refuses what is not signed.
    for folder, _, _ in os.walk(out, topdown=False):
        if folder != str(out):
            with suppress(OSError):
                os.rmdir(folder)  # noqa: PTH106 - refuses a folder that is not empty


def _left_out(source: Path) -> Any:
    def ignored(folder: str, names: list[str]) -> set[str]:
        # Only at the top: a folder of the same name deeper down belongs to the model.
        top = {BUNDLE_FOLDER, "registered_model_meta"} if Path(folder) == source else set()
        return top & set(names)

    return ignored


def _onnx_version() -> str | None:
    try:
        return version("onnx")
    except PackageNotFoundError:
        return None
