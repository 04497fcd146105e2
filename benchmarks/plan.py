"""Which units a run consists of, by criterion."""

from collections.abc import Sequence

from benchmarks.detectors import DETECTORS
from benchmarks.kinds.capacity import BITS, bits_setting
from benchmarks.kinds.finetuned import FINETUNINGS
from benchmarks.kinds.nulls import STRANGERS
from benchmarks.kinds.overwritten import EPOCHS, overwriting_setting
from benchmarks.kinds.thief import NOISE, OTHERS
from benchmarks.scale import Scale
from benchmarks.small import SMALL
from benchmarks.units import Unit
from benchmarks.variants import VARIANTS

__all__ = ["CRITERIA", "planned"]

CRITERIA = (
    "fidelity",
    "reliability",
    "robustness",
    "integrity",
    "capacity",
    "efficiency",
    "security",
    "generality",
    "comparison",
)

# Seconds of one pass over 60,000 samples, on one core in bfloat16.
_PASS = {"mlp": 1.5}
_SLOW_PASS = 17.0
# Models that train in seconds get every attack with every seed; the others those that the bars
# ask for, and the rest with so many seeds.
_QUICK_TO_TRAIN = ("mlp",)
_FEW_SEEDS = 2
_SLOW_SEEDS = 1
_STRANGER_SEEDS = 1
_CAPACITY_SEEDS = 1
_GENERALITY_SEEDS = 2
_COMPARISON_SEEDS = 3
_FLOAT32 = "fine-tuning 1e-3, full set, float32"
_SLOW_FULL = "fine-tuning 1e-4, full set"


class _Planner:
    def __init__(self, models: Sequence[str], scale: Scale) -> None:
        self.models, self.scale = models, scale
        self.seeds = range(scale.seeds)

    def parent(self, model: str, seed: int, part: str) -> Unit:
        cost = _pass(model) * (20 if model == "mlp" else 10) * (1 if part == "full" else 0.5)
        return Unit("parent", model, seed, part, cost=cost)

    def marked(self, model: str, seed: int, part: str) -> Unit:
        cost = _pass(model) * 3 * (1 if part == "full" else 0.5)
        return Unit("marked", model, seed, part, (self.parent(model, seed, part),), cost=cost)

    def control(self, model: str, seed: int) -> Unit:
        needs = (self.parent(model, seed, "full"), self.marked(model, seed, "full"))
        return Unit("control", model, seed, needs=needs, cost=_pass(model) * 2)

    def fidelity(self) -> list[Unit]:
        return [
            unit
            for model in self.models
            for seed in self.seeds
            for unit in (self.control(model, seed), self.marked(model, seed, "half"))
        ]

    def robustness(self) -> list[Unit]:
        return [
            unit
            for model in self.models
            for seed in self.seeds
            for unit in (
                Unit("pruned", model, seed, needs=(self.marked(model, seed, "full"),), cost=30),
                self.files(model, seed),
                *self._trained(model, seed),
            )
        ]

    def files(self, model: str, seed: int) -> Unit:
        """A seed's marked model as a file, beside the parent of another seed."""
        other = self.parent(model, (seed + 1) % self.scale.seeds, "full")
        needs = (self.marked(model, seed, "full"), self.parent(model, seed, "full"), other)
        return Unit("files", model, seed, needs=needs, cost=40)

    def _trained(self, model: str, seed: int) -> list[Unit]:
        quick = model in _QUICK_TO_TRAIN
        units = []
        for name, how in FINETUNINGS.items():
            if name == _FLOAT32 and not quick:
                continue
            if name == _SLOW_FULL and not quick and seed >= _SLOW_SEEDS:
                continue
            cost = _pass(model) * max(how.after) * (1 if how.part == "full" else 0.5)
            needs = (self.marked(model, seed, how.part),)
            units.append(Unit("finetuned", model, seed, name, needs, cost=cost))
        for epochs in EPOCHS:
            if epochs > 1 and not quick and seed >= _FEW_SEEDS:
                continue
            name, cost = overwriting_setting(epochs), 2 * _pass(model) * epochs
            needs = (self.marked(model, seed, "full"),)
            units.append(Unit("overwritten", model, seed, name, needs, cost=cost))
        for name, plan in (NOISE | OTHERS).items():
            if name in OTHERS and not quick and seed >= _FEW_SEEDS:
                continue
            needs = (self.marked(model, seed, plan.part),)
            cost = 5.0 if plan.attack == "noise" else _pass(model) * 5
            units.append(Unit("thief", model, seed, name, needs, cost=cost))
        return units

    def integrity(self) -> list[Unit]:
        nulls = [
            Unit(
                "nulls",
                model,
                seed,
                needs=(
                    self.parent(model, seed, "full"),
                    self.parent(model, seed, "half"),
                    self.control(model, seed),
                ),
                cost=40,
            )
            for model in self.models
            for seed in self.seeds
        ]
        first = self.models[0]
        strangers = [
            Unit("stranger", name, seed, needs=(self.parent(first, seed, "full"),), cost=60)
            for name in STRANGERS
            for seed in range(min(_STRANGER_SEEDS, self.scale.seeds))
        ]
        unrelated = [self.files(model, seed) for model in self.models for seed in self.seeds]
        return [*nulls, *strangers, *unrelated]

    def capacity(self) -> list[Unit]:
        return [
            Unit(
                "capacity",
                model,
                seed,
                bits_setting(bits),
                needs=(self.parent(model, seed, "full"), self.control(model, seed)),
                cost=_pass(model) * 3,
            )
            for model in self.models
            for bits in BITS
            for seed in (self.seeds if model in _QUICK_TO_TRAIN else range(_CAPACITY_SEEDS))
        ]

    def efficiency(self) -> list[Unit]:
        return [
            Unit(
                "timing",
                model,
                needs=(self.parent(model, 0, "full"),),
                alone=True,
                cost=_pass(model) * 30,
            )
            for model in self.models
        ]

    def security(self) -> list[Unit]:
        pairs = tuple(Unit("pair", "mlp", seed, cost=40) for seed in range(self.scale.pairs))
        return [Unit("detection", "mlp", 0, name, pairs, cost=60) for name in DETECTORS]

    def generality(self) -> list[Unit]:
        seeds = min(_GENERALITY_SEEDS, self.scale.seeds)
        return [Unit("generality", name, seed, cost=30) for name in SMALL for seed in range(seeds)]

    def comparison(self) -> list[Unit]:
        if "mlp" not in self.models:
            return []
        return [
            Unit("comparison", "mlp", seed, name, (self.parent("mlp", seed, "half"),), cost=25)
            for name in VARIANTS
            for seed in range(min(_COMPARISON_SEEDS, self.scale.seeds))
        ]


def planned(criteria: Sequence[str], models: Sequence[str], scale: Scale) -> list[Unit]:
    """The units of a run.

    Args:
        criteria: Some of `CRITERIA`.
        models: Names of architectures of classifiers.
        scale: How large.
    """
    planner = _Planner(models, scale)
    ways = {
        "fidelity": planner.fidelity,
        "reliability": planner.fidelity,
        "robustness": planner.robustness,
        "integrity": planner.integrity,
        "capacity": planner.capacity,
        "efficiency": planner.efficiency,
        "security": planner.security,
        "generality": planner.generality,
        "comparison": planner.comparison,
    }
    return [unit for criterion in criteria for unit in ways[criterion]()]


def _pass(model: str) -> float:
    return _PASS.get(model, _SLOW_PASS)
