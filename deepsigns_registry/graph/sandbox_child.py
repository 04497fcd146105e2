"""What runs a stranger's ONNX file in a room; started as a script by `sandbox.enter`.

Of this package it imports what it talks through alone. Its requests come one a line, what belongs
to them and to its answers lies in its folder:

    {"model": 1, "taps": [...], "providers": [...], "memory": 1}   number of the model, names of the
                     taps, and how many bytes it may hold at once
    model.onnx       the checked model of this number, the taps among its outputs
    sizes.onnx       the same without its weights
    inputs.npy       float32 [batch, ...]
    outputs.npy      float32 [batch, classes]                            (answer)
    activation-0.npy float32 [batch, neurons], pooled, of the first tap  (answer)
    {"providers": [...]}, {"needed": 1} bytes or {"error": "..."}        (answer)
"""

import ctypes
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepsigns_registry.graph.sizes import TooLargeError, rows_at_once
from deepsigns_registry.sandbox import channel

__all__ = ["Answers", "pool"]

_TYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
}


def _has_cuda(wanted: list[str]) -> bool:
    if "CUDAExecutionProvider" not in wanted:
        return False
    try:
        ctypes.CDLL("libcuda.so.1" if sys.platform != "win32" else "nvcuda.dll")
    except OSError:
        return False
    return True


def pool(activation: NDArray[Any], batch: int) -> NDArray[np.float32] | None:
    """Pools an activation by the rule of `watermark.tapped.pool`, without torch.

    Args:
        activation: Values of a tensor, [batch, ...].
        batch: The batch's size.

    Returns:
        float32 [batch, neurons], or None when the tensor is no activation of this batch.
    """
    if activation.ndim < 2 or len(activation) != batch:
        return None
    values = activation.astype(np.float32)
    if values.ndim == 2:
        return values
    if values.ndim == 3:
        return np.asarray(values.mean(axis=1), np.float32)
    return np.asarray(values.reshape(*values.shape[:2], -1).mean(axis=2), np.float32)


def _run(
    session: Any, inputs: NDArray[np.float32], taps: list[str], folder: Path, step: int
) -> None:
    entry = session.get_inputs()[0]
    fixed = entry.shape[0] if isinstance(entry.shape[0], int) else None
    names = [session.get_outputs()[0].name, *taps]
    outputs: list[NDArray[np.float32]] = []
    activations: list[list[NDArray[np.float32] | None]] = [[] for _ in taps]
    for start in range(0, len(inputs), step):
        chunk = inputs[start : start + step]
        size = len(chunk)
        if fixed and size < fixed:
            chunk = np.concatenate([chunk, np.repeat(chunk[-1:], fixed - size, axis=0)])
        results = session.run(names, {entry.name: chunk.astype(_TYPES[entry.type])})
        first = np.asarray(results[0])
        if first.ndim < 1 or len(first) != len(chunk):
            raise ValueError(f"the first output has shape {first.shape}")
        outputs.append(first[:size].reshape(size, -1).astype(np.float32))
        for parts, result in zip(activations, results[1:], strict=True):
            pooled = pool(np.asarray(result), len(chunk))
            parts.append(None if pooled is None else pooled[:size])
    np.save(folder / "outputs.npy", np.concatenate(outputs), allow_pickle=False)
    for number, parts in enumerate(activations):
        known = [part for part in parts if part is not None]
        if known and len(known) == len(parts):
            np.save(folder / f"activation-{number}.npy", np.concatenate(known), allow_pickle=False)


class Answers:
    """Answers requests; keeps the session for as long as the model is the same.

    Args:
        folder: Where the files of the requests are.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._model = 0
        self._row: tuple[int, ...] = ()
        self._step = 0
        self._session: Any = None

    def __call__(self, request: dict[str, Any]) -> dict[str, object]:
        """Runs the model of this request."""
        inputs = np.load(self._folder / "inputs.npy", allow_pickle=False)
        known = request["model"] == self._model and self._session is not None
        if not known or inputs.shape[1:] != self._row:
            self._session, self._row = None, inputs.shape[1:]
            try:
                sizes = self._folder / "sizes.onnx"
                self._step = rows_at_once(sizes, self._row, request["memory"])
            except TooLargeError as error:
                return {"needed": error.needed}
            self._session = _session(self._folder / "model.onnx", request["providers"])
            self._model = request["model"]
        _run(self._session, inputs, request["taps"], self._folder, self._step)
        return {"providers": self._session.get_providers()}


def _session(model: Path, wanted: list[str]) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    # Layout optimisations rename and reshape hidden tensors; the tap must stay what it was.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    providers: list[Any] = ["CPUExecutionProvider"]
    if _has_cuda(wanted):
        # The libraries may come from packages beside onnxruntime instead of the system.
        onnxruntime.preload_dlls()
        # Reduced precision would show in a comparison by value.
        providers.insert(0, ("CUDAExecutionProvider", {"use_tf32": 0}))
    session = onnxruntime.InferenceSession(str(model), options, providers=providers)
    kinds = {entry.type for entry in session.get_inputs()}
    if len(session.get_inputs()) != 1 or not kinds <= set(_TYPES):
        raise ValueError(f"needs exactly one float input, has {sorted(kinds)}")
    if not session.get_inputs()[0].shape:
        raise ValueError("the input has no batch dimension")
    return session


if __name__ == "__main__":
    channel.serve(Answers(Path()))
