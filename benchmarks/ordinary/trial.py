"""One ordinary model and one seed: marked with defaults, beside the same without a mark."""

import hashlib
import math
import os
import tempfile
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from benchmarks.ordinary.data import load
from benchmarks.ordinary.parents import train_parent
from benchmarks.ordinary.path import Journey, Reading
from benchmarks.ordinary.zoo import Entry
from deepsigns_registry.engine.jobs import JobProgress
from deepsigns_registry.errors import DeepSignsError
from deepsigns_registry.watermark.verdict import PRESENT_AT

__all__ = ["ENOUGH", "Trial", "judged", "try_entry"]

ENOUGH = -9.0
"""log10 of the largest p-value, adjusted for every try, of a scheme that counts as marked."""

Outcome = Literal["marked", "weak", "refused", "crashed"]


@dataclass(frozen=True)
class Trial:
    """What became of one model and one seed.

    Attributes:
        name: Of the entry.
        seed: Its seed.
        outcome: `marked`; `weak`, marked by the product and not as well as is asked for here;
            `refused`; `crashed`.
        reason: Why it is not marked.
        late: Refused after training had begun.
        control_score: Of the same fine-tuning without a mark, on the validation samples.
        accuracy_drop: `control_score` less that of the marked file, in points / 100.
        limit_drop: Score of the parent less that of the marked file, which the product limits.
        limit: The largest drop that the settings allow.
        whitebox_log10_p: Adjusted for every try; None where nothing was read.
        blackbox_log10_p: The same; None where there is no black box.
        agreement: How like the parent's the marked file's tap is.
        twin: The verdict on the control, read with the same record.
        seconds: Processor time of marking, from preparation to the marked files.
        plain_seconds: Processor time of the same fine-tuning without a mark, and its export.
    """

    name: str
    seed: int
    outcome: Outcome
    reason: str = ""
    late: bool = False
    control_score: float | None = None
    accuracy_drop: float | None = None
    limit_drop: float | None = None
    limit: float | None = None
    whitebox_log10_p: float | None = None
    blackbox_log10_p: float | None = None
    agreement: float | None = None
    twin: str = ""
    seconds: float | None = None
    plain_seconds: float | None = None


def try_entry(entry: Entry, seed: int, progress: JobProgress) -> Trial:
    """Trains a parent and marks it; whatever happens is an outcome.

    Args:
        entry: The model.
        seed: Of everything that is drawn.
        progress: Told what the product says of its progress.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="deepsigns-ordinary-") as folder:
            return _marked(entry, seed, Path(folder), progress)
    except Exception as error:  # noqa: BLE001 - what a model brings to fall is what is measured
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(last.filename).name}:{last.lineno}"
        text = (str(error).strip().splitlines() or [""])[0]
        return Trial(entry.name, seed, "crashed", f"{type(error).__name__}: {text} ({where})")


def _marked(entry: Entry, seed: int, folder: Path, progress: JobProgress) -> Trial:
    data = load(entry.data, seed)
    journey = Journey(train_parent(entry, data.train, seed), data, folder, progress)
    root = hashlib.sha256(f"{entry.name}, seed {seed}".encode()).digest()
    started = _processor_time()
    try:
        journey.prepare(root)
    except DeepSignsError as error:
        return Trial(entry.name, seed, "refused", str(error))
    try:
        journey.train(root)
        seconds = _processor_time() - started
        marked = journey.read()
    except DeepSignsError as error:
        seconds = _processor_time() - started
        return Trial(entry.name, seed, "refused", str(error), late=True, seconds=seconds)
    started = _processor_time()
    exported = journey.train_control()
    plain_seconds = _processor_time() - started
    control = journey.read_control(exported)
    outcome, reason = judged(marked, journey.limit)
    drop = control.score - marked.score
    adjusted = {
        found.scheme: marked.verdict.log10_p_adjusted(found.scheme)
        for found in marked.verdict.evidence
    }
    return Trial(
        entry.name,
        seed,
        outcome,
        reason,
        late=outcome == "refused",
        control_score=control.score,
        accuracy_drop=drop,
        limit_drop=marked.drop,
        limit=journey.limit,
        whitebox_log10_p=adjusted.get("whitebox"),
        blackbox_log10_p=adjusted.get("blackbox"),
        agreement=marked.agreement,
        twin=control.verdict.word,
        seconds=seconds,
        plain_seconds=plain_seconds,
    )


def judged(reading: Reading, limit: float) -> tuple[Outcome, str]:
    """What a marked file is, and everything that it falls short of.

    The product refuses what costs more than its limit, and what it could not call `present` by
    each scheme with the tap verified; here a little more is asked for.

    Args:
        reading: Of the marked file.
        limit: The loss of score that the settings allow.
    """
    known = {found.scheme: found for found in reading.verdict.evidence}
    shortfalls = [f"{name}: not read" for name in reading.schemes if name not in known]
    shortfalls += reading.incomplete
    if reading.incomplete and reading.agreement is not None:
        shortfalls += [f"tap agreement {reading.agreement:.2f}"]
    weakest = -math.inf
    for name, found in known.items():
        adjusted = reading.verdict.log10_p_adjusted(name)
        weakest = max(weakest, adjusted)
        if adjusted > ENOUGH:
            shortfalls += [f"{name}: {found.said}, log10 p {adjusted:.1f}"]
    if reading.drop > limit:
        shortfalls += [f"drop {100 * reading.drop:.2f} points, limit {100 * limit:.2f}"]
    if not shortfalls:
        return "marked", ""
    whole = set(reading.schemes) == set(known) and not reading.incomplete
    accepted = whole and weakest <= PRESENT_AT and reading.drop <= limit
    return "weak" if accepted else "refused", "; ".join(shortfalls)


def _processor_time() -> float:
    """Seconds of this process and of those that it waited for, however busy the machine is."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
