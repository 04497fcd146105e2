"""What the numbers must reach, and whether they do."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from benchmarks.detectors import DETECTORS
from benchmarks.integrity import LEVELS
from benchmarks.kinds.capacity import BITS, bits_setting
from benchmarks.kinds.files import (
    NOT_ALIGNED,
    QUANTISATIONS,
    RESTRUCTURED,
    STRUCTURED,
    UNRELATED,
)
from benchmarks.kinds.nulls import level_setting
from benchmarks.kinds.overwritten import EPOCHS, overwriting_setting
from benchmarks.kinds.security import detector_setting
from benchmarks.measurement import BOTH, Row
from benchmarks.readings import KEPT
from benchmarks.speed import EXTRACTION, MARKING, PLAIN, PLAIN_LARGER

__all__ = ["BARS", "HOLDING", "Bar", "judged"]

HOLDING = "bits up to which the mark holds"
_REACHED_ON_UCHIDA = 0.9


@dataclass(frozen=True)
class Bar:
    """What one number must reach.

    Attributes:
        criterion: Of the row.
        scheme: Of the row.
        setting: Of the row.
        metric: Of the row.
        words: The bar as it was set.
        holds: Whether a value reaches it.
        models: Architectures that it is set for; empty for all.
        at_any_scale: Whether a quick run is large enough to judge it.
    """

    criterion: str
    scheme: str
    setting: str
    metric: str
    words: str
    holds: Callable[[float], bool]
    models: tuple[str, ...] = ()
    at_any_scale: bool = False

    def is_for(self, row: Row) -> bool:
        """Whether the row is the number that the bar is about."""
        return (
            (row.criterion, row.scheme, row.setting, row.metric)
            == (self.criterion, self.scheme, self.setting, self.metric)
        ) and (not self.models or row.model in self.models)


def _at_most(most: float) -> Callable[[float], bool]:
    return lambda value: value <= most


def _at_least(least: float) -> Callable[[float], bool]:
    return lambda value: value >= least


def _bars() -> Iterator[Bar]:
    for model, least in (("mlp", 0.89), ("cnn", 0.90)):
        for part in ("full", "half"):
            yield Bar(
                "fidelity",
                "",
                f"owner's training, {part} set",
                "accuracy",
                f"base accuracy >= {least:.2f}",
                _at_least(least),
                (model,),
            )
    yield Bar(
        "fidelity",
        BOTH,
        "marked, against the same fine-tuning without a mark",
        "drop (mean)",
        "mean drop <= 0.5 point",
        _at_most(0.005),
    )
    for part in ("full", "half"):
        setting = f"marked on the {part} set"
        yield Bar("reliability", "whitebox", setting, "bit errors", "0 bit errors", _at_most(0))
        yield Bar(
            "reliability", "blackbox", setting, "log10 p", "black box p <= 1e-50", _at_most(-50)
        )
        yield Bar(
            "reliability", BOTH, setting, "verdicts 'absent'", "no false `absent`", _at_most(0)
        )
    yield from _robustness()
    yield from _integrity()
    yield Bar(
        "capacity",
        "whitebox",
        HOLDING,
        "bits",
        "at least 512 for the MLP",
        _at_least(512),
        ("mlp",),
    )
    for detector in DETECTORS:
        yield Bar(
            "security",
            BOTH,
            detector_setting(detector),
            "AUC",
            "AUC <= 0.6 where the detector reaches 0.9 on Uchida marks",
            _at_most(0.6),
        )
    for against in (PLAIN, PLAIN_LARGER):
        yield Bar("efficiency", BOTH, MARKING, f"ratio to {against}", "<= 1.10", _at_most(1.10))
    yield Bar(
        "efficiency",
        "whitebox",
        EXTRACTION,
        "ratio to a forward pass of the same cut",
        "<= 1.15",
        _at_most(1.15),
    )


def _robustness() -> Iterator[Bar]:
    def bar(scheme: str, setting: str, metric: str, words: str, most: float) -> Bar:
        return Bar("robustness", scheme, setting, metric, words, _at_most(most))

    for kind in ("prune", "layer_prune", STRUCTURED):
        yield bar("whitebox", f"{kind}, {KEPT}", "bit errors", "white box 0 errors", 0)
        yield bar("blackbox", f"{kind}, {KEPT}", "log10 p", "black box p <= 1e-6", -6)
    for kind in ("prune", "layer_prune"):
        yield bar("whitebox", f"{kind}:0.9", "log10 p", "white box p <= 1e-9", -9)
    for part in ("full set", "other half"):
        fast = f"fine-tuning 1e-3, {part}, 10 epochs"
        yield bar("whitebox", fast, "log10 p", "white box p <= 1e-9", -9)
        yield bar("blackbox", fast, "log10 p", "black box p <= 1e-6", -6)
        slow = f"fine-tuning 1e-4, {part}, 50 epochs"
        yield bar("whitebox", slow, "bit errors", "white box 0 errors", 0)
        yield bar("blackbox", slow, "log10 p", "black box p <= 1e-9", -9)
    for epochs in EPOCHS:
        for scheme in ("whitebox", "blackbox"):
            yield bar(scheme, overwriting_setting(epochs), "log10 p", "first mark p <= 1e-9", -9)
    for label in QUANTISATIONS:
        yield bar("whitebox", label, "bit errors", "0 errors", 0)
    for label in RESTRUCTURED:
        yield bar("whitebox", label, "bit errors", "level c: 0 errors on the copy", 0)
        yield bar("whitebox", label, NOT_ALIGNED, "level c on the copy", 0)


def _integrity() -> Iterator[Bar]:
    for label in RESTRUCTURED:
        setting = UNRELATED.format(label)
        for scheme in ("whitebox", "blackbox"):
            yield Bar(
                "integrity",
                scheme,
                setting,
                "log10 p (lowest)",
                "unrelated models at chance (p > 1e-3)",
                _at_least(-3),
                at_any_scale=True,
            )
        yield Bar(
            "integrity",
            BOTH,
            setting,
            "verdicts 'present'",
            "unrelated models at chance",
            _at_most(0),
            at_any_scale=True,
        )
    for level in LEVELS:
        for scheme in ("whitebox", "blackbox"):
            yield Bar(
                "integrity",
                scheme,
                level_setting(level),
                "models outside the interval",
                "exceedance within its binomial interval for every model",
                _at_most(0),
                at_any_scale=True,
            )
    yield Bar(
        "integrity", BOTH, "random keys", "null models", "at least 20 null models", _at_least(20)
    )
    yield Bar(
        "integrity",
        BOTH,
        "random keys",
        "keys a model",
        "1,000,000 random keys",
        _at_least(1_000_000),
    )
    yield Bar(
        "integrity",
        BOTH,
        "random keys",
        "verdicts 'present' after adjustment",
        "0 `present` after adjustment",
        _at_most(0),
        at_any_scale=True,
    )


BARS = tuple(_bars())


def judged(rows: Sequence[Row], *, full: bool) -> list[Row]:
    """The rows, and those that follow from them, each with its bar.

    Args:
        rows: What was measured.
        full: Whether the run was as large as the bars mean.
    """
    return [_with_bar(row, rows, full=full) for row in (*rows, *_holding(rows))]


def _with_bar(row: Row, rows: Iterable[Row], *, full: bool) -> Row:
    bar = next((bar for bar in BARS if bar.is_for(row)), None)
    if bar is None:
        return row
    judge = full or bar.at_any_scale
    if row.criterion == "security":
        judge = judge and _reached_on_uchida(row, rows)
    return replace(row, bar=bar.words, met=bar.holds(row.value) if judge else None)


def _reached_on_uchida(row: Row, rows: Iterable[Row]) -> bool:
    return any(
        other.scheme == "uchida"
        and (other.setting, other.metric) == (row.setting, row.metric)
        and other.value >= _REACHED_ON_UCHIDA
        for other in rows
    )


def _holding(rows: Sequence[Row]) -> list[Row]:
    """Up to how many bits neither fidelity nor reliability fails, for each model."""
    values = {(row.model, row.setting, row.metric): row.value for row in rows}
    models = dict.fromkeys(row.model for row in rows if row.criterion == "capacity")
    found = []
    for model in models:
        held = 0
        for bits in BITS:
            setting = bits_setting(bits)
            if (
                values[model, setting, "bit errors (worst)"] > 0
                or values[model, setting, "drop (mean)"] > 0.005
            ):
                break
            held = bits
        found.append(Row("capacity", model, "whitebox", HOLDING, "bits", float(held)))
    return found
