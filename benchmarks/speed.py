"""Efficiency: ratios of things that are timed in turn, in one process."""

import copy
import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.measurement import BOTH, Measurement
from benchmarks.recipes import RECIPES, Recipe, train_owner
from benchmarks.workshop import key_of
from deepsigns_registry.watermark.adapters.eager import EagerTappedModel
from deepsigns_registry.watermark.data import TrainingData
from deepsigns_registry.watermark.embed import embed
from deepsigns_registry.watermark.prepare import prepare_record
from deepsigns_registry.watermark.record import WatermarkRecord
from deepsigns_registry.watermark.scheme import Answers, Fitting
from deepsigns_registry.watermark.schemes import named_schemes
from deepsigns_registry.watermark.settings import MarkSettings
from deepsigns_registry.watermark.tapped import Tapped, TappedModel, pool, run_batched
from deepsigns_registry.watermark.whitebox import WhiteBox

__all__ = ["EMBEDDING", "EXTRACTION", "MARKING", "PLAIN", "PLAIN_LARGER", "efficiency"]

EMBEDDING = "embed()"
MARKING = "embed(), preparation included"
PLAIN = "plain fine-tuning over as many samples"
"""By the same settings, longer: what fine-tuning is without a mark."""
PLAIN_LARGER = "plain fine-tuning over as many samples, in as many steps"
"""With larger batches, which cost less a sample: nothing but the mark's own work differs."""
EXTRACTION = "extraction cut at the tap, batch 1024"
_BATCH = 1024
_CRITERION = "efficiency"
# A pass takes milliseconds: timed so often for each repetition of an embedding.
_PASSES = 10


def efficiency(
    name: str,
    module: nn.Module,
    tap: str,
    data: TrainingData,
    settings: MarkSettings,
    *,
    device: torch.device,
    repetitions: int,
) -> list[Measurement]:
    """Times embedding and extraction of one architecture.

    Args:
        name: Of the architecture.
        module: On the device.
        tap: Where it is marked.
        data: The owner's data.
        settings: Of the embedding.
        device: Where everything runs.
        repetitions: How often everything is timed, in turn.
    """
    parent = EagerTappedModel(module, tap).eval()
    return [
        *_embedding(name, parent, data, settings, device=device, repetitions=repetitions),
        *_extraction(name, parent, data, settings, device=device, repetitions=repetitions),
    ]


def _embedding(
    name: str,
    parent: EagerTappedModel,
    data: TrainingData,
    settings: MarkSettings,
    *,
    device: torch.device,
    repetitions: int,
) -> list[Measurement]:
    recipe = RECIPES.get(name, Recipe())
    root = key_of("speed", name)
    known = prepare_record(parent, data, root, settings, device=device)
    steps, samples = _work(known, data, settings, device)
    longer = replace(settings, minimum_steps=math.ceil(steps * samples / settings.batch_size))
    larger = replace(settings, batch_size=samples, minimum_steps=steps)

    def marking() -> None:
        model = copy.deepcopy(parent)
        record = prepare_record(model, data, root, settings, device=device)
        embed(model, data, record, settings, device=device)

    def embedding() -> None:
        embed(copy.deepcopy(parent), data, known, settings, device=device)

    def plain_fine_tuning(options: MarkSettings) -> None:
        embed(copy.deepcopy(parent), data, None, options, device=device)

    def owners_epoch() -> None:
        fresh = copy.deepcopy(parent.module)
        # At the precision that the embedding has here.
        mixed = device.type == "cuda"
        train_owner(
            fresh, data.train, recipe, epochs=1, seed=0, device=device, mixed_precision=mixed
        )

    plain = {
        PLAIN: longer,
        PLAIN_LARGER: larger,
        "plain fine-tuning on the same batches": settings,
    }
    jobs: list[Callable[[], None]] = [marking, embedding, owners_epoch]
    jobs += [partial(plain_fine_tuning, options) for options in plain.values()]
    # On a processor what the first round costs beside its work is nothing against its seconds.
    times = _in_turn(jobs, repetitions, device, warm=device.type != "cpu")
    whole, alone, epoch, *theirs = times
    found = []
    for setting, ours in ((MARKING, whole), (EMBEDDING, alone)):
        found.append(
            Measurement(_CRITERION, name, BOTH, setting, "seconds", statistics.median(ours))
        )
        for against, seconds in zip(plain, theirs, strict=True):
            found += _ratio(name, BOTH, setting, against, (ours, seconds))
    training = [seconds * recipe.epochs for seconds in epoch]
    return [*found, *_ratio(name, BOTH, MARKING, "the owner's whole training", (whole, training))]


