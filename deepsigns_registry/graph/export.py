"""Writing a marked model as one clean ONNX file."""

import logging
import os
import re
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from onnx import ModelProto, checker
from onnx.checker import ValidationError
from torch import Tensor, nn

from deepsigns_registry.errors import ConfigurationError, CouldNotCheckError, UnmarkableError
from deepsigns_registry.graph.locate import equal, locate_tap, without_second_output
from deepsigns_registry.graph.neutral import neutralised
from deepsigns_registry.graph.runtime_words import in_short
from deepsigns_registry.graph.session import OnnxSuspect
from deepsigns_registry.watermark.tapped import TappedModel

__all__ = ["export_onnx"]

_MOST_PROBES = 16
_BY_HAND = "export the model by hand to see which operator is at fault"
_TRANSLATING = re.compile(r"translating node .*target=torch\.ops\.([\w.]+)\]")
_CHATTY = ("torch.export", "torch.fx.experimental.symbolic_shapes", "torch.onnx")


class _Pair(nn.Module):
    """Outputs and activation as a plain tuple, which is all the exporter understands."""

    def __init__(self, model: TappedModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        tapped = self.model.as_registered(inputs)
        return tapped.outputs, tapped.activation


def export_onnx(model: TappedModel, example: NDArray[np.float32], path: Path) -> str:
    """Exports a model to one ONNX file with a dynamic batch, and checks it by value.

    The file's input is called `input`, its output `output`; hidden tensors and constants are
    numbered, and nothing in it tells the source or which tensor is the tap.

    Args:
        model: The model; exported as it is in evaluation.
        example: float32 [samples, ...], at least two real samples; at most 16 are used.
        path: Where to write; replaced in one step, or not touched.

    Returns:
        Name of the tap's tensor in the file, before pooling.

    Raises:
        ConfigurationError: The folder to write to does not exist.
        UnmarkableError: The model cannot be exported, or the file would not give the same
            outputs and the same activation.
    """
    if not path.parent.is_dir():
        raise ConfigurationError(
            f"{path.parent}: no such folder", advice="create it, or name another place"
        )
    probes = np.ascontiguousarray(example[:_MOST_PROBES], np.float32)
    if len(probes) < 2:
        raise UnmarkableError(
            f"{path}: {len(probes)} example rows, at least 2 are needed to export a dynamic batch",
            advice="give real samples",
        )
    expected = _expected(model, probes)
    exported = without_second_output(_exported(model, probes, path))
    try:
        tap = locate_tap(exported, probes, expected[1])
    except Exception as error:  # onnxruntime raises classes of its own, of many kinds
        raise _does_not_run(path, error) from error
    if tap is None:
        raise UnmarkableError(
            f"{path}: the tap's tensor does not survive the export",
            advice="choose a layer after its activation function",
        )
    clean, name = neutralised(exported, tap)
    _publish(clean, name, path, probes=probes, expected=expected)
    return name


def _expected(
    model: TappedModel, probes: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    with _evaluating(model), torch.no_grad():
        tapped = model.as_registered(torch.from_numpy(probes).to(_device(model)))
    return (
        np.asarray(tapped.outputs.float().cpu().numpy(), np.float32).reshape(len(probes), -1),
        np.asarray(tapped.activation.float().cpu().numpy(), np.float32),
    )


def _exported(model: TappedModel, probes: NDArray[np.float32], path: Path) -> ModelProto:
    # Exported on the device where the model is: moving it could break captured constants.
    inputs = torch.from_numpy(probes).to(_device(model))
    fastpath = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # fused kernels have no ONNX counterpart
    try:
        with _evaluating(model), _quiet():
            program = torch.onnx.export(
                _Pair(model).eval(),
                (inputs,),
                dynamo=True,
                dynamic_shapes={"inputs": {0: torch.export.Dim.DYNAMIC}},
                input_names=["input"],
                output_names=["output", "activation"],
                verbose=False,
            )
    except Exception as error:  # the exporter raises errors of many kinds
        raise _not_exported(path, str(error.__cause__ or error)) from error
    finally:
        torch.backends.mha.set_fastpath_enabled(fastpath)
    if program is None:
        raise _not_exported(path, "the exporter gave no model")
    exported: ModelProto = program.model_proto
    if exported.functions:
        raise _not_exported(path, "the export holds local functions")
    return exported


def _publish(
    model: ModelProto,
    tap: str,
    path: Path,
    *,
    probes: NDArray[np.float32],
    expected: tuple[NDArray[np.float32], NDArray[np.float32]],
) -> None:
    # Written beside its place, so that moving it is one step on one file system.
    with tempfile.TemporaryDirectory(prefix=".deepsigns-", dir=path.parent) as folder:
        draft = Path(folder) / "model.onnx"
        try:
            draft.write_bytes(model.SerializeToString(deterministic=True))
            checker.check_model(draft, full_check=True)
            with OnnxSuspect(draft, providers=("CPUExecutionProvider",)) as suspect:
                found = suspect.run(probes, tap=tap)
        except (ValidationError, CouldNotCheckError, RuntimeError, ValueError) as error:
            raise _does_not_run(path, error) from error
        for what, ours, got in zip(("outputs", "activations"), expected, found, strict=True):
            if got is None or not equal(ours, got):
                message = f"the exported ONNX file's {what} differ from the model's"
                raise _refused(path, message, _BY_HAND)
        os.replace(draft, path)  # noqa: PTH105 - the name of the atomic operation


def _not_exported(path: Path, reason: str) -> UnmarkableError:
    operator = _TRANSLATING.search(reason)
    first = (reason.strip().splitlines() or ["no reason given"])[0][:200]
    why = f"operator {operator[1]} cannot be translated" if operator else first
    return _refused(
        path,
        f"the model cannot be exported to ONNX: {why}",
        "make torch.onnx.export(model, dynamo=True) with a dynamic batch work",
    )


def _does_not_run(path: Path, error: Exception) -> UnmarkableError:
    first = in_short(str(error)) or type(error).__name__
    return _refused(path, f"the exported ONNX file does not run: {first}", _BY_HAND)


def _refused(path: Path, message: str, advice: str) -> UnmarkableError:
    # The exporter's and the runtime's own words may quote layers.
    said, _, quoted = message.partition(": ")
    public = message if quoted.startswith("operator ") else said
    return UnmarkableError(f"{path}: {message}", advice=advice, public=f"{public}; {advice}")


def _device(model: nn.Module) -> torch.device:
    first = next(model.parameters(), None)
    return torch.device("cpu") if first is None else first.device


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    training = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in training.items():
            module.training = mode


@contextmanager
def _quiet() -> Iterator[None]:
    # The exporter warns about its own internals and about packages that are not needed here, and
    # prints the whole graph, with source lines, when it fails.
    levels = {name: logging.getLogger(name).level for name in _CHATTY}
    try:
        for name in levels:
            logging.getLogger(name).setLevel(logging.CRITICAL)
        with warnings.catch_warnings(), redirect_stderr(StringIO()), redirect_stdout(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
