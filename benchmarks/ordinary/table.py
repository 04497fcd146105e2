"""The table of ordinary models: for a terminal, and for a page."""

from collections.abc import Sequence

from benchmarks.ordinary.summary import Row, Summary

__all__ = ["BEGIN", "markdown", "terminal"]

BEGIN = "<!-- results: written by python -m benchmarks ordinary -->"

_TITLES = ("model", "data", "marked", "drop", "worst", "WB", "BB", "seconds", "plain", "reason")
_WIDEST_REASON = 70


def terminal(summary: Summary) -> str:
    """Columns of text, and what was not reached below them.

    Args:
        summary: Of a run.
    """
    lines = [_TITLES, *(_cells(row) for row in summary.rows)]
    lines = [(*cells[:-1], _short(cells[-1])) for cells in lines]
    widths = [max(len(cells[column]) for cells in lines) for column in range(len(_TITLES))]
    table = [
        "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()
        for cells in lines
    ]
    short = [f"not reached: {sentence}" for sentence in summary.shortfalls()]
    return "\n".join([*table, "", _total(summary), *short])


def markdown(summary: Summary) -> str:
    """The same for a page.

    Args:
        summary: Of a run.
    """
    lines = [_line(_TITLES), "|" + "---|" * len(_TITLES)]
    lines += [_line(_cells(row)) for row in summary.rows]
    short = [f"- Not reached: {sentence}." for sentence in summary.shortfalls()]
    return "\n".join([_total(summary), "", *lines, *([""] if short else []), *short]) + "\n"


def _cells(row: Row) -> tuple[str, ...]:
    return (
        row.model,
        row.data,
        f"{row.marked}/{row.seeds}",
        _points(row.accuracy_drop),
        _points(row.worst_drop),
        _number(row.whitebox_log10_p),
        _number(row.blackbox_log10_p),
        _number(row.seconds),
        _number(row.plain_seconds),
        row.reason,
    )


def _total(summary: Summary) -> str:
    """One sentence with the whole run's figures.

    Examples:
        >>> _total(Summary((), ()))
        '0 of 0 marked, 0 refused (0 of them after training), 0 crashed.'
    """
    count = summary.total
    text = (
        f"{count('marked')} of {count('seeds')} marked, {count('refused')} refused "
        f"({count('late')} of them after training), {count('crashed')} crashed"
    )
    if summary.accuracy_drop is not None:
        text += f"; mean drop {100 * summary.accuracy_drop:.2f} points"
    return f"{text}."


def _points(share: float | None) -> str:
    return "" if share is None else f"{100 * share:+.2f}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def _short(text: str) -> str:
    return text if len(text) <= _WIDEST_REASON else f"{text[: _WIDEST_REASON - 3]}..."


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
