"""Figures: what a marking has measured so far, as numbers by their names.

`whitebox_errors` of `whitebox_bits`, `blackbox_matches` of `blackbox_queries`, the task's score
under its own name, `step`, and `stealth`, which is 1 where the mark is hidden. None of them tells
where the mark sits.
"""

import math
import re
from collections.abc import Mapping

from deepsigns_registry.errors import in_a_line

__all__ = [
    "LONGEST_NAME",
    "MOST_FIGURES",
    "STEALTH",
    "STEALTH_COST",
    "evidence",
    "kept_figures",
    "plain",
    "spoken",
    "stage_of",
]

MOST_FIGURES = 32
LONGEST_NAME = 60
STEALTH = "stealth"
STEALTH_COST = (
    "weights alone, nothing to ask a service; log10 p of a perceptron on 4,000 samples -53 instead "
    "of -236, -22 instead of -86 after pruning 90%, -46 instead of -193 after ten epochs"
)
"""What `stealth` costs in strength; measured, see `docs/method.md`."""

_PAIRS = (
    ("white box", "whitebox_errors", "whitebox_bits", "bits wrong"),
    ("black box", "blackbox_matches", "blackbox_queries", "queries match"),
    ("natural inputs", "cells_matches", "cells_trials", "signs match"),
)
_WEIGHTS = "spread_deviations"
_UNSPOKEN = {
    *("step", "spread_trials", "spread_parts", "cells_bound", "changed", STEALTH, _WEIGHTS),
    *(name for _, *pair, _ in _PAIRS for name in pair),
}


def plain(text: str, longest: int) -> str:
    r"""A text on one line, without control characters, cut to a length.

    Examples:
        >>> plain("too\nlong", 5)
        'too l'
    """
    return in_a_line(text)[:longest]


def stage_of(message: str) -> str:
    """What is being done, of a message of progress: up to the first comma or colon.

    Examples:
        >>> stage_of("marking, epoch 1 of 3")
        'marking'
    """
    return re.split("[,:]", message, maxsplit=1)[0]


def kept_figures(figures: Mapping[str, float]) -> dict[str, float]:
    """The figures that a request can carry: finite numbers under short names.

    Examples:
        >>> kept_figures({"accuracy": 0.5, "loss": float("nan")})
        {'accuracy': 0.5}
    """
    finite = {
        plain(name, LONGEST_NAME): float(value)
        for name, value in figures.items()
        if math.isfinite(value)
    }
    return dict(list(finite.items())[:MOST_FIGURES])


def spoken(figures: Mapping[str, float]) -> str:
    """The figures in one line for people, the evidence first; empty when there are none.

    Examples:
        >>> spoken({"whitebox_errors": 3, "whitebox_bits": 128, "accuracy": 0.98333, "step": 40})
        'white box 3 of 128 bits wrong, accuracy 0.9833'
        >>> spoken({"spread_trials": 12160, "spread_parts": 3, "spread_deviations": 12.53})
        'weights 12.5 standard deviations'
    """
    parts = [evidence(figures)]
    parts += [f"{name} {value:.4f}" for name, value in figures.items() if name not in _UNSPOKEN]
    return ", ".join(part for part in parts if part)


def evidence(figures: Mapping[str, float]) -> str:
    """How well the mark is read, in a line for people; empty when nothing of it was measured.

    Examples:
        >>> evidence({"blackbox_matches": 39, "blackbox_queries": 40, "accuracy": 0.98333})
        'black box 39 of 40 queries match'
    """
    parts = [
        f"{scheme} {figures[count]:.0f} of {figures[whole]:.0f} {what}"
        for scheme, count, whole, what in _PAIRS
        if count in figures and whole in figures
    ]
    if _WEIGHTS in figures:
        parts.append(f"weights {figures[_WEIGHTS]:.1f} standard deviations")
    return ", ".join(parts)
