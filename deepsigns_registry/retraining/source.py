"""The unmarked model of a version, taken from its folder without running foreign code."""

import re
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from deepsigns_registry.errors import CouldNotCheckError, UnmarkableError
from deepsigns_registry.registry.assemble import pytorch_file

if TYPE_CHECKING:
    from torch.export import ExportedProgram

    from deepsigns_registry.watermark.data import Task

__all__ = ["load_program", "output_width"]

# What the library raises on damaged archives, besides what it documents.
_ODD_ARCHIVE = (
    zipfile.BadZipFile,
    zlib.error,
    OSError,
    EOFError,
    RuntimeError,
    ValueError,
    LookupError,
)
_MOST_GRAPH = 256 * 2**20
_TARGET = re.compile(rb'"torch\.ops\.(\w+)\.(\w+)')


def load_program(folder: Path) -> "ExportedProgram":
    """Loads the `torch.export` program of a version's folder.

    Raises:
        UnmarkableError: The version holds no such program, one with pickled parts, or one with
            operators that are not installed here.
        CouldNotCheckError: The file is damaged.
    """
    import torch
    from mlflow.exceptions import MlflowException

    # torch.export.load would unpickle what it finds; MLflow's own check refuses that first. It is
    # private there, and its public caller would put the version's `code` folder on sys.path.
    from mlflow.pytorch import _validate_pt2_archive_is_pickle_free

    path = pytorch_file(folder)
    try:
        _validate_pt2_archive_is_pickle_free(str(path))
    except MlflowException as error:
        raise _refused(
            f"the version's PyTorch model is refused: {error.message.splitlines()[0]}",
            "log it with mlflow.pytorch.log_model(..., serialization_format='pt2')",
        ) from None
    except _ODD_ARCHIVE as error:
        raise _damaged(error) from None
    try:
        return torch.export.load(path)
    except Exception as error:  # noqa: BLE001 - a damaged archive raises errors of many kinds
        foreign = _foreign_operators(path)
        if foreign:
            raise _refused(
                f"the model uses an operator that is not installed here: {', '.join(foreign)}",
                "build it of torch's own operators, and register again",
            ) from None
        raise _damaged(error) from None


def output_width(program: "ExportedProgram", task: "Task") -> int:
    """Length of a program's output: its classes, targets, or the components of its vector.

    Raises:
        UnmarkableError: The output is no tensor [batch, ...] of the task's kind.
    """
    node = next(iter(program.graph.find_nodes(op="output")))
    value = getattr(node.args[0][0], "meta", {}).get("val")
    shape = tuple(getattr(value, "shape", ()))
    if task == "regression" and len(shape) == 1:
        return 1
    least, wanted = {
        "classification": (
            2,
            "logits of shape (batch, classes); one logit z of two classes is the same as (0, z)",
        ),
        "regression": (1, "numbers of shape (batch, targets)"),
        "embedding": (2, "vectors of shape (batch, components)"),
    }[task]
    if len(shape) != 2 or not isinstance(shape[1], int) or shape[1] < least:
        shown = ", ".join(["batch", *map(str, shape[1:])])
        raise _refused(f"the model's output has shape ({shown})", f"give {wanted}")
    return shape[1]


def _foreign_operators(path: Path) -> list[str]:
    """Operators that a program names and this torch does not know, such as `mylib.twice`."""
    import torch

    try:
        with zipfile.ZipFile(path) as archive:
            graphs = [
                info
                for info in archive.infolist()
                if info.filename.endswith("models/model.json") and info.file_size <= _MOST_GRAPH
            ]
            named = {target for info in graphs for target in _TARGET.findall(archive.read(info))}
    except _ODD_ARCHIVE:
        return []
    pairs = sorted((library.decode(), operator.decode()) for library, operator in named)
    return [
        f"{library}.{operator}"
        for library, operator in pairs
        if not hasattr(getattr(torch.ops, library), operator)
    ]


def _damaged(error: Exception) -> CouldNotCheckError:
    return CouldNotCheckError(
        f"the version's PyTorch model cannot be loaded: {type(error).__name__}: {error}",
        advice="register the version again",
    )


def _refused(message: str, advice: str) -> UnmarkableError:
    # Nothing here names a layer.
    return UnmarkableError(message, advice=advice, public=f"{message}; {advice}")
