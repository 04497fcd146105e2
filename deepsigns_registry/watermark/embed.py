"""One fine-tuning run that embeds any set of schemes jointly."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from deepsigns_registry.errors import UnmarkableError
from deepsigns_registry.watermark.data import TrainingData
from deepsigns_registry.watermark.prepare import Progress
from deepsigns_registry.watermark.record import WatermarkRecord
from deepsigns_registry.watermark.scheme import Objective, Scheme
from deepsigns_registry.watermark.schemes import named_schemes
from deepsigns_registry.watermark.settings import MarkSettings
from deepsigns_registry.watermark.tapped import Tapped, TappedModel

__all__ = ["EmbedResult", "embed"]

_PROGRESS_EVERY = 10
_LONGEST_GRADIENT = 5.0
# Data up to this size is kept on the accelerator for the whole run.
_RESIDENT_BYTES = 1 << 30


@dataclass(frozen=True)
class EmbedResult:
    """What a fine-tuning run did.

    Attributes:
        losses: Mean total loss of each epoch.
        steps: Optimizer steps in all.
    """

    losses: tuple[float, ...]
    steps: int


def embed(
    model: TappedModel,
    data: TrainingData,
    record: WatermarkRecord | None,
    settings: MarkSettings,
    *,
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
    schemes: Iterable[Scheme] | None = None,
) -> EmbedResult:
    """Fine-tunes a model in place so that it carries a record's mark.

    The total loss of a step is the cross-entropy of its training batch (the paper's loss0) and
    what each scheme's objective adds for a small batch of its own. Dropout and batch norm stay
    as in evaluation: the run is the same for every adapter, and secret samples never enter
    running statistics.

    Args:
        model: The parent; trained in place.
        data: The owner's data.
        record: The secret, or None for the same fine-tuning without a mark, which is the
            control that fidelity is measured against.
        settings: The fine-tuning.
        device: Where to train.
        progress: Called with a fraction in [0, 1] and the state of the run.
        schemes: Where to find the record's schemes; the built-in ones by default.

    Raises:
        UnmarkableError: The model has nothing to train, or training diverged.
    """
    place = torch.device(device)
    model.to(place).eval()
    weights = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not weights:
        raise UnmarkableError(
            "the model has no trainable parameter", advice="promote it with its weights unfrozen"
        )
    per_epoch = max(
        math.ceil(len(data.train) / settings.batch_size),
        math.ceil(settings.minimum_steps / settings.epochs),
    )
    steps = per_epoch * settings.epochs
    secrets = record.secrets if record else {}
    objectives = [
        scheme.objective(secrets[scheme.name], settings, steps, place)
        for scheme in named_schemes(secrets, schemes)
    ]
    groups = [{"params": weights, "lr": settings.learning_rate}]
    own = [parameter for objective in objectives for parameter in objective.parameters()]
    if own:
        # The centres start where the parent is and must not lag behind the activations.
        groups.append({"params": own, "lr": 10 * settings.learning_rate})
    optimizer = torch.optim.Adam(groups)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    batches = _Batches(data, settings, place)
    generator = torch.Generator().manual_seed(settings.seed + 1)
    losses: list[float] = []
    for epoch in range(settings.epochs):
        total = torch.zeros((), device=place)
        for step in range(per_epoch):
            optimizer.zero_grad(set_to_none=True)
            loss = _step_loss(model, *batches.next(), objectives, generator)
            torch.autograd.backward(loss)
            torch.nn.utils.clip_grad_norm_(weights, _LONGEST_GRADIENT)
            optimizer.step()
            schedule.step()
            total += loss.detach()
            if progress and step % _PROGRESS_EVERY == 0:
                done = (epoch * per_epoch + step) / steps
                progress(done, f"epoch {epoch + 1} of {settings.epochs}")
        losses.append(float(total) / per_epoch)
        if not math.isfinite(losses[-1]):
            raise UnmarkableError(
                f"training diverged in epoch {epoch + 1}",
                advice=f"lower learning_rate ({settings.learning_rate})",
            )
    if progress:
        progress(1.0, f"epoch {settings.epochs} of {settings.epochs}")
    return EmbedResult(tuple(losses), steps)


def _step_loss(
    model: TappedModel,
    inputs: Tensor,
    labels: Tensor,
    objectives: list[Objective],
    generator: torch.Generator,
) -> Tensor:
    extras = [objective.samples(generator) for objective in objectives]
    # One forward pass for the batch and for every scheme's samples.
    joined = torch.cat([inputs, *(extra[0] for extra in extras if extra)])
    tapped = model(joined)
    start = len(inputs)
    needed = any(objective.needs_weight for objective in objectives)
    weight = model.tap_weight() if needed else None
    batch = Tapped(tapped.outputs[:start], tapped.activation[:start], weight)
    loss = functional.cross_entropy(batch.outputs, labels)
    for objective, extra in zip(objectives, extras, strict=True):
        if extra is None:
            loss = loss + objective.loss(batch, labels, None, None)
            continue
        end = start + len(extra[0])
        samples = Tapped(tapped.outputs[start:end], tapped.activation[start:end])
        loss = loss + objective.loss(batch, labels, samples, extra[1])
        start = end
    return loss


class _Batches:
    """Training batches without end; each sample once before any comes again."""

    def __init__(self, data: TrainingData, settings: MarkSettings, device: torch.device) -> None:
        self._inputs = torch.from_numpy(data.train.inputs)
        self._labels = torch.from_numpy(data.train.labels)
        if data.train.inputs.nbytes <= _RESIDENT_BYTES:
            self._inputs, self._labels = self._inputs.to(device), self._labels.to(device)
        self._size = min(settings.batch_size, len(data.train))
        self._device = device
        self._generator = torch.Generator().manual_seed(settings.seed)
        self._order = torch.empty(0, dtype=torch.int64)

    def next(self) -> tuple[Tensor, Tensor]:
        if len(self._order) < self._size:
            fresh = torch.randperm(len(self._labels), generator=self._generator)
            self._order = torch.cat([self._order, fresh])
        rows, self._order = self._order[: self._size], self._order[self._size :]
        rows = rows.to(self._inputs.device)
        return self._inputs[rows].to(self._device), self._labels[rows].to(self._device)
