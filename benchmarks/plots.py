"""Curves of a run, as PNG; needs matplotlib."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.measurement import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw"]

_SIZE = (5.0, 3.4)
_CURVES = {
    "pruning": (r"prune:([\d.]+)$", "share of weights that is zero"),
    "layer-pruning": (r"layer_prune:([\d.]+)$", "share of each layer's weights that is zero"),
    "fine-tuning-full-set": (r"fine-tuning 1e-3, full set, (\d+) epochs?$", "epochs at 1e-3"),
    "fine-tuning-other-half": (r"fine-tuning 1e-3, other half, (\d+) epochs?$", "epochs at 1e-3"),
    "noise": (r"noise:([\d.]+)$", "noise, in deviations of the weights"),
    "capacity": (r"(\d+) bits$", "bits"),
}


def draw(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Draws what was measured by strength, one file a curve.

    Args:
        rows: Of a run.
        folder: Created when it is missing.

    Returns:
        The files.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, (pattern, label) in _CURVES.items():
        found = [
            (float(match[1]), row) for row in rows if (match := re.match(pattern, row.setting))
        ]
        if not found:
            continue
        figure, (left, right) = plt.subplots(1, 2, figsize=(2 * _SIZE[0], _SIZE[1]))
        evidence = "bit error rate" if name == "capacity" else "log10 p"
        cost = "drop (mean)" if name == "capacity" else "accuracy"
        _lines(left, found, cost, label)
        _lines(right, found, evidence, label)
        figure.tight_layout()
        path = folder / f"{name}.png"
        figure.savefig(path, dpi=120)
        plt.close(figure)
        written.append(path)
    return written


def _lines(axes: "Axes", found: Sequence[tuple[float, Row]], metric: str, label: str) -> None:
    curves: dict[str, list[tuple[float, float]]] = {}
    for strength, row in found:
        if row.metric == metric:
            name = f"{row.model} {row.scheme}".strip()
            curves.setdefault(name, []).append((strength, row.value))
    for name, points in curves.items():
        places, values = zip(*sorted(points), strict=True)
        axes.plot(places, values, marker="o", label=name)
    if metric == "log10 p":
        axes.axhline(-6, linestyle="--", color="grey")
    axes.set_xlabel(label)
    axes.set_ylabel(metric)
    axes.legend()