def _work(
    record: WatermarkRecord, data: TrainingData, settings: MarkSettings, device: torch.device
) -> tuple[int, int]:
    """Steps of the embedding, and samples of each, those of the schemes included."""
    per_epoch = max(
        math.ceil(len(data.train) / settings.batch_size),
        math.ceil(settings.minimum_steps / settings.epochs),
    )
    steps = per_epoch * settings.epochs
    generator = torch.Generator().manual_seed(0)
    samples = settings.batch_size
    fitting = Fitting(settings, steps, device, data.train)
    for scheme in named_schemes(record.secrets):
        objective = scheme.objective(record.secrets[scheme.name], fitting)
        extra = objective.samples(generator)
        samples += 0 if extra is None else len(extra[0])
    return steps, samples


def _extraction(
    name: str,
    parent: EagerTappedModel,
    data: TrainingData,
    settings: MarkSettings,
    *,
    device: torch.device,
    repetitions: int,
) -> list[Measurement]:
    scheme = WhiteBox()
    settings = replace(settings, bits=settings.least_bits)
    per_class = _BATCH // settings.carriers
    enough = replace(settings, triggers_per_class=max(per_class, 50))
    root = key_of("speed", name)
    record = prepare_record(parent, data, root, enough, device=device, schemes=[scheme])
    secret = record.secrets[scheme.name]
    cut = _Cut(parent)
    inputs = scheme.probes(secret).inputs
    batch = torch.from_numpy(np.ascontiguousarray(inputs)).to(device)

    def extraction() -> None:
        probes = scheme.probes(secret).inputs
        outputs, activation = run_batched(cut, probes, device, batch=_BATCH)
        WhiteBox().tap_agreement(secret, activation)
        scheme.evidence(secret, Answers(outputs, activation))

    def forward() -> None:
        with torch.no_grad():
            cut(batch)

    times = _in_turn((extraction, forward), repetitions * _PASSES, device, warm=True)
    return [
        Measurement(
            _CRITERION, name, "whitebox", EXTRACTION, "seconds", statistics.median(times[0])
        ),
        *_ratio(name, "whitebox", EXTRACTION, "a forward pass of the same cut", times),
    ]


class _Cut(TappedModel):
    """A copy of a model that ends at its tap."""

    def __init__(self, model: EagerTappedModel) -> None:
        super().__init__()
        self.tap = model.tap
        self.module = copy.deepcopy(model.module)
        path = model.tap.removesuffix(":input")
        part = self.module.get_submodule(path)
        if path == model.tap:
            part.register_forward_hook(_stop_after)
        else:
            part.register_forward_pre_hook(_stop_before)

    def forward(self, inputs: Tensor) -> Tapped:
        """Runs up to the tap; the activation stands for the outputs."""
        try:
            self.module(inputs)
        except _ReachedError as reached:
            return Tapped(reached.activation, pool(reached.activation))
        raise RuntimeError(f"layer '{self.tap}' was not run")


class _ReachedError(Exception):
    def __init__(self, activation: Tensor) -> None:
        super().__init__()
        self.activation = activation


def _stop_after(_layer: nn.Module, _given: Any, activation: Tensor) -> None:
    raise _ReachedError(activation)


def _stop_before(_layer: nn.Module, given: tuple[Tensor, ...]) -> None:
    raise _ReachedError(given[0])


def _in_turn(
    jobs: Sequence[Callable[[], None]], repetitions: int, device: torch.device, *, warm: bool
) -> list[list[float]]:
    """Seconds of each job, one after the other and again.

    On a processor, where a job has one thread, they are those of the processor, which do not
    count what else the machine does; on an accelerator they are wall time.

    Args:
        jobs: What to time.
        repetitions: Rounds that count.
        device: Where the jobs run.
        warm: Whether one more round is made first.
    """
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    times: list[list[float]] = [[] for _ in jobs]
    for turn in range(repetitions + warm):
        for job, found in zip(jobs, times, strict=True):
            started = clock()
            job()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            if turn >= warm:
                found.append(clock() - started)
    return times


def _ratio(
    model: str, scheme: str, setting: str, against: str, times: Sequence[Sequence[float]]
) -> list[Measurement]:
    """Median, least and largest of the ratios of neighbours in time: the first to the second."""
    ratios = [ours / theirs for ours, theirs in zip(*times, strict=True)]
    return [
        Measurement(_CRITERION, model, scheme, setting, f"ratio to {against}{suffix}", value)
        for suffix, value in (
            ("", statistics.median(ratios)),
            (" (lowest)", min(ratios)),
            (" (highest)", max(ratios)),
        )
    ]
