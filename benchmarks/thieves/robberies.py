"""Which attacks are measured, how strong they are, and what the mark must reach after each."""

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from deepsigns_registry.watermark.settings import MarkSettings

if TYPE_CHECKING:
    from deepsigns_registry.attacks import Attack

__all__ = ["AS_MARKED", "LABELS", "Robbery", "attack_of", "robberies"]

AS_MARKED = "as marked"
LABELS = "{}, a service that answers labels alone"

# Weight decay acts by its number of steps: those of two epochs on 20,000 samples.
_DECAYED_SAMPLES = 40_000
# Models whose epochs take minutes: ten an attack.
_SLOW_EPOCHS = 10


@dataclass(frozen=True)
class Robbery:
    """An attack of the catalogue, as this benchmark carries it out.

    Attributes:
        setting: In results.
        attack: Name in the catalogue; empty for merging with siblings that were trained
            independently.
        strength: As the catalogue reads it.
        options: What the attack is made with.
        bars: For `white box`, `black box` or `joint`: log10 of the largest p that is enough.
        siblings: How many models of other seeds it needs.
        labels: Whether the result is also read as a service that answers labels alone.
        passes: About how many passes over the samples it takes.
    """

    setting: str
    attack: str
    strength: str
    options: Mapping[str, int | float] = field(default_factory=dict)
    bars: Mapping[str, float] = field(default_factory=dict)
    siblings: int = 0
    labels: bool = False
    passes: float = 0.5


def robberies(model: str, samples: int) -> tuple[Robbery, ...]:
    """Every attack on an architecture.

    Args:
        model: Its name.
        samples: How many the thief has.
    """
    return (*_still(), *_trained(slow=model != "mlp", samples=samples))


def attack_of(robbery: Robbery, settings: MarkSettings) -> "Attack":
    """The attack, with products in bfloat16 where it trains.

    Args:
        robbery: One that is in the catalogue.
        settings: How the owner marks; a thief who overwrites does it in the same precision.
    """
    from deepsigns_registry.attacks.catalogue import builtin_attacks
    from deepsigns_registry.attacks.overwrite_strong import STRONG, OverwriteStrong

    if robbery.attack == OverwriteStrong.name:
        return OverwriteStrong(settings=replace(STRONG, precision=settings.precision))
    kind = type(builtin_attacks()[robbery.attack])
    options: dict[str, int | float] = dict(robbery.options)
    if "mixed_precision" in inspect.signature(kind).parameters:
        options["mixed_precision"] = True
    return kind(**options)


def _still() -> Iterator[Robbery]:
    """Attacks without training."""
    white, both = {"white box": -30.0}, {"white box": -30.0, "black box": -30.0}
    yield Robbery("90% of the weights pruned", "prune", "0.9", bars=white)
    yield Robbery("half of the neurons removed", "structured_prune", "0.5", bars=white)
    yield Robbery("an eighth of the singular values left", "lowrank", "0.875", bars=white)
    yield Robbery("4-bit weights", "quantize", "int4", bars=white)
    yield Robbery("8-bit file", "quantize", "int8")
    yield Robbery("noise of half the weights' deviation", "noise", "0.5")
    yield Robbery("neurons in another order and scaled", "permute", "0.5", bars=both)
    yield Robbery("neurons split, and dummies", "split", "0.25", bars=both)
    yield Robbery("a gate against isolated pixels", "gate", "0.05", bars={"black box": -12.0})


def _trained(*, slow: bool, samples: int) -> Iterator[Robbery]:
    long = _SLOW_EPOCHS if slow else 30
    trained = {"white box": -20.0, "black box": -12.0}
    yield Robbery("fine-tuned, 10 epochs", "finetune", "10", bars=trained, labels=True, passes=10)
    if not slow:
        yield Robbery("fine-tuned, 30 epochs", "finetune", "30", bars=trained, passes=30)
    yield Robbery(f"SGD 0.05, {long} epochs", "finetune_sgd", str(long), bars=trained, passes=long)
    yield Robbery(
        "SGD 0.05, momentum 0.9, 10 epochs",
        "finetune_sgd",
        "10",
        options={"momentum": 0.9},
        passes=10,
    )
    yield Robbery(
        "median filter 3x3, then 2 epochs", "filter", "2", bars={"black box": -12.0}, passes=3
    )
    for count in (1, 2, 3):
        yield Robbery(
            f"last {count} layer{'s' * (count > 1)} drawn anew, then 6 epochs",
            "redraw",
            str(count),
            bars={"joint": -9.0},
            passes=6,
        )
    decaying = max(1, round(_DECAYED_SAMPLES / samples))
    for decay in (6, 15):
        yield Robbery(
            f"weight decay {decay}, then 5 epochs",
            "decay",
            str(decay),
            options={"decaying": decaying},
            bars={"joint": -12.0},
            passes=5 + decaying,
        )
    yield Robbery(
        "weight decay 6, then class means collapsed, 5 epochs",
        "collapse",
        "1",
        options={"decaying": decaying},
        bars={"joint": -12.0},
        passes=6 + decaying,
    )
    for count, times in ((1, "once"), (2, "twice")):
        yield Robbery(
            f"strongly overwritten {times}",
            "overwrite_strong",
            str(count),
            bars={"joint": -12.0},
            passes=4 * count,
        )
    for count in (1, 3):
        copies = f"{count} fine-tuned cop{'ies' if count > 1 else 'y'}"
        yield Robbery(
            f"merged with {copies}", "merge", str(count), bars={"joint": -12.0}, passes=3 * count
        )
    for count in (1, 3):
        yield Robbery(
            f"merged with {count} independent sibling{'s' * (count > 1)}, then 5 epochs",
            "",
            "5",
            bars={"joint": -12.0},
            siblings=count,
            passes=5,
        )
    yield from _distilled()
    yield Robbery(
        "smoothed labels (0.1), 10 epochs",
        "smooth",
        "10",
        options={"smoothing": 0.1},
        bars={"joint": -12.0},
        passes=10,
    )
    yield Robbery("fine-pruning of half the neurons", "fine_prune", "0.5", passes=3)


def _distilled() -> Iterator[Robbery]:
    soft = {"black box": -12.0}
    yield Robbery("distilled, soft labels, 10 epochs", "distill", "10", bars=soft, passes=10)
    yield Robbery(
        "distilled, soft labels at temperature 1, 10 epochs",
        "distill",
        "10",
        options={"temperature": 1.0},
        bars=soft,
        passes=10,
    )
    yield Robbery(
        "distilled into another architecture, 10 epochs",
        "distill_other",
        "10",
        bars=soft,
        passes=10,
    )
    # What a student of labels alone learns is asked of the stronger setting.
    yield Robbery("distilled, hard labels, 10 epochs", "distill_hard", "10", passes=10)
    rebuilt = "distilled, 10 epochs, then its boundary rebuilt, 5 epochs"
    for setting, redraw in ((rebuilt, False), (f"{rebuilt}, output layer drawn anew", True)):
        options = {"extraction": 10, "redraw": redraw}
        yield Robbery(setting, "reconstruct", "5", options=options, passes=20)
