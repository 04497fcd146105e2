"""What an attack is: something a thief does to a model to get rid of the mark."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from deepsigns_registry.errors import ConfigurationError
from deepsigns_registry.watermark.data import LabelledData
from deepsigns_registry.watermark.tapped import TappedModel

__all__ = ["Attack", "PlannedAttack", "Progress", "parse_number"]

Progress = Callable[[float, str], None]


@runtime_checkable
class Attack(Protocol):
    """One kind of attack, at any strength.

    Third parties add one through the entry point group `deepsigns_registry.attacks`: the entry
    point's name is the attack's name, its object a class without arguments.

    Attributes:
        name: The word before the colon in `prune:0.5`.
    """

    name: str

    def parse(self, strength: str) -> float:
        """Reads a strength.

        Raises:
            ConfigurationError: It is no strength of this attack; the advice says which are.
        """
        ...

    def apply(
        self,
        model: TappedModel,
        strength: float,
        data: LabelledData,
        *,
        seed: int,
        progress: Progress | None = None,
    ) -> TappedModel:
        """Attacks a copy of a model.

        Args:
            model: The model; not changed. Given an ONNX file's view, the result is one again.
            strength: What `parse` gave.
            data: What the thief has to train on; may be unused.
            seed: Everything random comes from it: same seed, same result on one machine.
            progress: Called with the share done, 0 to 1, and a few words.

        Returns:
            The attacked model, in evaluation mode.

        Raises:
            CouldNotCheckError: The attack cannot be carried out on this model.
        """
        ...


@dataclass(frozen=True)
class PlannedAttack:
    """An attack with its strength.

    Attributes:
        attack: The attack.
        strength: Its strength as a number, for plots and tables.
        label: How it was asked for, such as `prune:0.5`.
    """

    attack: Attack
    strength: float
    label: str

    def apply(
        self, model: TappedModel, data: LabelledData, *, seed: int, progress: Progress | None = None
    ) -> TappedModel:
        """Attacks a copy of a model; see `Attack.apply`."""
        return self.attack.apply(model, self.strength, data, seed=seed, progress=progress)


def parse_number(attack: str, strength: str, advice: str) -> float:
    """Reads a strength that is a number.

    Raises:
        ConfigurationError: It is none.

    Examples:
        >>> parse_number("prune", "0.5", "write prune:0.5")
        0.5
    """
    try:
        return float(strength)
    except ValueError:
        raise ConfigurationError(
            f"attack {attack}: strength '{strength}' is no number", advice=advice
        ) from None
