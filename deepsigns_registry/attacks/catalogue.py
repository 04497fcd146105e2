"""Which attacks there are: our own, and those that other distributions bring.

A plugin's code runs only when an attack of its name is asked for: a broken plugin stops only the
audits that use it.
"""

from collections.abc import Callable

from deepsigns_registry.attacks.attack import Attack, PlannedAttack
from deepsigns_registry.attacks.collapse import Collapse
from deepsigns_registry.attacks.decay import Decay
from deepsigns_registry.attacks.distill import Distill
from deepsigns_registry.attacks.distill_hard import DistillHard
from deepsigns_registry.attacks.distill_other import DistillOther
from deepsigns_registry.attacks.fine_prune import FinePrune
from deepsigns_registry.attacks.finetune import Finetune
from deepsigns_registry.attacks.finetune_last import FinetuneLast
from deepsigns_registry.attacks.finetune_reset import FinetuneReset
from deepsigns_registry.attacks.finetune_sgd import FinetuneSgd
from deepsigns_registry.attacks.finetune_slow import FinetuneSlow
from deepsigns_registry.attacks.gate import Gate
from deepsigns_registry.attacks.layer_prune import LayerPrune
from deepsigns_registry.attacks.low_rank import LowRank
from deepsigns_registry.attacks.median_filter import MedianFilter
from deepsigns_registry.attacks.merge import Merge
from deepsigns_registry.attacks.noise import Noise
from deepsigns_registry.attacks.overwrite import Overwrite
from deepsigns_registry.attacks.overwrite_strong import OverwriteStrong
from deepsigns_registry.attacks.permute import Permute
from deepsigns_registry.attacks.prune import Prune
from deepsigns_registry.attacks.quantize import Quantize
from deepsigns_registry.attacks.reconstruct import Reconstruct
from deepsigns_registry.attacks.redraw import Redraw
from deepsigns_registry.attacks.rewrite import Rewrite
from deepsigns_registry.attacks.smooth import Smooth
from deepsigns_registry.attacks.split import Split
from deepsigns_registry.attacks.structured_prune import StructuredPrune
from deepsigns_registry.errors import ConfigurationError
from deepsigns_registry.plugins import load_plugin, plugin_names

__all__ = ["builtin_attacks", "known_attacks", "parse_attack"]

_GROUP = "deepsigns_registry.attacks"
_BUILTIN: tuple[Callable[[], Attack], ...] = (
    Prune,
    LayerPrune,
    StructuredPrune,
    FinePrune,
    LowRank,
    Finetune,
    FinetuneSlow,
    FinetuneSgd,
    FinetuneLast,
    FinetuneReset,
    Redraw,
    Decay,
    Collapse,
    Smooth,
    Merge,
    Distill,
    DistillHard,
    DistillOther,
    Reconstruct,
    Overwrite,
    OverwriteStrong,
    Quantize,
    Noise,
    Permute,
    Split,
    Gate,
    MedianFilter,
    Rewrite,
)


def builtin_attacks() -> dict[str, Attack]:
    """Our own attacks by name.

    Examples:
        >>> "prune" in builtin_attacks(), "finetune" in builtin_attacks()
        (True, True)
    """
    return {attack.name: attack for attack in (kind() for kind in _BUILTIN)}


def known_attacks() -> tuple[str, ...]:
    """Names of our own attacks, then of those that installed plugins offer; loads none of them.

    Examples:
        >>> known_attacks()[:2]
        ('prune', 'layer_prune')
    """
    return tuple(dict.fromkeys([*builtin_attacks(), *plugin_names(_GROUP)]))


def parse_attack(text: str) -> PlannedAttack:
    """Reads an attack with its strength, such as `prune:0.5`.

    Raises:
        ConfigurationError: There is no such attack (the known ones are listed), it has no such
            strength, or its plugin is broken.

    Examples:
        >>> parse_attack("quantize:int8").strength
        8.0
    """
    name, colon, strength = text.partition(":")
    known = known_attacks()
    if name not in known or not colon:
        what = "has no strength" if name in known else "is unknown"
        raise ConfigurationError(
            f"attack '{text}' {what}",
            advice=f"write NAME:STRENGTH; known attacks: {', '.join(sorted(known))}",
        )
    attack = builtin_attacks().get(name) or _plugged(name)
    return PlannedAttack(attack, attack.parse(strength), text)


def _plugged(name: str) -> Attack:
    attack = load_plugin(_GROUP, name, Attack, word="an attack", error=ConfigurationError)
    assert isinstance(attack, Attack)  # noqa: S101 - `load_plugin` promises it
    return attack
