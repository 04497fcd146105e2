"""One fine-tuning run that embeds any set of schemes jointly."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from deepsigns_registry.errors import CheckpointError, UnmarkableError
from deepsigns_registry.watermark.batches import Batches
from deepsigns_registry.watermark.carriers import training_groups
from deepsigns_registry.watermark.checkpoint import fingerprint, pack, unpack
from deepsigns_registry.watermark.data import TrainingData
from deepsigns_registry.watermark.hardening import Hardening
from deepsigns_registry.watermark.pace import Clock, optimizer_for, schedule_for, steps_an_epoch
from deepsigns_registry.watermark.precision import autocast, lay_out, layout_for
from deepsigns_registry.watermark.prepare import Progress
from deepsigns_registry.watermark.record import WatermarkRecord
from deepsigns_registry.watermark.scheme import Fitting, Scheme
from deepsigns_registry.watermark.schemes import named_schemes
from deepsigns_registry.watermark.settings import MarkSettings
from deepsigns_registry.watermark.tapped import Tapped, TappedModel
from deepsigns_registry.watermark.targets import Targets, task_loss, task_targets

__all__ = ["Checkpoint", "Course", "EmbedResult", "Watcher", "embed", "fitting_targets"]

Checkpoint = Callable[[int, bytes], None]
"""Told how many steps are done, and the state of the run after them."""

_PROGRESS_EVERY = 10
_LONGEST_GRADIENT = 5.0
# So often each sample is seen before the model is held to its parent's answers instead of labels.
_MANY_PASSES = 4


class Watcher(Protocol):
    """Looks at a model while it is trained; it must leave it as it is."""

    def halfway(self, model: TappedModel) -> Mapping[str, float]:
        """Called once, after half of the steps.

        Returns:
            By what the loss of each scheme is multiplied from now on; 1 where it is not named.
        """

    def passing(self, model: TappedModel, share: float) -> None:
        """Called every few seconds, after a share of the steps in (0, 1)."""


@dataclass(frozen=True)
class Course:
    """How one run differs from what the settings say.

    Attributes:
        steps: Optimizer steps in all; None for as many as the settings ask for.
        learning_rate: Times the peak rate of the settings.
        factors: By what the loss of each scheme is multiplied; 1 where it is not named.
    """

    steps: int | None = None
    learning_rate: float = 1.0
    factors: Mapping[str, float] = field(default_factory=dict)


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
    checkpoint: Checkpoint | None = None,
    resume: bytes | None = None,
    course: Course | None = None,
    watcher: Watcher | None = None,
    targets: Targets | None = None,
) -> EmbedResult:
    """Fine-tunes a model in place so that it carries a record's mark.

    The total loss of a step is the task's loss of its training batch (the paper's loss0) and
    what each scheme's objective adds for a small batch of its own. Dropout and batch norm stay
    as in evaluation: the run is the same for every adapter, and secret samples never enter
    running statistics.

    A run that goes on from a checkpoint gives what the whole run would have given: on a
    processor bit for bit, on an accelerator up to what its kernels leave open.

    Args:
        model: The parent; trained in place.
        data: The owner's data.
        record: The secret, or None for the same fine-tuning without a mark, which is the
            control that fidelity is measured against.
        settings: The fine-tuning.
        device: Where to train.
        progress: Called with a fraction in [0, 1] and the state of the run.
        schemes: Where to find the record's schemes; the built-in ones by default.
        checkpoint: Called every two minutes, after each of several epochs, and at the end. The
            state holds the model and nothing of the secret but what training made of it; keep
            it as secret as the record.
        resume: A state that `checkpoint` was given, to go on from.
        course: How this run differs from the settings.
        watcher: Looks at the model as it is trained, and weighs the schemes anew halfway.
        targets: What the outputs are trained towards; by default `fitting_targets` of the model
            as it comes.

    Raises:
        UnmarkableError: The model has nothing to train, or training diverged.
        CheckpointError: `resume` is no checkpoint, or one of another model, record, data or
            settings. The model may hold some of it: begin again with a fresh copy.
    """
    resumable = checkpoint is not None or resume is not None
    course = course or Course()
    belongs_to = fingerprint(model, data, record, settings, course) if resumable else ""
    run = _Run(
        model,
        data,
        record,
        settings,
        course,
        device=torch.device(device),
        schemes=schemes,
        targets=targets,
    )
    try:
        if resume is not None:
            run.load_state_dict(unpack(resume, belongs_to))
        if not run.done:
            run.settle()
        first, clock = run.done, Clock()
        while run.done < run.steps:
            epoch, step = divmod(run.done, run.per_epoch)
            if progress and (step % _PROGRESS_EVERY == 0 or run.done == first):
                progress(run.done / run.steps, f"epoch {epoch + 1} of {run.epochs}")
            run.step()
            if watcher and run.done == run.steps // 2:
                run.factors = dict(watcher.halfway(model))
            if watcher and clock.look_due() and run.done < run.steps:
                watcher.passing(model, run.done / run.steps)
                clock.looked()
            if checkpoint and (run.done % run.per_epoch == 0 or clock.checkpoint_due()):
                checkpoint(run.done, pack(run.state_dict(), belongs_to))
                clock.checkpoint_written()
        run.settle()
    finally:
        lay_out(model, torch.contiguous_format)
    if progress:
        progress(1.0, f"epoch {run.epochs} of {run.epochs}")
    return EmbedResult(tuple(run.losses), run.steps)


def fitting_targets(
    model: TappedModel, data: TrainingData, settings: MarkSettings, device: torch.device
) -> Targets:
    """What a fine-tuning trains the outputs towards; to be asked before the model changes.

    Labels, or, of data that is passed over many times, the answers that the parent gives: labels
    would be learned by heart, and the model would lose or change what it knew.

    Args:
        model: The parent.
        data: The owner's data.
        settings: The fine-tuning.
        device: Where the model runs.
    """
    samples = len(data.train)
    seen = steps_an_epoch(settings, samples) * settings.epochs * settings.batch_size
    return task_targets(model, data.train, device, own=seen >= _MANY_PASSES * samples)


class _Run:
    """A fine-tuning between two steps."""

    def __init__(
        self,
        model: TappedModel,
        data: TrainingData,
        record: WatermarkRecord | None,
        settings: MarkSettings,
        course: Course,
        *,
        device: torch.device,
        schemes: Iterable[Scheme] | None,
        targets: Targets | None,
    ) -> None:
        self.model = model.to(device).eval()
        self.weights = [weight for weight in model.parameters() if weight.requires_grad]
        if not self.weights:
            raise UnmarkableError(
                "the model has no trainable parameter",
                advice="promote it with its weights unfrozen",
            )
        self.settings = settings
        self.task = data.train.task
        self.per_epoch = steps_an_epoch(settings, len(data.train))
        self.epochs = settings.epochs
        self.steps = self.per_epoch * settings.epochs
        if course.steps is not None:
            self.epochs = max(1, round(course.steps / self.per_epoch))
            self.per_epoch = max(1, math.ceil(course.steps / self.epochs))
            self.steps = self.per_epoch * self.epochs
        self.factors = dict(course.factors)
        if targets is None:
            targets = fitting_targets(model, data, settings, device)
        self.spread = targets.spread
        groups = training_groups(record.manifest, data.train) if record else data.train.labels
        self.batches = Batches(
            data.train.inputs,
            targets.values,
            groups,
            size=settings.batch_size,
            seed=settings.seed,
            device=device,
        )
        secrets = record.secrets if record else {}
        self.names = list(secrets)
        fitting = Fitting(settings, self.steps, device, data.train)
        self.objectives = [
            scheme.objective(secrets[scheme.name], fitting)
            for scheme in named_schemes(secrets, schemes)
        ]
        for objective in self.objectives:
            objective.watch(model)
        self.generator = torch.Generator().manual_seed(settings.seed + 1)
        self.autocast = autocast(settings.precision, device)
        self.layout = torch.contiguous_format
        if settings.channels_last:
            sample = torch.from_numpy(data.train.inputs[:2]).to(device)
            self.layout = layout_for(model, sample)
            lay_out(model, self.layout)
        rate = course.learning_rate * settings.learning_rate
        self.optimizer = optimizer_for(self.weights, self.objectives, rate)
        self.schedule = schedule_for(self.optimizer, self.steps, settings.warm_up)
        self.hardening = Hardening(self.weights, settings)
        self.done = 0
        self.total = torch.zeros((), device=device)
        self.losses: list[float] = []

    def settle(self) -> None:
        """Lets every scheme put into the weights what no training puts there."""
        for name, objective in zip(self.names, self.objectives, strict=True):
            objective.settle(self.model, self.factors.get(name, 1.0))

    def step(self) -> None:
        """One batch, and one step of the optimizer.

        Raises:
            UnmarkableError: The loss of the epoch that ends here is no number.
        """
        self.optimizer.zero_grad(set_to_none=True)
        with self.hardening.perturbed(self.generator):
            loss = self._loss(*self.batches.next())
            torch.autograd.backward(loss)
        self._clip()
        self.optimizer.step()
        self.schedule.step()
        self.total += loss.detach()
        self.done += 1
        if self.done % self.per_epoch == 0:
            self._finish_epoch()

    def _loss(self, inputs: Tensor, targets: Tensor, groups: Tensor) -> Tensor:
        extras = [objective.samples(self.generator) for objective in self.objectives]
        # One forward pass for the batch and for every scheme's samples.
        parts = [inputs, *(extra[0] for extra in extras if extra)]
        tapped = iter(self._forward(parts))
        needed = any(objective.needs_weight for objective in self.objectives)
        weight = self.model.tap_weight() if needed else None
        batch = next(tapped)._replace(weight=weight)
        loss = task_loss(batch.outputs, targets, self.task, self.spread)
        for name, objective, extra in zip(self.names, self.objectives, extras, strict=True):
            samples, labels = (next(tapped), extra[1]) if extra else (None, None)
            factor = self.factors.get(name, 1.0)
            loss = loss + factor * objective.loss(batch, groups, samples, labels)
        return loss

    def _forward(self, parts: list[Tensor]) -> list[Tapped]:
        """Outputs and activation of each part, in float32 whatever the pass is computed in."""
        joined = torch.cat(parts) if len(parts) > 1 else parts[0]
        with self.autocast:
            tapped = self.model(joined.contiguous(memory_format=self.layout))
        sizes = [len(part) for part in parts]
        outputs = tapped.outputs.float().split(sizes)
        activations = tapped.activation.float().split(sizes)
        return [Tapped(*pair) for pair in zip(outputs, activations, strict=True)]

    def _clip(self) -> None:
        """No gradient is longer than it may be."""
        gradients = [weight.grad for weight in self.weights if weight.grad is not None]
        length = torch.nn.utils.get_total_norm(gradients)
        # An accelerator would have to be waited for; a processor need not multiply by one.
        if length.device.type != "cpu" or not length <= _LONGEST_GRADIENT:
            torch.nn.utils.clip_grads_with_norm_(self.weights, _LONGEST_GRADIENT, length)

    def _finish_epoch(self) -> None:
        """Notes the epoch's mean loss."""
        self.losses.append(float(self.total) / self.per_epoch)
        self.total.zero_()
        if not math.isfinite(self.losses[-1]):
            raise UnmarkableError(
                f"training diverged in epoch {len(self.losses)}",
                advice=f"lower learning_rate ({self.settings.learning_rate})",
            )

    def state_dict(self) -> dict[str, Any]:
        """Everything that decides the steps to come."""
        return {
            "done": self.done,
            "total": self.total,
            "losses": list(self.losses),
            "factors": dict(self.factors),
            "model": self.model.state_dict(),
            "objectives": [objective.state_dict() for objective in self.objectives],
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "batches": self.batches.state_dict(),
            "generator": self.generator.get_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on after the last step of a state.

        Raises:
            CheckpointError: The state is not that of this run's parts.
        """
        try:
            self.done = int(state["done"])
            self.total.copy_(state["total"])
            self.losses = list(state["losses"])
            self.factors = {str(name): float(value) for name, value in state["factors"].items()}
            self.model.load_state_dict(state["model"])
            for objective, own in zip(self.objectives, state["objectives"], strict=True):
                objective.load_state_dict(own)
            self.optimizer.load_state_dict(state["optimizer"])
            self.schedule.load_state_dict(state["schedule"])
            self.batches.load_state_dict(state["batches"])
            self.generator.set_state(state["generator"])
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise CheckpointError(
                f"the checkpoint does not fit ({type(error).__name__}): another version of a "
                "scheme wrote it",
                advice="start without it",
            ) from None
