"""What a marking takes on this device: steps that a copy of the model really makes, measured.

The time is that of the fine-tuning by itself; loading, deriving, exporting and reading the mark
come on top, and so do the losses of the schemes. It is an estimate: a machine that does other
work besides takes several times as long.
"""

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deepsigns_registry.errors import UnmarkableError
from deepsigns_registry.retraining.options import device_name

if TYPE_CHECKING:
    import torch

    from deepsigns_registry.watermark.data import TrainingData
    from deepsigns_registry.watermark.settings import MarkSettings
    from deepsigns_registry.watermark.tapped import TappedModel

__all__ = ["Effort", "measured_effort"]

# The first steps allocate, and choose kernels.
_WARM_UP, _LEAST, _MOST = 2, 5, 50
# Small models take steps so short that a busy machine disturbs nearly all of them.
_SECONDS = 1.0


@dataclass(frozen=True)
class Effort:
    """What a marking takes.

    Attributes:
        device: What was measured on.
        steps: Steps of the fine-tuning.
        seconds: Of those steps, by what one took.
        memory_bytes: Of the model, its gradients, the optimizer and what a step keeps for its
            way back.
    """

    device: str
    steps: int
    seconds: float
    memory_bytes: int


def measured_effort(
    model: "TappedModel", data: "TrainingData", options: "MarkSettings", device: "torch.device"
) -> Effort:
    """Measures a few steps of a fine-tuning on a copy, with as many samples as a marking's.

    Args:
        model: On any device; it is not changed.
        data: The owner's data.
        options: Of the marking.
        device: Where it would be marked.

    Raises:
        UnmarkableError: A step does not work: the model has nothing to train, or needs more
            memory than the device has.
    """
    import torch

    from deepsigns_registry.watermark.pace import steps_an_epoch
    from deepsigns_registry.watermark.precision import autocast, lay_out, layout_for

    steps = steps_an_epoch(options, len(data.train)) * options.epochs
    rows = min(options.batch_size, len(data.train)) + _secret_rows(steps, options)
    inputs = torch.from_numpy(data.train.inputs[:rows])
    inputs = inputs.repeat(math.ceil(rows / len(inputs)), *[1] * (inputs.ndim - 1))[:rows]
    trained = copy.deepcopy(model).to(device).eval()
    weights = [weight for weight in trained.parameters() if weight.requires_grad]
    if not weights:
        raise UnmarkableError(
            "the model has no trainable parameter",
            advice="promote it with its weights unfrozen",
        )
    try:
        inputs = inputs.to(device)
        layout = layout_for(trained, inputs[:2]) if options.channels_last else None
        if layout is not None:
            lay_out(trained, layout)
            inputs = inputs.contiguous(memory_format=layout)
        # A rate of zero: the gradients and the optimizer work as ever, and nothing diverges.
        optimizer = torch.optim.Adam(weights, lr=0.0)
        kept = _Kept()

        def step() -> None:
            optimizer.zero_grad(set_to_none=True)
            with autocast(options.precision, device):
                tapped = trained(inputs)
            loss = tapped.outputs.float().square().mean()
            torch.autograd.backward(loss + tapped.activation.float().square().mean())
            optimizer.step()
            _finish(device)

        with kept.counting():
            step()
        for _ in range(_WARM_UP - 1):
            step()
        taken = [_timed(step) for _ in range(_LEAST)]
        while sum(taken) < _SECONDS and len(taken) < _MOST:
            taken.append(_timed(step))
    except RuntimeError as error:
        line = (str(error).splitlines() or [type(error).__name__])[0][:300]
        raise UnmarkableError(
            f"a step of training fails on {device.type}: {line}",
            advice="lower batch_size if memory is short; else register a model that can be trained",
        ) from None
    held = sum(weight.numel() * weight.element_size() for weight in weights)
    fixed = sum(buffer.numel() * buffer.element_size() for buffer in trained.buffers())
    # Weights, gradients, and both moments of Adam; the parent itself stays beside them.
    memory = 5 * held + 2 * fixed + kept.size + inputs.numel() * inputs.element_size()
    return Effort(
        device=device_name(device),
        steps=steps,
        # The least disturbed one: other work on the machine only ever adds.
        seconds=round(steps * min(taken), 1),
        memory_bytes=memory,
    )


def _secret_rows(steps: int, options: "MarkSettings") -> int:
    """How many triggers and queries go through the model in each step besides the batch."""
    secret = options.most_carriers * options.triggers_per_class, options.queries
    wanted = (math.ceil(count * options.repeats / steps) for count in secret)
    return sum(min(count, options.batch_size) for count in wanted)


class _Kept:
    """Counts the bytes that a forward pass keeps for the way back, each storage once."""

    def __init__(self) -> None:
        self._storages: dict[int, int] = {}

    @property
    def size(self) -> int:
        return sum(self._storages.values())

    def counting(self) -> "torch.autograd.graph.saved_tensors_hooks":
        import torch

        return torch.autograd.graph.saved_tensors_hooks(self._note, lambda kept: kept)

    def _note(self, tensor: "torch.Tensor") -> "torch.Tensor":
        storage = tensor.untyped_storage()
        self._storages[storage.data_ptr()] = storage.nbytes()
        return tensor


def _timed(step: Callable[[], None]) -> float:
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def _finish(device: "torch.device") -> None:
    """Waits until an accelerator has done what it was given."""
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize(device)
