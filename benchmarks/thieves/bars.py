"""What the mark must reach after each attack, and whether it does."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from benchmarks.bars import Bar
from benchmarks.detectors import DETECTORS as MODEL_DETECTORS
from benchmarks.kinds.capacity import bits_setting
from benchmarks.kinds.control import FLIPS
from benchmarks.kinds.security import MODEL, STEALTH
from benchmarks.kinds.security import detector_setting as model_detector_setting
from benchmarks.measurement import BOTH, Row
from benchmarks.scale import Scale
from benchmarks.speed import EMBEDDING, EXTRACTION, PLAIN, PLAIN_LARGER
from benchmarks.thieves.filtered import DETECTORS, detector_setting
from benchmarks.thieves.hidden import HIDDEN_CRITERION, hidden_settings
from benchmarks.thieves.nulls import LEVELS, NULL_SETTING, rate_at
from benchmarks.thieves.plan import BITS, MODELS, samples_of
from benchmarks.thieves.reading import ADJUSTED, CRITERION
from benchmarks.thieves.rewritten import rewrite_settings
from benchmarks.thieves.robberies import AS_MARKED, LABELS, robberies
from benchmarks.thieves.stronger import COST as STRONGER_COST
from benchmarks.thieves.stronger import stronger_robberies, stronger_setting
from deepsigns_registry.attacks.distill_hard import DistillHard

__all__ = ["bars_of", "judged"]

_COST = "marked, against the same fine-tuning without a mark"


def bars_of(scale: Scale, schemes: Sequence[str]) -> tuple[Bar, ...]:
    """Every bar.

    Args:
        scale: Says which attacks there are; those on less data are judged as well, what needs
            many samples or seeds is not.
        schemes: Names of the schemes that were read.
    """
    return (*_robbed(scale), *_nulls(schemes), *_hidden(), *_prices())


def judged(rows: Sequence[Row], scale: Scale, *, full: bool) -> list[Row]:
    """The rows, each with its bar.

    Args:
        rows: What was measured.
        scale: Of the run.
        full: Whether the run was as large as the bars mean.
    """
    schemes = dict.fromkeys(row.scheme for row in rows if row.criterion == CRITERION)
    bars = bars_of(scale, [scheme for scheme in schemes if scheme])
    return [_with_bar(row, bars, full=full) for row in rows]


def _with_bar(row: Row, bars: Sequence[Bar], *, full: bool) -> Row:
    bar = next((bar for bar in bars if bar.is_for(row)), None)
    if bar is None:
        return row
    met = bar.holds(row.value) if full or bar.at_any_scale else None
    return replace(row, bar=bar.words, met=met)


def _robbed(scale: Scale) -> Iterator[Bar]:
    for model in MODELS:
        for robbery in robberies(model, samples_of(model, scale)):
            for group, most in robbery.bars.items():
                yield _p_value(model, group, robbery.setting, most)
            if robbery.labels:
                yield _p_value(model, "black box", LABELS.format(robbery.setting), -6)
        yield _p_value(model, "black box", LABELS.format(AS_MARKED), -6)
        for setting in rewrite_settings():
            for group in ("white box", "black box"):
                yield _p_value(model, group, setting, -30)
        for robbery in stronger_robberies(model, samples_of(model, scale)):
            most = -6 if robbery.attack == DistillHard.name else -40
            yield _p_value(model, "black box", stronger_setting(robbery), most)
        for detector in DETECTORS:
            yield _p_value(model, "black box", detector_setting(detector), -12)


def _p_value(model: str, group: str, setting: str, most: float) -> Bar:
    words = f"{group} p <= 1e{most:.0f}"
    return Bar(
        CRITERION, group, setting, ADJUSTED, words, _at_most(most), (model,), at_any_scale=True
    )


def _nulls(schemes: Sequence[str]) -> Iterator[Bar]:
    for scheme in schemes:
        for level in LEVELS:
            # A rate below its level is no fault: p-values of counts are discrete.
            metric = f"{rate_at(level)} (95% low)"
            words = f"not shown to be above {level:g}"
            yield Bar(CRITERION, scheme, NULL_SETTING, metric, words, _at_most(level))
    yield Bar(
        CRITERION,
        "joint",
        NULL_SETTING,
        "verdicts 'present'",
        "0 `present`",
        _at_most(0),
        at_any_scale=True,
    )


def _hidden() -> Iterator[Bar]:
    for detector in MODEL_DETECTORS:
        setting = model_detector_setting(detector)
        yield Bar(HIDDEN_CRITERION, STEALTH, setting, "AUC", "AUC <= 0.6", _at_most(0.6), (MODEL,))
    for setting in hidden_settings():
        words = "stealth p <= 1e-12"
        yield Bar(HIDDEN_CRITERION, STEALTH, setting, ADJUSTED, words, _at_most(-12), (MODEL,))


def _prices() -> Iterator[Bar]:
    yield Bar("fidelity", BOTH, _COST, "drop (mean)", "mean drop <= 0.15 point", _at_most(0.0015))
    words = "mean drop <= 0.5 point"
    yield Bar("fidelity", BOTH, STRONGER_COST, "drop (mean)", words, _at_most(0.005))
    yield Bar("fidelity", BOTH, _COST, f"{FLIPS} (mean)", "<= 2%", _at_most(0.02))
    yield Bar(
        "capacity",
        "whitebox",
        bits_setting(BITS),
        "bit errors",
        f"{BITS:,} bits without an error",
        _at_most(0),
        at_any_scale=True,
    )
    for against in (PLAIN, PLAIN_LARGER):
        yield Bar("efficiency", BOTH, EMBEDDING, f"ratio to {against}", "<= 1.10", _at_most(1.10))
    yield Bar(
        "efficiency",
        "whitebox",
        EXTRACTION,
        "ratio to a forward pass of the same cut",
        "<= 1.15",
        _at_most(1.15),
    )


def _at_most(most: float) -> Callable[[float], bool]:
    return lambda value: value <= most
