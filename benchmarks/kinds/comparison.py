"""Ways to mark beside the default: what each costs, and what it withstands."""

import time
from dataclasses import asdict

from benchmarks.kind import READING, Kind
from benchmarks.measurement import BOTH, Measurement
from benchmarks.readings import read
from benchmarks.units import Unit
from benchmarks.variants import VARIANTS
from benchmarks.workshop import Workshop, base_settings, key_of
from deepsigns_registry.watermark.fidelity import accuracy
from deepsigns_registry.watermark.schemes import named_schemes
from deepsigns_registry.watermark.suspect import TappedSuspect

__all__ = ["COMPARISON"]

_CRITERION = "comparison"
_EPOCHS = 10
_LEVEL = 0.9


def _do(workshop: Workshop, unit: Unit) -> list[Measurement]:
    """Marks the parent of a half, and attacks as the bars do."""
    from deepsigns_registry.attacks.finetune import Finetune
    from deepsigns_registry.attacks.prune import Prune

    (parent,) = unit.needs
    variant = VARIANTS[unit.setting]
    settings = variant.settings(workshop.settings)
    model, data = workshop.load(parent), workshop.owner_data("half", unit.seed)
    before = accuracy(model, data.validation, workshop.device)
    # Processor time, because other units run beside this one.
    started = time.process_time()
    root = key_of("comparison", unit.model, unit.seed)
    record = workshop.mark(model, data, root, settings, named_schemes(variant.schemes))
    seconds = time.process_time() - started
    drop = before - accuracy(model, data.validation, workshop.device)
    thief = workshop.thief_data("half", unit.seed)
    epochs = workshop.scale.epochs(_EPOCHS)
    victims = {
        "as marked": model,
        f"prune:{_LEVEL:g}": Prune().apply(model, _LEVEL, thief, seed=unit.seed),
        f"fine-tuning 1e-3, other half, {_EPOCHS} epochs": Finetune(mixed_precision=True).apply(
            workshop.stolen(model), epochs, thief, seed=unit.seed
        ),
    }
    found = [
        Measurement(
            _CRITERION, unit.model, BOTH, unit.setting, "drop against the parent", drop, "mean"
        ),
        Measurement(
            _CRITERION, unit.model, BOTH, unit.setting, "processor seconds to mark", seconds
        ),
        Measurement(_CRITERION, unit.model, BOTH, unit.setting, "seeds", 1, "sum"),
    ]
    for attack, victim in victims.items():
        reading = read(record, TappedSuspect(victim, workshop.device))
        found += reading.measurements(_CRITERION, unit.model, f"{unit.setting}; {attack}")
    return found


COMPARISON = Kind(
    _do,
    code=(
        *READING,
        "benchmarks.kinds.comparison",
        "deepsigns_registry.attacks.finetune",
        "deepsigns_registry.attacks.prune",
        "deepsigns_registry.attacks.training",
    ),
    values=lambda scale: {
        name: asdict(variant.settings(base_settings(scale))) | {"schemes": variant.schemes}
        for name, variant in VARIANTS.items()
    },
    packages=("onnx", "deepsigns_uchida"),
)
