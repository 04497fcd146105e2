"""Figures of one audit: accuracy and evidence against the strength of each attack.

Each figure is an SVG element to be put into a page as it is: its colours are the page's CSS
variables, so one figure serves light and dark, and its letters are text, so that it can be
read aloud, searched and printed sharply.
"""

import io
import math
import re
from collections.abc import Sequence
from html import escape
from itertools import cycle
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from deepsigns_registry.audit.columns import columns
from deepsigns_registry.audit.results import Row, deployed_row
from deepsigns_registry.audit.score import ACCURACY, capitalised
from deepsigns_registry.watermark.verdict import ABSENT_ABOVE, PRESENT_AT

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

__all__ = ["figures", "page_svg", "standalone"]

# matplotlib wants colours, the page has variables: unlikely colours stand in for them.
_VARIABLES = {
    "#010101": "var(--ink)",
    "#020202": "var(--muted)",
    "#030303": "var(--grid)",
    "#040404": "var(--white-box)",
    "#050505": "var(--black-box)",
    "#060606": "var(--accuracy)",
    "#070707": "var(--surface)",
    "#080808": "var(--scheme-1)",
    "#090909": "var(--scheme-2)",
    "#0a0a0a": "var(--scheme-3)",
}
_INK, _MUTED, _GRID, _WHITE_BOX, _BLACK_BOX, _ACCURACY, _SURFACE, *_OTHERS = _VARIABLES
_OURS = {"whitebox": ("o-", _WHITE_BOX), "blackbox": ("s-", _BLACK_BOX)}
# Four and three have no common factor, so that a dozen schemes look different. Dashed, as schemes
# of as many bits often lie upon one another.
_OTHER_LINES = ("^--", "D--", "v--", "P--")
_LEGEND_WIDTH = 3
# Inches. On a phone a panel is about as wide as that, and its letters as large as they are here.
_PANEL = (4.4, 3.2)

# A file that stands alone has no page to take its colours from.
_COLOURS = {
    "--ink": "#16202e",
    "--muted": "#5b6b80",
    "--grid": "#dfe5ec",
    "--surface": "#ffffff",
    "--accuracy": "#2463c9",
    "--white-box": "#0d8a76",
    "--black-box": "#b0459b",
    "--scheme-1": "#b35c00",
    "--scheme-2": "#5b4bc4",
    "--scheme-3": "#6b7a00",
}

# The keys are settings of matplotlib, too many for its stubs to be spelt here.
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.titlepad": 10,
    "xtick.color": _MUTED,
    "ytick.color": _MUTED,
    "xtick.labelcolor": _INK,
    "ytick.labelcolor": _INK,
    "grid.color": _GRID,
    "grid.linewidth": 0.8,
    "lines.linewidth": 2.0,
    "lines.markersize": 7.0,
    "legend.frameon": False,
    "legend.labelcolor": _INK,
}


class _Curve(NamedTuple):
    scheme: str
    label: str
    line: str
    colour: str


def figures(rows: Sequence[Row], *, score: str = ACCURACY) -> dict[str, str]:
    """Draws two panels for each family of attacks that has a measured row: score, and evidence.

    Args:
        rows: The results table; rows with an error are left out.
        score: What `accuracy` is called for this model's task.

    Returns:
        Family to its two SVG elements (`<svg ...>...</svg>`), in the order of the table. A wide
        page shows them side by side, a narrow one below each other.
    """
    import matplotlib as mpl

    measured = [row for row in rows if not row.error and row.accuracy is not None]
    baseline = deployed_row(measured)
    curves = _curves(measured)
    families: dict[str, list[Row]] = {}
    for row in measured:
        if row is not baseline:
            families.setdefault(row.attack, []).append(row)
    drawn: dict[str, str] = {}
    for family, attacked in families.items():
        points = sorted(attacked, key=lambda row: row.strength)
        with mpl.rc_context(_STYLE):
            panels = _draw(family, points, baseline, curves=curves, score=score)
            drawn[family] = "".join(
                page_svg(_svg(panel, f"{family}/{what}"), f"attack {family}: {what}")
                for what, panel in panels.items()
            )
    return drawn


def page_svg(svg: str, title: str) -> str:
    """Makes matplotlib's SVG file an element of a page.

    Drops the prologue with its links, identifiers that several figures share, and the fonts
    of this machine; puts the page's colour variables in.

    Args:
        svg: What matplotlib wrote.
        title: What a screen reader says.

    Examples:
        >>> page_svg('<?xml?><svg width="4pt" height="3pt" xmlns="x"></svg>', "attack prune")
        '<svg role="img" aria-label="attack prune"></svg>'
    """
    element = svg[svg.index("<svg") :]
    element = re.sub(r' xmlns(:xlink)?="[^"]*"', "", element)
    # Inside a page the plain attribute does what xlink's did.
    element = element.replace("xlink:href", "href")
    element = re.sub(r'<g id="[^"]*">', "<g>", element)
    element = re.sub(r"font-family: [^;\"]*;? ?", "", element)
    element = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font-size: \1", element)
    element = re.sub(r"<style.*?</style>", "", element, flags=re.DOTALL)
    label = f'<svg role="img" aria-label="{escape(title)}"'
    element = re.sub(r'<svg width="[^"]*" height="[^"]*"', lambda _: label, element)
    for colour, variable in _VARIABLES.items():
        element = element.replace(colour, variable)
    return element.strip()


