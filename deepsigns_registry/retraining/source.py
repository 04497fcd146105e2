"""The unmarked model of a version, taken from its folder without running foreign code."""

from pathlib import Path
from typing import TYPE_CHECKING

from deepsigns_registry.errors import CouldNotCheckError, UnmarkableError
from deepsigns_registry.registry.assemble import pytorch_file

if TYPE_CHECKING:
    from torch.export import ExportedProgram

    from deepsigns_registry.watermark.data import Task

__all__ = ["load_program", "output_width"]


def load_program(folder: Path) -> "ExportedProgram":
    """Loads the `torch.export` program of a version's folder.

    Raises:
        UnmarkableError: The version holds no such program, or one with pickled parts.
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
        raise UnmarkableError(
            f"the version's PyTorch model is refused: {error.message.splitlines()[0]}",
            advice="log it with mlflow.pytorch.log_model(..., serialization_format='pt2')",
        ) from None
    try:
        return torch.export.load(path)
    except Exception as error:  # noqa: BLE001 - a damaged archive raises errors of many kinds
        raise CouldNotCheckError(
            f"the version's PyTorch model cannot be loaded: {type(error).__name__}: {error}",
            advice="register the version again",
        ) from None


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
        "classification": (2, "logits of shape (batch, classes)"),
        "regression": (1, "numbers of shape (batch, targets)"),
        "embedding": (2, "vectors of shape (batch, components)"),
    }[task]
    if len(shape) != 2 or not isinstance(shape[1], int) or shape[1] < least:
        raise UnmarkableError(f"the model's output has shape {shape}", advice=f"give {wanted}")
    return shape[1]
