"""Which units `python -m benchmarks thieves` consists of."""

from collections.abc import Sequence
from dataclasses import replace

from benchmarks.detectors import DETECTORS as MODEL_DETECTORS
from benchmarks.kinds.capacity import bits_setting
from benchmarks.kinds.security import HIDDEN_AND_OPEN
from benchmarks.scale import FULL, Scale
from benchmarks.thieves.filtered import DETECTORS
from benchmarks.thieves.nulls import size_of
from benchmarks.thieves.rewritten import rewrite_settings
from benchmarks.thieves.robberies import Robbery, robberies
from benchmarks.units import Unit

__all__ = ["BITS", "HIDDEN", "MODELS", "QUICK", "REWRITE", "planned", "samples_of"]

MODELS = ("mlp", "cnn", "resnet")
BITS = 1280
"""How many the capacity's bar asks for."""

REWRITE = "rewrite"
"""Name of the family in the catalogue."""

HIDDEN = "detectors"
"""Name of what looks at models without the key."""

QUICK = replace(FULL, name="thieves-quick", seeds=1, validation=4_000, repetitions=1)

# Seeds of models whose epochs take minutes.
_SLOW_SEEDS = 3
_SAMPLES = {"mlp": 60_000}
_SLOW_SAMPLES = 20_000
_QUICK_SAMPLES = {"mlp": 12_000}
_SLOW_QUICK_SAMPLES = 5_000
# Models of other seeds than any that is marked.
_SIBLING = 50
# Of 20 pairs chance alone lifts one of six detectors above 0.6 every other time.
_PAIRS = 40
# Seconds of one pass over 1,000 samples on one core.
_PASS = {"mlp": 0.03}
_SLOW_PASS = 0.35


def samples_of(model: str, scale: Scale) -> int:
    """How many samples owner and thief have."""
    if scale.name == FULL.name:
        return _SAMPLES.get(model, _SLOW_SAMPLES)
    return _QUICK_SAMPLES.get(model, _SLOW_QUICK_SAMPLES)


def planned(models: Sequence[str], scale: Scale, only: Sequence[str] = ()) -> list[Unit]:
    """The units of a run.

    Args:
        models: Architectures, some of `MODELS`.
        scale: How large; how many samples there are is decided here.
        only: Attacks of the catalogue; with any, nothing else is measured.
    """
    units = []
    for model in models:
        seeds = scale.seeds if model == "mlp" else min(scale.seeds, _SLOW_SEEDS)
        for seed in range(seeds):
            units += _of_seed(model, seed, scale, only)
        if not only:
            units += _once(model, scale)
    hidden = HIDDEN in only if only else scale.name == FULL.name
    if "mlp" in models and hidden:
        units += _hidden(scale)
    return units


def _of_seed(model: str, seed: int, scale: Scale, only: Sequence[str]) -> list[Unit]:
    samples = samples_of(model, scale)
    parent, marked = _parent(model, seed, scale), _marked(model, seed, scale)
    released = Unit("released", model, seed, needs=(marked, parent), cost=10)
    units = [] if HIDDEN in only else [released]
    for robbery in robberies(model, samples):
        left_out = _is_short(model, scale) and _takes_long(robbery)
        if left_out or (only and robbery.attack not in only):
            continue
        siblings = tuple(
            _parent(model, _SIBLING + robbery.siblings * seed + number, scale)
            for number in range(robbery.siblings)
        )
        needs = (released, marked, *siblings)
        cost = 10 + robbery.passes * _pass(model, scale)
        units.append(Unit("robbed", model, seed, robbery.setting, needs, cost=cost))
    if not only or REWRITE in only:
        units += [
            Unit("rewritten", model, seed, setting, (released,), cost=5)
            for setting in rewrite_settings()
        ]
    if only:
        return units
    units += [
        Unit("filtered", model, seed, detector, (released, marked), cost=10)
        for detector in DETECTORS
    ]
    control = Unit("control", model, seed, needs=(parent, marked), cost=3 * _pass(model, scale))
    units.append(control)
    if not _is_short(model, scale):
        cost = 33 * _pass(model, scale)
        units.append(Unit("stronger", model, seed, needs=(parent, control), cost=cost))
    return units


def _once(model: str, scale: Scale) -> list[Unit]:
    """What one seed is enough for; timings and detectors of marks take their time."""
    parent, marked = _parent(model, 0, scale), _marked(model, 0, scale)
    control = Unit("control", model, 0, needs=(parent, marked), cost=3 * _pass(model, scale))
    units = []
    if model != "resnet" and not _is_short(model, scale):
        cost = 4 * _pass(model, scale)
        units.append(Unit("capacity", model, 0, bits_setting(BITS), (parent, control), cost=cost))
    if model == "mlp":
        units += [
            Unit("read-nulls", model, 0, str(number), (parent,), cost=60)
            for number in range(size_of(scale).units)
        ]
    if scale.name == FULL.name and model != "resnet":
        units.append(Unit("timing", model, needs=(parent,), alone=True, cost=300))
    return units


def _hidden(scale: Scale) -> list[Unit]:
    """Whether anybody sees the marks, and what is left of the one that is hidden."""
    pairs = [Unit("pair", "mlp", seed, HIDDEN_AND_OPEN, cost=20) for seed in range(_PAIRS)]
    units = [Unit("detection", "mlp", 0, name, tuple(pairs), cost=60) for name in MODEL_DETECTORS]
    for seed, pair in enumerate(pairs[: scale.seeds]):
        units.append(Unit("hidden", "mlp", seed, needs=(pair,), cost=25))
    return units


def _takes_long(robbery: Robbery) -> bool:
    """Whether a slow model has to be marked or trained anew several times for it."""
    again = robbery.attack == "overwrite_strong" and robbery.strength != "1"
    return again or robbery.siblings > 1


def _is_short(model: str, scale: Scale) -> bool:
    return model != "mlp" and scale.name != FULL.name


def _parent(model: str, seed: int, scale: Scale) -> Unit:
    part = str(samples_of(model, scale))
    return Unit("parent", model, seed, part, cost=15 * _pass(model, scale))


def _marked(model: str, seed: int, scale: Scale) -> Unit:
    part = str(samples_of(model, scale))
    needs = (_parent(model, seed, scale),)
    return Unit("marked", model, seed, part, needs, cost=3 * _pass(model, scale))


def _pass(model: str, scale: Scale) -> float:
    return _PASS.get(model, _SLOW_PASS) * samples_of(model, scale) / 1_000
