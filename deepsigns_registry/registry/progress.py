"""How far a marking is, and what it has measured so far; everybody who reads the registry may.

A figure is a number by its name: `whitebox_errors` of `whitebox_bits`, `blackbox_matches` of
`blackbox_queries`, the task's score under its own name, `step` and `seconds_left`. None of them
tells where the mark sits.
"""

from collections.abc import Mapping

__all__ = ["spoken"]

_PAIRS = (
    ("white box", "whitebox_errors", "whitebox_bits", "bits wrong"),
    ("black box", "blackbox_matches", "blackbox_queries", "queries match"),
)
_UNSPOKEN = {"step", "seconds_left"} | {name for _, *pair, _ in _PAIRS for name in pair}


def spoken(figures: Mapping[str, float]) -> str:
    """The evidence among the figures, in one line for people; empty when there is none.

    Examples:
        >>> spoken({"whitebox_errors": 3, "whitebox_bits": 128, "accuracy": 0.98333, "step": 40})
        'white box 3 of 128 bits wrong, accuracy 0.9833'
    """
    parts = [
        f"{scheme} {figures[count]:.0f} of {figures[whole]:.0f} {what}"
        for scheme, count, whole, what in _PAIRS
        if count in figures and whole in figures
    ]
    parts += [f"{name} {value:.4f}" for name, value in figures.items() if name not in _UNSPOKEN]
    return ", ".join(parts)
