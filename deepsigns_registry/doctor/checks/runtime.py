"""Which onnxruntime is installed, and what it really computes with."""

from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from deepsigns_registry.doctor.check import Line

if TYPE_CHECKING:
    from deepsigns_registry.config import Settings

__all__ = ["check"]

_PLAIN, _GPU = "onnxruntime", "onnxruntime-gpu"
_DEVICE = Path("/dev/nvidia0")
_SECONDS = 60.0


def check(settings: "Settings") -> Iterator[Line]:
    """Runs a graph of one operator in the room, and asks the session what it used.

    Raises:
        ImportError: The packages for reading a file are not installed.
        DeepSignsError: The graph did not run.
    """
    found = {name: text for name in (_PLAIN, _GPU) if (text := _version(name))}
    if not found:
        yield Line(
            "attention",
            "onnxruntime is not installed: this machine gates and serves, and reads no files",
            "run: pip install 'deepsigns-registry[verify]' (to read files) or [worker] (to mark)",
        )
        return
    said = " and ".join(f"{name} {text}" for name, text in found.items())
    if len(found) > 1:
        yield Line(
            "wrong",
            f"{said} are both installed, and each overwrites files of the other",
            f"run: pip uninstall {_PLAIN} {_GPU}; then install [worker] or [gpu] again",
        )
    providers = _used(settings)
    words = ", ".join(name.removesuffix("ExecutionProvider") for name in providers) or "nothing"
    if _DEVICE.exists() and not any("CUDA" in name for name in providers):
        yield Line(
            "attention",
            f"{said} computes with {words}, and there is a CUDA device",
            f"install {_GPU} alone, of a CUDA that the driver knows, where it is to be used",
        )
    else:
        yield Line("ok", f"{said} computes with {words}")


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _used(settings: "Settings") -> tuple[str, ...]:
    import numpy as np
    from onnx import TensorProto, helper

    from deepsigns_registry.graph.limits import Limits
    from deepsigns_registry.graph.session import OnnxSuspect

    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 2])
        for name in ("input", "output")
    ]
    graph = helper.make_graph(
        [helper.make_node("Relu", ["input"], ["output"])], "graph", ends[:1], ends[1:]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    with TemporaryDirectory(prefix="deepsigns-") as folder:
        path = Path(folder) / "relu.onnx"
        path.write_bytes(model.SerializeToString())
        # What is required of the room is said by its own check.
        limits = Limits(seconds=min(_SECONDS, settings.sandbox.seconds), require=None)
        with OnnxSuspect(path, limits=limits) as suspect:
            suspect.run(np.zeros((1, 2), np.float32), tap=None)
            return suspect.providers
