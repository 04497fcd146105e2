"""The file that a thief deploys, as an auditor finds it."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.workshop import Workshop
from deepsigns_registry.graph.export import export_onnx
from deepsigns_registry.graph.interpreter import OnnxTappedModel
from deepsigns_registry.graph.session import OnnxSuspect
from deepsigns_registry.watermark.tapped import TappedModel

__all__ = ["as_file", "opened"]

_EXAMPLES = 16


def as_file(workshop: Workshop, model: TappedModel) -> tuple[bytes, str]:
    """A model's ONNX file, and its tap's tensor; what is a file stays as it is."""
    if isinstance(model, OnnxTappedModel):
        return model.to_bytes(), model.tap
    with tempfile.TemporaryDirectory(prefix="deepsigns-") as name:
        path = Path(name) / "model.onnx"
        tap = export_onnx(model.to("cpu"), workshop.data.validation.inputs[:_EXAMPLES], path)
        return path.read_bytes(), tap


@contextmanager
def opened(content: bytes) -> Iterator[OnnxSuspect]:
    """The file as an audit reads it: in a limited process, without help from the attack."""
    with tempfile.TemporaryDirectory(prefix="deepsigns-") as name:
        path = Path(name) / "suspect.onnx"
        path.write_bytes(content)
        yield OnnxSuspect(path, providers=("CPUExecutionProvider",))
