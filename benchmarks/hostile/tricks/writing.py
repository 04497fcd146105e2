"""What the tricks share: a network of two layers with something before or behind it."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from onnx import ModelProto, NodeProto, TensorProto

from benchmarks.hostile.graphs import flat, model_of, plain

__all__ = ["before", "behind", "ordinary", "written"]


def written(folder: Path, model: ModelProto | bytes) -> Path:
    """Writes a file."""
    path = folder / "suspect.onnx"
    path.write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
    return path


def ordinary() -> ModelProto:
    """A network in which nothing is odd."""
    return before([], source="f")


def before(
    nodes: Iterable[NodeProto],
    constants: Iterable[TensorProto] = (),
    *,
    source: str = "made",
    **further: Any,
) -> ModelProto:
    """A network whose first layer reads what these nodes make of `f`, float32 [batch, 64]."""
    (first, _), (then, weights) = flat(), plain(source)
    return model_of([*first, *nodes, *then], [*weights, *constants], **further)


def behind(
    nodes: Iterable[NodeProto], constants: Iterable[TensorProto] = (), **further: Any
) -> ModelProto:
    """A network whose output is what these nodes make of `logits`, float32 [batch, 6]."""
    (first, _), (then, weights) = flat(), plain()
    then[-1].output[0] = "logits"
    return model_of([*first, *then, *nodes], [*weights, *constants], **further)
