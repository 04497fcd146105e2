"""From trials to rows, and from rows to what was asked for."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.ordinary.trial import Trial

__all__ = ["Row", "Summary", "read_json", "summarised"]

MARKED_SHARE = 0.95
"""Of model and seed, at least."""
DROP = 0.003
"""Mean loss against the same fine-tuning without a mark, at most."""


@dataclass(frozen=True)
class Row:
    """One model over its seeds.

    Attributes:
        model: Its name.
        data: Its data set.
        seeds: How many were tried.
        marked: How many of them carry the mark well enough, at a cost within the limit.
        refused: How many were refused.
        late: How many of the refused were trained first.
        crashed: How many ended in an error that nobody raised on purpose.
        above_limit: Whether the mean drop of the marked is above the limit of their settings.
        twins_present: Unmarked twins in which the mark was found.
        accuracy_drop: Mean over the marked, in points / 100; None where none was.
        worst_drop: Largest over the marked.
        whitebox_log10_p: Worst over the marked.
        blackbox_log10_p: Worst over the marked; None where there is no black box.
        agreement: Lowest likeness of a marked tap to the parent's.
        seconds: Mean processor time of a marking that went to its end.
        plain_seconds: Mean of the same fine-tuning without a mark.
        reason: Why not every seed was marked.
    """

    model: str
    data: str
    seeds: int
    marked: int
    refused: int
    late: int
    crashed: int
    above_limit: bool
    twins_present: int
    accuracy_drop: float | None
    worst_drop: float | None
    whitebox_log10_p: float | None
    blackbox_log10_p: float | None
    agreement: float | None
    seconds: float | None
    plain_seconds: float | None
    reason: str


@dataclass(frozen=True)
class Summary:
    """A whole run.

    Attributes:
        rows: In the order of the zoo.
        trials: What the rows are made of.
    """

    rows: tuple[Row, ...]
    trials: tuple[Trial, ...]

    @property
    def accuracy_drop(self) -> float | None:
        """Mean over everything that was marked, in points / 100; None where nothing was."""
        return _mean(trial.accuracy_drop for trial in _marked(self.trials))

    def total(self, count: str) -> int:
        """A count over all rows, such as `marked`."""
        return sum(int(getattr(row, count)) for row in self.rows)

    def shortfalls(self) -> list[str]:
        """What was asked for and not reached, one sentence each."""
        models, marked, refused = (self.total(name) for name in ("seeds", "marked", "refused"))
        short = []
        if marked < MARKED_SHARE * models:
            short += [f"{marked} of {models} are marked, {MARKED_SHARE:.0%} were asked for"]
        if refused + marked < models:
            short += [f"{models - refused - marked} are neither marked nor refused"]
        if self.accuracy_drop is not None and self.accuracy_drop > DROP:
            short += [f"the mean drop is {100 * self.accuracy_drop:.2f} points, not {100 * DROP}"]
        for count, words in (
            ("late", "were refused after training"),
            ("crashed", "ended in an internal error"),
            ("above_limit", "models cost more than the limit"),
            ("twins_present", "unmarked twins were called present"),
        ):
            if self.total(count):
                short += [f"{self.total(count)} {words}"]
        return short

    def to_json(self) -> dict[str, object]:
        """As `--json` prints it; counts are of model and seed."""
        return {
            "models": self.total("seeds"),
            "marked": self.total("marked"),
            "refused": self.total("refused"),
            "crashed": self.total("crashed"),
            "late": self.total("late"),
            "twins_present": self.total("twins_present"),
            "accuracy_drop": self.accuracy_drop,
            "shortfalls": self.shortfalls(),
            "rows": [asdict(row) for row in self.rows],
            "trials": [asdict(trial) for trial in self.trials],
        }


def summarised(trials: Iterable[Trial], data: Mapping[str, str]) -> Summary:
    """Puts the trials of each model together.

    Args:
        trials: In any order.
        data: The data set of every model, in the order of the tables.
    """
    order = {name: place for place, name in enumerate(data)}
    every = sorted(trials, key=lambda trial: (order[trial.name], trial.seed))
    grouped = {name: [trial for trial in every if trial.name == name] for name in data}
    rows = tuple(_row(data[name], found) for name, found in grouped.items() if found)
    return Summary(rows, tuple(every))


def read_json(text: str) -> Summary:
    """What `Summary.to_json` wrote.

    Raises:
        ValueError: It is something else.
    """
    try:
        content: dict[str, Any] = json.loads(text)
        return Summary(
            tuple(Row(**row) for row in content["rows"]),
            tuple(Trial(**trial) for trial in content["trials"]),
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"no results of ordinary models: {error}") from None


def _row(data: str, trials: Sequence[Trial]) -> Row:
    marked = _marked(trials)
    drop = _mean(trial.accuracy_drop for trial in marked)
    return Row(
        model=trials[0].name,
        data=data,
        seeds=len(trials),
        marked=len(marked),
        refused=sum(trial.outcome == "refused" for trial in trials),
        late=sum(trial.late for trial in trials),
        crashed=sum(trial.outcome == "crashed" for trial in trials),
        above_limit=drop is not None and any(drop > trial.limit for trial in marked if trial.limit),
        twins_present=sum(trial.twin == "present" for trial in trials),
        accuracy_drop=drop,
        worst_drop=_largest(trial.accuracy_drop for trial in marked),
        whitebox_log10_p=_largest(trial.whitebox_log10_p for trial in marked),
        blackbox_log10_p=_largest(trial.blackbox_log10_p for trial in marked),
        agreement=min(_known(trial.agreement for trial in marked), default=None),
        seconds=_mean(trial.seconds for trial in trials),
        plain_seconds=_mean(trial.plain_seconds for trial in trials),
        reason="; ".join(dict.fromkeys(trial.reason for trial in trials if trial.reason)),
    )


def _marked(trials: Iterable[Trial]) -> list[Trial]:
    return [trial for trial in trials if trial.outcome == "marked"]


def _known(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _mean(values: Iterable[float | None]) -> float | None:
    found = _known(values)
    return sum(found) / len(found) if found else None


def _largest(values: Iterable[float | None]) -> float | None:
    return max(_known(values), default=None)
