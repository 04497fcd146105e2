"""Quantisation: fewer bits a weight."""

import copy
import tempfile
from pathlib import Path

import onnx
import torch
from onnx import ModelProto
from torch import Tensor
from torch.nn import functional

from deepsigns_registry.attacks.attack import Progress
from deepsigns_registry.attacks.quiet import quiet
from deepsigns_registry.attacks.static_quantization import statically_quantized
from deepsigns_registry.errors import ConfigurationError, CouldNotCheckError, DataError
from deepsigns_registry.graph.interpreter import OnnxTappedModel
from deepsigns_registry.graph.runtime_words import in_short
from deepsigns_registry.graph.session import has_tensor
from deepsigns_registry.watermark.data import LabelledData
from deepsigns_registry.watermark.tapped import TappedModel

__all__ = ["Quantize"]

_BITS = {"int4": 4.0, "static": 7.0, "int8": 8.0, "fp16": 16.0}
# Values that share a scale at four bits, as formats of language models have it.
_BLOCK = 32


class Quantize:
    """Quantisation to `int4`, `int8`, `static` or `fp16`; the strength is the bits left.

    An ONNX file gets the operators of onnxruntime's own quantisers: `int8` quantises
    activations as they come (dynamic), `static` at steps calibrated on the thief's data, with
    seven bits a weight. Of any other model the weights are rounded to the values they would
    have, symmetric and per tensor for int8; `static` needs the file. `int4` rounds weights, of a
    file as well, to fifteen values of each block of 32: the file keeps them in float.

    Examples:
        >>> Quantize().parse("int8")
        8.0
    """

    name = "quantize"

    def parse(self, strength: str) -> float:
        """Reads the name of a format.

        Raises:
            ConfigurationError: It is none of these.
        """
        if strength not in _BITS:
            raise ConfigurationError(
                f"attack {self.name}: strength '{strength}' is unknown",
                advice="write quantize:int4, quantize:int8, quantize:static or quantize:fp16",
            )
        return _BITS[strength]

    def apply(
        self,
        model: TappedModel,
        strength: float,
        data: LabelledData,
        *,
        seed: int,
        progress: Progress | None = None,
    ) -> TappedModel:
        """Quantises a copy; see `Attack.apply`.

        Raises:
            DataError: There is no data to calibrate a static quantisation with.
            CouldNotCheckError: onnxruntime cannot quantise the file, or a model that is no
                ONNX file is to be quantised statically.
        """
        if strength == _BITS["static"]:
            if not isinstance(model, OnnxTappedModel):
                raise CouldNotCheckError(
                    f"attack {self.name}: static quantisation needs an ONNX file",
                    advice="export the model first: deepsigns_registry.graph.export.export_onnx",
                )
            if len(data.inputs) == 0:
                raise DataError(
                    f"attack {self.name}: no samples to calibrate with",
                    advice="give the attack training data",
                )
        if isinstance(model, OnnxTappedModel) and strength != _BITS["int4"]:
            attacked: TappedModel = _quantized_file(model, strength, data, seed)
        else:
            attacked = copy.deepcopy(model).eval()
            with torch.no_grad():
                for weight in attacked.parameters():
                    if weight.is_floating_point():
                        weight.copy_(_rounded(weight, strength))
        if progress is not None:
            progress(1.0, f"{strength:g} bits a weight")
        return attacked


def _rounded(weight: Tensor, bits: float) -> Tensor:
    if bits == _BITS["fp16"]:
        return weight.to(torch.float16).to(weight.dtype)
    if weight.ndim < 2:
        return weight  # biases stay in float, as onnxruntime leaves them
    if bits == _BITS["int4"]:
        return _rounded_blocks(weight)
    scale = weight.abs().max().clamp(min=1e-12) / 127
    return (weight / scale).round() * scale


def _rounded_blocks(weight: Tensor) -> Tensor:
    values = weight.flatten()
    blocks = functional.pad(values, (0, -len(values) % _BLOCK)).view(-1, _BLOCK)
    scale = blocks.abs().amax(dim=1, keepdim=True).clamp(min=1e-12) / 7
    return ((blocks / scale).round() * scale).flatten()[: len(values)].view_as(weight)


def _quantized_file(
    model: OnnxTappedModel, bits: float, data: LabelledData, seed: int
) -> OnnxTappedModel:
    graph = model.write_back()
    # Shapes that the exporter noted contradict the ones the quantiser infers.
    del graph.graph.value_info[:]
    try:
        with quiet():
            _import_quantisers()
            if bits == _BITS["static"]:
                quantized = statically_quantized(graph, data.inputs, seed=seed)
            else:
                quantized = _half(graph) if bits == _BITS["fp16"] else _eight_bits(graph)
    except Exception as error:  # the quantisers raise errors of every kind
        reason = in_short(str(error))
        raise CouldNotCheckError(
            f"attack quantize: {model.where}: onnxruntime cannot quantise it: {reason}",
            advice="leave this attack out for this deployment",
        ) from error
    tap = model.tap if has_tensor(quantized, model.tap) else ""
    return OnnxTappedModel.from_proto(quantized, tap, where=model.where).eval()


def _import_quantisers() -> None:
    # All at once: the first import extends the search path, which `quiet` puts back, and
    # whichever came later would not find its parts.
    import onnxruntime.quantization
    import onnxruntime.transformers.float16  # noqa: F401


def _half(graph: ModelProto) -> ModelProto:
    from onnxruntime.transformers.float16 import convert_float_to_float16

    half: ModelProto = convert_float_to_float16(graph, keep_io_types=True)
    return half


def _eight_bits(graph: ModelProto) -> ModelProto:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with tempfile.TemporaryDirectory(prefix="deepsigns-") as folder:
        path = Path(folder) / "model.onnx"
        quantize_dynamic(graph, path, weight_type=QuantType.QUInt8)
        return onnx.load(path, load_external_data=False)
