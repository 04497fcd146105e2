"""What a unit of work measured, and what the measurements of all seeds come to."""

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from scipy import stats

__all__ = ["BOTH", "Measurement", "Row", "rows_of"]

BOTH = "whitebox+blackbox"
"""The scheme of what both marks cost or change together."""


@dataclass(frozen=True)
class Measurement:
    """One number, of one seed.

    Attributes:
        criterion: The paper's criterion that it is for.
        model: The architecture.
        scheme: The mark; empty for what needs none.
        setting: What was done.
        metric: What was measured.
        value: The number.
        over: How the seeds' numbers become rows; a key of `_OVER`.
    """

    criterion: str
    model: str
    scheme: str
    setting: str
    metric: str
    value: float
    over: str = "median"


@dataclass(frozen=True)
class Row:
    """One line of `results.json`.

    Attributes:
        criterion: As in `Measurement`.
        model: As in `Measurement`.
        scheme: As in `Measurement`.
        setting: As in `Measurement`.
        metric: As in `Measurement`, with what it is over the seeds in brackets unless median.
        value: The number.
        bar: What it must reach, in words.
        met: Whether it does; None without a bar, and where the run was too small for it.
    """

    criterion: str
    model: str
    scheme: str
    setting: str
    metric: str
    value: float
    bar: str | None = None
    met: bool | None = None

    def to_json(self) -> dict[str, str | float | bool | None]:
        """The row with exactly the keys of the format."""
        return asdict(self)


def rows_of(measurements: Iterable[Measurement]) -> list[Row]:
    """Joins the seeds' numbers, in the order in which each setting first came.

    Raises:
        ValueError: Two measurements of one kind are to be joined in two ways.
    """
    groups: dict[tuple[str, str, str, str, str], list[Measurement]] = {}
    for item in measurements:
        key = (item.criterion, item.model, item.scheme, item.setting, item.metric)
        groups.setdefault(key, []).append(item)
    rows = []
    for (criterion, model, scheme, setting, metric), group in groups.items():
        ways = {item.over for item in group}
        if len(ways) > 1:
            raise ValueError(f"{setting}, {metric}: joined as {sorted(ways)}")
        values = [item.value for item in group]
        rows += [
            Row(criterion, model, scheme, setting, f"{metric}{suffix}", float(value))
            for suffix, value in _OVER[ways.pop()](values)
        ]
    return rows


_Joined = list[tuple[str, float]]


def _median(values: Sequence[float]) -> _Joined:
    return [("", statistics.median(values))]


def _highest_is_worst(values: Sequence[float]) -> _Joined:
    return [("", statistics.median(values)), (" (worst)", max(values))]


def _lowest_is_worst(values: Sequence[float]) -> _Joined:
    return [("", statistics.median(values)), (" (worst)", min(values))]


def _mean(values: Sequence[float]) -> _Joined:
    """Mean and 95% interval of Student's t over the seeds; without an interval for one seed."""
    mean = statistics.fmean(values)
    if len(values) < 2:
        half = float("inf")
    else:
        deviation = float(np.std(values, ddof=1))
        half = float(stats.t.ppf(0.975, len(values) - 1)) * deviation / len(values) ** 0.5
    # An interval that is not known is as wide as the quantity can be.
    return [
        (" (mean)", mean),
        (" (95% low)", max(mean - half, -1.0)),
        (" (95% high)", min(mean + half, 1.0)),
    ]


def _sum(values: Sequence[float]) -> _Joined:
    return [("", float(sum(values)))]


def _highest(values: Sequence[float]) -> _Joined:
    return [("", max(values))]


def _lowest(values: Sequence[float]) -> _Joined:
    return [("", min(values))]


_OVER: dict[str, Callable[[Sequence[float]], _Joined]] = {
    "median": _median,
    "high is worst": _highest_is_worst,
    "low is worst": _lowest_is_worst,
    "mean": _mean,
    "sum": _sum,
    "highest": _highest,
    "lowest": _lowest,
}
