"""Static INT8 quantisation of an ONNX graph: activations too, at steps that data calibrates."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto

__all__ = ["statically_quantized"]

_SAMPLES = 512
_BATCH = 64
_DEQUANTIZED = "_DequantizeLinear_Output"


def statically_quantized(
    model: ModelProto, inputs: NDArray[np.float32], *, seed: int
) -> ModelProto:
    """Quantises weights and activations with onnxruntime's quantiser, in its QDQ format.

    Weights keep seven of the eight bits, which onnxruntime advises for processors without
    VNNI: there, products of eight bits saturate, and the file would answer differently.

    The quantiser leaves the name of a ReLU's result to what the ReLU reads. Here every name
    stays with the value that it stood for: the dequantised one.

    Args:
        model: A graph with one input.
        inputs: float32 [samples, ...]; at most 512 are used.
        seed: Chooses them.

    Returns:
        The quantised graph.
    """
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    rows = np.sort(np.random.default_rng(seed).permutation(len(inputs))[:_SAMPLES])
    with tempfile.TemporaryDirectory(prefix="deepsigns-") as name:
        folder = Path(name)
        given, prepared, written = (folder / f"{step}.onnx" for step in ("a", "b", "c"))
        onnx.save(model, given)
        # Symbolic shapes are what it cannot infer for transformers.
        quant_pre_process(given, prepared, skip_symbolic_shape=True)
        quantize_static(
            prepared,
            written,
            _Samples(_input_name(model), np.asarray(inputs[rows], np.float32)),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            reduce_range=True,
        )
        quantized = onnx.load(written, load_external_data=False)
    used = {node.domain for node in quantized.graph.node} | {""}
    kept = [opset for opset in quantized.opset_import if opset.domain in used]
    del quantized.opset_import[:]
    quantized.opset_import.extend(kept)
    _rename(quantized, _moved_names(model, quantized))
    return quantized


class _Samples:
    """Batches for calibration, in the form that onnxruntime's calibrator asks for."""

    def __init__(self, name: str, inputs: NDArray[np.float32]) -> None:
        self._batches = self._of(name, inputs)

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        """The next batch by the input's name, or None after the last."""
        return next(self._batches, None)

    @staticmethod
    def _of(name: str, inputs: NDArray[np.float32]) -> Iterator[dict[str, NDArray[np.float32]]]:
        for start in range(0, len(inputs), _BATCH):
            yield {name: inputs[start : start + _BATCH]}


def _input_name(model: ModelProto) -> str:
    constants = {tensor.name for tensor in model.graph.initializer}
    return next(entry.name for entry in model.graph.input if entry.name not in constants)


def _moved_names(model: ModelProto, quantized: ModelProto) -> dict[str, str]:
    """Names that no longer stand for what they did, and those that should bear them."""
    ends = {entry.name for entry in model.graph.output}
    written = {name for node in quantized.graph.node for name in node.output}
    moved: dict[str, str] = {}
    for node in model.graph.node:
        for name in node.output:
            if name not in ends and f"{name}{_DEQUANTIZED}" in written:
                moved |= {f"{name}{_DEQUANTIZED}": name, name: f"{name}_exact"}
    return moved


def _rename(model: ModelProto, names: dict[str, str]) -> None:
    del model.graph.value_info[:]
    for node in model.graph.node:
        for listed in (node.input, node.output):
            for place, name in enumerate(listed):
                listed[place] = names.get(name, name)