def standalone(panels: str) -> str:
    """Makes the elements of one family an SVG file, side by side, in the page's light colours.

    Args:
        panels: From `figures`.
    """
    width, height = (72 * inches for inches in _PANEL)
    drawn, count = re.subn(
        r"<svg role=", lambda _: f'<svg width="{width:g}" height="{height:g}" role=', panels
    )
    # Each panel but the first is moved to the right of the one before it.
    parts = drawn.split("<svg width=")[1:]
    moved = "".join(f'<svg x="{width * at:g}" width={part}' for at, part in enumerate(parts))
    for name, colour in _COLOURS.items():
        moved = moved.replace(f"var({name})", colour)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width * count:g} {height:g}" '
        f'font-family="sans-serif"><rect width="100%" height="100%" fill="#ffffff"/>{moved}</svg>'
    )


def _curves(rows: Sequence[Row]) -> tuple[_Curve, ...]:
    """One curve a scheme that was read anywhere; alike in every figure of a report."""
    others = zip(cycle(_OTHER_LINES), cycle(_OTHERS))
    return tuple(
        _Curve(column.scheme, column.label, *(_OURS.get(column.scheme) or next(others)))
        for column in columns(reading.scheme for row in rows for reading in row.readings)
    )


def _draw(
    family: str,
    points: Sequence[Row],
    baseline: Row | None,
    *,
    curves: Sequence[_Curve],
    score: str,
) -> "dict[str, Figure]":
    from matplotlib.figure import Figure

    drawn = {what: Figure(figsize=_PANEL, layout="constrained") for what in (score, "evidence")}
    left, right = (figure.subplots() for figure in drawn.values())
    # Quantisation has no scale, only kinds: they stand side by side under their own names.
    named = any(_numeric(row) is None for row in points)
    series = [*([baseline] if baseline else []), *points]
    if named or not baseline:
        places: list[float] = [float(index) for index in range(len(series))]
    else:
        places = [row.strength for row in series]
    _score(left, places, series, score)
    _evidence(right, places, series, curves)
    for axes in (left, right):
        axes.grid(visible=True, axis="y")
        axes.set_axisbelow(True)
        axes.set_xlabel(f"{family}: strength")
        if named:
            axes.set_xticks(places, ["deployed" if r is baseline else _short(r) for r in series])
            axes.margins(x=0.2)
        else:
            axes.set_xticks(places, [f"{row.strength:g}" for row in series])
    return drawn


def _svg(figure: "Figure", identity: str) -> str:
    import matplotlib as mpl

    buffer = io.StringIO()
    nothing: dict[str, Any] = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with mpl.rc_context({"svg.hashsalt": identity}):
        figure.savefig(buffer, format="svg", metadata=nothing, transparent=True)
    return buffer.getvalue()


def _score(axes: "Axes", places: Sequence[float], series: Sequence[Row], score: str) -> None:
    full, unit = (100, " (%)") if score == ACCURACY else (1, "")
    values = [full * (row.accuracy or 0.0) for row in series]
    axes.plot(places, values, "o-", color=_ACCURACY, markeredgecolor=_SURFACE)
    axes.set_title(f"{capitalised(score)} on the owner's validation data{unit}")
    axes.set_ylim(0, 1.04 * full)


def _evidence(
    axes: "Axes", places: Sequence[float], series: Sequence[Row], curves: Sequence[_Curve]
) -> None:
    for curve in curves:
        readings = [row.reading(curve.scheme) for row in series]
        seen = [
            (place, -reading.log10_p_adjusted)
            for place, reading in zip(places, readings, strict=True)
            if reading is not None
        ]
        if seen:
            axes.plot(
                [place for place, _ in seen],
                [value for _, value in seen],
                curve.line,
                color=curve.colour,
                markeredgecolor=_SURFACE,
                label=curve.label,
                clip_on=False,
            )
    # Evidence spans from a few to hundreds of powers of ten; the thresholds must stay visible.
    axes.set_yscale("symlog", linthresh=10, linscale=1.5)
    highest = max([-PRESENT_AT * 2, *(value for line in axes.lines for value in _heights(line))])
    # The room above the curves belongs to the legend.
    top = highest * 4 ** max(1, math.ceil(len(curves) / _LEGEND_WIDTH))
    axes.set_ylim(0, top)
    ticks = [tick for tick in (0, 2, 6, 10, 30, 100, 300, 1000, 3000) if tick <= top]
    axes.set_yticks(ticks, [str(tick) for tick in ticks])
    axes.set_yticks([], minor=True)
    for threshold, words in ((-PRESENT_AT, "present above"), (-ABSENT_ABOVE, "not found below")):
        axes.axhline(threshold, color=_MUTED, linewidth=1.2, linestyle=(0, (4, 3)))
        axes.annotate(
            words,
            (0.0, threshold),
            xycoords=("axes fraction", "data"),
            xytext=(5, 3),
            textcoords="offset points",
            fontsize=8.5,
            color=_MUTED,
        )
    axes.set_title("Evidence: -log10 of the adjusted p-value")
    axes.legend(loc="upper right", ncols=_LEGEND_WIDTH)


def _heights(line: "Line2D") -> list[float]:
    return [float(value) for value in np.asarray(line.get_ydata())]


def _short(row: Row) -> str:
    return row.label.partition(":")[2][:24] or row.label[:24]


def _numeric(row: Row) -> float | None:
    try:
        return float(_short(row))
    except ValueError:
        return None
