"""The owner's model, before any mark."""

from dataclasses import asdict

from benchmarks.kind import Kind
from benchmarks.measurement import Measurement
from benchmarks.recipes import RECIPES, Recipe, train_owner
from benchmarks.units import Unit
from benchmarks.workshop import Workshop
from deepsigns_registry.watermark.fidelity import accuracy

__all__ = ["PARENT"]


def _do(workshop: Workshop, unit: Unit) -> list[Measurement]:
    recipe = RECIPES.get(unit.model, Recipe())
    data = workshop.owner_data(unit.setting, unit.seed)
    module = train_owner(
        workshop.fresh(unit.model, unit.seed),
        data.train,
        recipe,
        epochs=workshop.scale.epochs(recipe.epochs),
        seed=unit.seed,
        device=workshop.device,
    )
    parent = workshop.tapped(module)
    workshop.save(unit, parent)
    reached = accuracy(parent, data.validation, workshop.device)
    setting = f"owner's training, {unit.setting} set"
    return [Measurement("fidelity", unit.model, "", setting, "accuracy", reached, "low is worst")]


PARENT = Kind(
    _do,
    code=(
        "benchmarks.data",
        "benchmarks.kinds.parent",
        "benchmarks.models",
        "benchmarks.recipes",
        "benchmarks.workshop",
    ),
    values=lambda _scale: (
        {name: asdict(recipe) for name, recipe in RECIPES.items()} | {"": asdict(Recipe())}
    ),
)
