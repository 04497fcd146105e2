# mypy: allow-untyped-calls
"""What can be seen of a version at the request: whether it is of no kind that can be marked.

The server has neither torch nor onnx, and reads no more than the description and the names of
the files. It says no only where a worker would certainly say no; what cannot be looked at, or is
odd, is left to the worker.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from deepsigns_registry.attestation.files import read_small
from deepsigns_registry.attestation.scratch import scratch_folder
from deepsigns_registry.bounded.documents import read_json, read_yaml
from deepsigns_registry.bounded.unreadable import UnreadableError
from deepsigns_registry.errors import DeepSignsError, NotFoundError
from mlflow_deepsigns.locations import concrete, local_folder

__all__ = ["Obstacle", "find_obstacle"]

_DESCRIPTION = "MLmodel"
_PROGRAM = "model.pt2"
# A signature of a thousand columns is smaller. A scanner in Python takes a second for this much.
_MOST_BYTES = 256 * 1024
_MOST_EVENTS = 5_000
_WHOLE_NUMBERS = ("int", "uint", "bool")


class Obstacle(NamedTuple):
    """Why a version cannot be marked.

    Attributes:
        reason: What it is, to follow the version's name: `fraud/7 ...`.
        advice: What to do about it.
    """

    reason: str
    advice: str


def find_obstacle(location: str) -> Obstacle | None:
    """Looks at a version's description and the names of its files.

    Args:
        location: Storage location of the version.

    Returns:
        Why it certainly cannot be marked; None when it may be, and when nothing could be seen.
    """
    try:
        uri = concrete(location)
        folder = local_folder(uri)
        if folder is not None:
            return _obstacle(folder)
        with _described(uri) as copy:
            return None if copy is None else _obstacle(copy)
    except Exception:  # noqa: BLE001 - storages raise what they like, and the worker looks again
        return None


def _obstacle(folder: Path) -> Obstacle | None:
    try:
        content = read_small(folder / _DESCRIPTION, limit=_MOST_BYTES)
    except NotFoundError:
        if not folder.is_dir() or not any(folder.iterdir()):
            return None
        return Obstacle(
            f"is no MLflow model, it has no file {_DESCRIPTION}",
            "log the model with mlflow.pytorch.log_model",
        )
    except DeepSignsError:
        return None
    described = _read(content)
    flavors = described.get("flavors")
    if not isinstance(flavors, dict) or "onnx" in flavors:
        return None
    return _unfit_flavor(folder, flavors) or _unfit_signature(described)


def _unfit_flavor(folder: Path, flavors: Mapping[str, Any]) -> Obstacle | None:
    pytorch = flavors.get("pytorch")
    if not isinstance(pytorch, dict):
        named = ", ".join(sorted(str(name)[:40] for name in flavors)[:5]) or "none"
        return Obstacle(
            f"is not a PyTorch model (flavours: {named})", "log it with mlflow.pytorch.log_model"
        )
    data = PurePosixPath(str(pytorch.get("model_data", "data")))
    if data.is_absolute() or ".." in data.parts:
        return None
    if (folder / data).is_dir() and not (folder / data / _PROGRAM).exists():
        return Obstacle(
            f"is a PyTorch model without {_PROGRAM}: a pickled one, which is never loaded",
            "log it with mlflow.pytorch.log_model(..., input_example=..., "
            "serialization_format='pt2')",
        )
    return None


def _unfit_signature(described: Mapping[str, Any]) -> Obstacle | None:
    signature = described.get("signature")
    inputs = signature.get("inputs") if isinstance(signature, dict) else None
    if not isinstance(inputs, str):
        return None
    try:
        listed = read_json(inputs)
    except UnreadableError:
        return None
    # Columns of a table say nothing of the tensors that the model takes.
    if not isinstance(listed, list) or not all(_is_tensor(entry) for entry in listed):
        return None
    if len(listed) > 1:
        return Obstacle(
            f"takes {len(listed)} inputs", "register a model with one input tensor and one output"
        )
    dtype = str(listed[0]["tensor-spec"].get("dtype")) if listed else ""
    if dtype.startswith(_WHOLE_NUMBERS):
        return Obstacle(f"takes {dtype[:20]} inputs", "register a model that takes float32 inputs")
    return None


def _is_tensor(entry: object) -> bool:
    return isinstance(entry, dict) and isinstance(entry.get("tensor-spec"), dict)


def _read(content: bytes) -> Mapping[str, Any]:
    """The description; empty when it is none, or is made to be expensive."""
    try:
        described = read_yaml(content, most_bytes=_MOST_BYTES, most_events=_MOST_EVENTS)
    except UnreadableError:
        return {}
    return described if isinstance(described, dict) else {}


@contextmanager
def _described(uri: str) -> Iterator[Path | None]:
    """A folder with the description of a remote version and empty files for the others.

    None when there is no description of a bearable size.
    """
    repository = get_artifact_repository(uri)
    entries = {entry.path: entry for entry in repository.list_artifacts() or ()}
    description = entries.get(_DESCRIPTION)
    if description is None or not 0 < (description.file_size or 0) <= _MOST_BYTES:
        yield None
        return
    with scratch_folder() as folder:
        repository.download_artifacts(_DESCRIPTION, dst_path=str(folder))
        flavors = _read(read_small(folder / _DESCRIPTION, limit=_MOST_BYTES)).get("flavors")
        pytorch = flavors.get("pytorch") if isinstance(flavors, dict) else None
        data = str(pytorch.get("model_data", "data")) if isinstance(pytorch, dict) else ""
        if data in entries and entries[data].is_dir:
            (folder / data).mkdir()
            for entry in repository.list_artifacts(data) or ():
                (folder / data / PurePosixPath(entry.path).name).touch()
        yield folder
