"""What a version says of itself: its signature, its input example, what was logged with it.

The folder is a stranger's: nothing in it is executed, sizes are bounded, and what is odd is left
out. Nothing here refuses a version.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepsigns_registry.bounded.documents import read_json, read_yaml
from deepsigns_registry.bounded.unreadable import UnreadableError

__all__ = ["Described"]

_MOST_BYTES = 32 * 2**20
_MOST_DESCRIPTION = 2**20
_MOST_ROWS = 256


@dataclass(frozen=True)
class Described:
    """What a version says of itself.

    Attributes:
        example: float32 [rows, ...], its input example; None when there is none of numbers.
        shape: Of one input in its signature, without the batch; None for a free length. Empty
            when the signature says nothing.
        dtype: Of the signature's input; empty when it says nothing.
        metrics: What was logged with the version; may be empty.
    """

    example: NDArray[np.float32] | None = None
    shape: tuple[int | None, ...] = ()
    dtype: str = ""
    metrics: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))

    @classmethod
    def of(cls, folder: Path, metrics: Mapping[str, float] = MappingProxyType({})) -> "Described":
        """Reads an MLflow model's folder.

        Args:
            folder: With the file `MLmodel`; any content is borne.
            metrics: What was logged with the version; what is no finite number is left out.
        """
        described = _mapping(_yaml(folder / "MLmodel"))
        shape, dtype = _signature(_mapping(described.get("signature")).get("inputs"))
        return cls(
            example=_example(folder, _mapping(described.get("saved_input_example_info"))),
            shape=shape,
            dtype=dtype,
            metrics={str(k): float(v) for k, v in metrics.items() if _is_number(v)},
        )


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(path: Path, most: int) -> str:
    """A plain file inside its folder; empty where there is none, or one that is too large."""
    try:
        if path.is_symlink() or not path.is_file() or path.stat().st_size > most:
            return ""
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return ""


def _yaml(path: Path) -> object:
    try:
        return read_yaml(_text(path, _MOST_DESCRIPTION))
    except UnreadableError:
        return None


def _json(text: object) -> Any:
    try:
        return read_json(text, most_bytes=_MOST_BYTES) if isinstance(text, str) else None
    except UnreadableError:
        return None


def _signature(inputs: object) -> tuple[tuple[int | None, ...], str]:
    """Shape without batch, and type, of a signature of one tensor."""
    listed = _json(inputs)
    first = listed[0] if isinstance(listed, list) and len(listed) == 1 else None
    spec = _mapping(_mapping(first).get("tensor-spec"))
    sizes, dtype = spec.get("shape"), spec.get("dtype")
    if not isinstance(sizes, list) or not all(isinstance(size, int) for size in sizes):
        return (), ""
    return (
        tuple(size if size > 0 else None for size in sizes[1:]),
        dtype if isinstance(dtype, str) else "",
    )


def _example(folder: Path, info: dict[str, Any]) -> NDArray[np.float32] | None:
    name = info.get("artifact_path")
    # A plain name: no path may lead out of the folder.
    if not isinstance(name, str) or not name or Path(name).name != name:
        return None
    content = _json(_text(folder / name, _MOST_BYTES))
    if isinstance(content, dict):
        content = next((content[key] for key in ("inputs", "data") if key in content), None)
    if not isinstance(content, list) or not content:
        return None
    try:
        values = np.asarray(content[:_MOST_ROWS], dtype=np.float64).astype(np.float32)
    except (TypeError, ValueError, OverflowError):
        return None
    usable = values.ndim >= 2 and values.size > 0 and bool(np.isfinite(values).all())
    return values if usable else None
