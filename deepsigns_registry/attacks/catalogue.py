"""Which attacks there are: our own, and those that other distributions bring."""

from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points

from deepsigns_registry.attacks.attack import Attack, PlannedAttack
from deepsigns_registry.attacks.distill import Distill
from deepsigns_registry.attacks.fine_prune import FinePrune
from deepsigns_registry.attacks.finetune import Finetune
from deepsigns_registry.attacks.finetune_last import FinetuneLast
from deepsigns_registry.attacks.finetune_reset import FinetuneReset
from deepsigns_registry.attacks.finetune_slow import FinetuneSlow
from deepsigns_registry.attacks.layer_prune import LayerPrune
from deepsigns_registry.attacks.noise import Noise
from deepsigns_registry.attacks.overwrite import Overwrite
from deepsigns_registry.attacks.permute import Permute
from deepsigns_registry.attacks.prune import Prune
from deepsigns_registry.attacks.quantize import Quantize
from deepsigns_registry.attacks.smooth import Smooth
from deepsigns_registry.attacks.split import Split
from deepsigns_registry.attacks.structured_prune import StructuredPrune
from deepsigns_registry.errors import ConfigurationError

__all__ = ["builtin_attacks", "known_attacks", "parse_attack"]

_GROUP = "deepsigns_registry.attacks"
_BUILTIN: tuple[Callable[[], Attack], ...] = (
    Prune,
    LayerPrune,
    StructuredPrune,
    FinePrune,
    Finetune,
    FinetuneSlow,
    FinetuneLast,
    FinetuneReset,
    Smooth,
    Distill,
    Overwrite,
    Quantize,
    Noise,
    Permute,
    Split,
)


def builtin_attacks() -> dict[str, Attack]:
    """Our own attacks by name.

    Examples:
        >>> "prune" in builtin_attacks(), "finetune" in builtin_attacks()
        (True, True)
    """
    return {attack.name: attack for attack in (kind() for kind in _BUILTIN)}


def known_attacks() -> dict[str, Attack]:
    """Our own attacks and those of installed plugins; a plugin cannot replace one of ours.

    Raises:
        ConfigurationError: A plugin cannot be loaded, or is no attack.
    """
    plugins = {point.name: _load(point) for point in entry_points(group=_GROUP)}
    return plugins | builtin_attacks()


def parse_attack(text: str) -> PlannedAttack:
    """Reads an attack with its strength, such as `prune:0.5`.

    Raises:
        ConfigurationError: There is no such attack (the known ones are listed), or it has no
            such strength.

    Examples:
        >>> parse_attack("quantize:int8").strength
        8.0
    """
    name, colon, strength = text.partition(":")
    attacks = known_attacks()
    if name not in attacks or not colon:
        what = "has no strength" if name in attacks else "is unknown"
        raise ConfigurationError(
            f"attack '{text}' {what}",
            advice=f"write NAME:STRENGTH; known attacks: {', '.join(sorted(attacks))}",
        )
    attack = attacks[name]
    return PlannedAttack(attack, attack.parse(strength), text)


def _load(point: EntryPoint) -> Attack:
    try:
        attack = point.load()()
    except Exception as error:  # a plugin's import or constructor may raise anything
        raise ConfigurationError(
            f"attack plugin '{point.value}' cannot be loaded: {error}",
            advice="upgrade or uninstall its distribution",
        ) from error
    if not isinstance(attack, Attack) or attack.name != point.name:
        raise ConfigurationError(
            f"attack plugin '{point.value}' is no attack named '{point.name}'",
            advice="see deepsigns_registry.attacks.attack.Attack",
        )
    return attack
