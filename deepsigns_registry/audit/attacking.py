"""The planned attacks on copies of a deployed file, as many at a time as the engine has slots."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from deepsigns_registry.audit.attack_job import Attacked, attack_onnx
from deepsigns_registry.audit.plan import PlannedRow
from deepsigns_registry.engine import Engine
from deepsigns_registry.engine.jobs import Figures
from deepsigns_registry.errors import CouldNotCheckError
from deepsigns_registry.watermark.data import LabelledData

__all__ = ["Attacking", "attacked_copies"]

Say = Callable[[float, str], None]
# The part of an audit's progress that attacks are.
_FIRST, _SHARE, _LAST = 0.15, 0.8, 0.95


@dataclass(frozen=True, repr=False)
class Attacking:
    """What all attacks of an audit have in common.

    Attributes:
        engine: Runs them.
        slots: How many at a time: more results would only fill the memory.
        model: The deployed file's bytes.
        train: The owner's training data.
        seed: Of their randomness.
        until: When the audit's time is spent, by `time.monotonic`.
        memory_bytes: What each of them may hold; None for most of the machine's.
        say: Told the fraction in [0, 1] and what is being done.
    """

    engine: Engine
    slots: int
    model: bytes
    train: LabelledData
    seed: int
    until: float
    memory_bytes: int | None
    say: Say


def attacked_copies(
    planned: Sequence[PlannedRow], attacking: Attacking
) -> Iterator[tuple[PlannedRow, Attacked]]:
    """Attacks a copy with each of them, in their order.

    Yields:
        What became of each; what could not be begun in time is an answer, too.
    """
    for start in range(0, len(planned), attacking.slots):
        batch = planned[start : start + attacking.slots]
        yield from zip(batch, _batch(batch, attacking, start, len(planned)), strict=True)


def _batch(
    batch: Sequence[PlannedRow], attacking: Attacking, start: int, planned: int
) -> list[Attacked]:
    left = attacking.until - time.monotonic()
    if left <= 0:
        late = CouldNotCheckError(
            "the time of this audit was spent before",
            advice="raise audit_seconds in [sandbox], or plan fewer attacks",
        )
        return [Attacked(b"", 0.0, str(late), late.code) for _ in batch]
    jobs = [
        {
            "model": attacking.model,
            "attack": entry.label,
            "train": attacking.train,
            "seed": attacking.seed,
            "seconds": left,
            "memory_bytes": attacking.memory_bytes,
        }
        for entry in batch
    ]
    share = _SHARE / planned

    def on_progress(
        index: int, fraction: float, message: str, _figures: Figures | None = None
    ) -> None:
        done = _FIRST + share * (start + index + fraction)
        attacking.say(min(done, _LAST), f"{batch[index].label}: {message}")

    try:
        return attacking.engine.run(attack_onnx, jobs, on_progress=on_progress)
    except CouldNotCheckError as error:
        if len(batch) == 1:
            return [Attacked(b"", 0.0, str(error), error.code)]
    # A job that is killed takes its batch with it: run them one by one to see which it was.
    return [
        _batch([entry], attacking, start + index, planned)[0] for index, entry in enumerate(batch)
    ]
