"""Whether the data of each model can be found: modules are imported, and nothing is loaded."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from deepsigns_registry.doctor.check import Line, attempted
from deepsigns_registry.naming import section_of

if TYPE_CHECKING:
    from deepsigns_registry.config import Settings

__all__ = ["check"]

_MOST = 50


def check(settings: "Settings") -> Iterator[Line]:
    """Finds the data of the models; a module is imported in a process without secrets."""
    if not settings.models:
        yield Line(
            "ok",
            "no model has a recipe here: right for a server or a pipeline; a worker needs one "
            "[models] section for each",
        )
        return
    # Said once where the packages for it are missing, not for each model.
    import deepsigns_registry.retraining.recipe  # noqa: F401

    for model in list(settings.models)[:_MOST]:
        line = attempted(partial(_found, settings, model))
        yield replace(line, message=f"{section_of(model)}: {line.message}")
    if len(settings.models) > _MOST:
        yield Line("attention", f"{len(settings.models) - _MOST} more models were not looked at")


def _found(settings: "Settings", model: str) -> Line:
    from deepsigns_registry.retraining.recipe import find_apart

    return Line("ok", find_apart(settings, model))
