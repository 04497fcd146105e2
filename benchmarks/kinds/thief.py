"""Every other attack that changes weights: those of the catalogue, at some strengths."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.kind import READING, Kind
from benchmarks.kinds.attacked import attacked_measurements
from benchmarks.measurement import Measurement
from benchmarks.units import Unit
from benchmarks.workshop import Workshop

if TYPE_CHECKING:
    from deepsigns_registry.attacks import Attack

__all__ = ["NOISE", "OTHERS", "THIEF", "Plan"]


@dataclass(frozen=True)
class Plan:
    """An attack of the catalogue.

    Attributes:
        attack: Its name.
        strength: Its strength; epochs are scaled down in a quick run.
        setting: In results.
        part: What the thief has; see `finetuned.Finetuning`.
        epochs: Whether the strength is a number of epochs.
    """

    attack: str
    strength: float
    setting: str
    part: str = "half"
    epochs: bool = True


NOISE = {
    plan.setting: plan
    for plan in (
        Plan("noise", deviation, f"noise:{deviation:g}", epochs=False)
        for deviation in (0.1, 0.3, 0.5, 1.0)
    )
}
"""Attacks that take no time: for every seed of every model."""

OTHERS = {
    plan.setting: plan
    for plan in (
        Plan("finetune_last", 10, "output layer fine-tuned, other half, 10 epochs"),
        Plan(
            "finetune_reset", 10, "output layer drawn anew, then fine-tuned, other half, 10 epochs"
        ),
        Plan("smooth", 10, "fine-tuned to smoothed labels, other half, 10 epochs"),
        Plan("fine_prune", 0.3, "fine-pruning of 30%, other half", epochs=False),
        Plan("fine_prune", 0.7, "fine-pruning of 70%, other half", epochs=False),
        Plan("distill", 10, "distillation, other half, 10 epochs"),
    )
}
"""Attacks that train, which the bars do not ask for."""


def _do(workshop: Workshop, unit: Unit) -> list[Measurement]:
    (marked,) = unit.needs
    plan = (NOISE | OTHERS)[unit.setting]
    record, model = workshop.record(marked), workshop.stolen(workshop.load(marked))
    data = workshop.thief_data(plan.part, unit.seed)
    strength = plan.strength
    if plan.epochs:
        strength = workshop.scale.epochs(int(plan.strength))
    attacked = _attack(workshop, plan).apply(model, strength, data, seed=unit.seed)
    return attacked_measurements(workshop, unit, record, attacked)


def _attack(workshop: Workshop, plan: Plan) -> "Attack":
    from deepsigns_registry.attacks.catalogue import builtin_attacks

    kind = builtin_attacks()[plan.attack]
    if plan.attack == "noise":
        return kind
    options = {"epochs": workshop.scale.epochs(3)} if plan.attack == "fine_prune" else {}
    return type(kind)(mixed_precision=True, **options)  # type: ignore[call-arg]


THIEF = Kind(
    _do,
    code=(
        *READING,
        "benchmarks.kinds.attacked",
        "benchmarks.kinds.thief",
        "deepsigns_registry.attacks",
    ),
    packages=("onnx",),
)
