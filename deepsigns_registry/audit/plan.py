"""What an audit will do, checked in full before it does anything."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from deepsigns_registry.audit.attack_job import strength_of
from deepsigns_registry.audit.schedule import check_schedule
from deepsigns_registry.audit.targets import check_target
from deepsigns_registry.config import Settings
from deepsigns_registry.errors import ConfigurationError, NotFoundError
from deepsigns_registry.sections import Deployment, ModelSettings

__all__ = ["Plan", "PlannedRow", "plan_audits"]


@dataclass(frozen=True)
class PlannedRow:
    """One attack of a plan.

    Attributes:
        label: As it is written in the settings, `prune:0.5`.
        attack: Family, `prune`.
        strength: As a number.
    """

    label: str
    attack: str
    strength: float


@dataclass(frozen=True)
class Plan:
    """The audit of one deployment."""

    deployment: Deployment
    model: ModelSettings
    attacks: tuple[PlannedRow, ...]

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels of the planned attacks."""
        return tuple(row.label for row in self.attacks)


def plan_audits(settings: Settings, names: Sequence[str] = ()) -> tuple[Plan, ...]:
    """Plans the audit of some deployments, or of all.

    Args:
        settings: The deployments and models.
        names: Which deployments; empty for all.

    Raises:
        NotFoundError: A deployment of that name is not in the settings.
        ConfigurationError: There is none at all, two share a name, or a target, schedule,
            attack or model section is wrong.
    """
    known = {deployment.name: deployment for deployment in settings.deployments}
    if not known:
        raise ConfigurationError(
            f"{settings.path}: no deployments", advice="add [[deployments]] with name and target"
        )
    if len(known) < len(settings.deployments):
        twice = _first_repeated(deployment.name for deployment in settings.deployments)
        raise ConfigurationError(
            f"{settings.path}: two deployments are named '{twice}'", advice="rename one of them"
        )
    for name in names:
        if name not in known:
            raise NotFoundError(
                f"{settings.path}: no deployment named '{name}'",
                advice=f"known: {', '.join(known)}",
            )
    chosen = [known[name] for name in dict.fromkeys(names or known)]
    return tuple(_plan(settings, deployment) for deployment in chosen)


def _plan(settings: Settings, deployment: Deployment) -> Plan:
    check_target(deployment)
    check_schedule(deployment)
    attacks = tuple(_planned(deployment, text) for text in dict.fromkeys(deployment.attacks))
    return Plan(deployment, settings.model(deployment.model), attacks)


def _planned(deployment: Deployment, text: str) -> PlannedRow:
    try:
        strength = strength_of(text)
    except ConfigurationError as error:
        raise ConfigurationError(
            f"deployment '{deployment.name}': {error.message}", advice=error.advice
        ) from None
    return PlannedRow(text, text.partition(":")[0], strength)


def _first_repeated(names: Iterable[str]) -> str:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return ""
