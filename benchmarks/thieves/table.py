"""What is left after every attack, first what loses: for a terminal, and for a page."""

from collections.abc import Iterator, Sequence

from benchmarks.measurement import Row
from benchmarks.results import Results
from benchmarks.thieves.reading import ADJUSTED, CRITERION, GROUPS

__all__ = ["BEGIN", "markdown", "terminal"]

BEGIN = "<!-- results: written by python -m benchmarks thieves -->"

_REACHED = {True: "yes", False: "NO", None: ""}
_WORDS = ("present", "undecided", "absent")


def terminal(results: Results) -> str:
    """Columns of text.

    Args:
        results: Of a run.
    """
    parts = []
    for title, lines in _tables(results.rows):
        widths = [max(len(cells[column]) for cells in lines) for column in range(len(lines[0]))]
        text = [
            "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()
            for cells in lines
        ]
        parts.append("\n".join([f"{title}:", *text]))
    return "\n\n".join([_head(results), *parts])


def markdown(results: Results) -> str:
    """The same for a page."""
    parts = []
    for title, lines in _tables(results.rows):
        head, *body = [_line(cells) for cells in lines]
        rule = "|" + "---|" * len(lines[0])
        parts.append("\n".join([f"### {title}", "", head, rule, *body]))
    return "\n\n".join([_head(results), *parts]) + "\n"


def _head(results: Results) -> str:
    judged = [row for row in results.rows if row.met is not None]
    lost = sum(row.met is False for row in judged)
    return (
        f"Device: {results.device}. Seeds: {results.seeds}, medians over them. "
        f"{len(judged)} bars judged, {lost} not reached; what loses comes first."
    )


def _tables(rows: Sequence[Row]) -> Iterator[tuple[str, list[tuple[str, ...]]]]:
    attacks = [row for row in rows if row.criterion == CRITERION]
    read = {(row.model, row.setting) for row in attacks if row.metric == ADJUSTED}
    known = dict.fromkeys(row.scheme for row in attacks if row.metric == ADJUSTED)
    schemes = [name for name in known if name not in GROUPS]
    if read:
        lines = sorted(
            (
                _attack(place, rows, schemes)
                for place in dict.fromkeys(
                    (row.model, row.setting) for row in attacks if (row.model, row.setting) in read
                )
            ),
            key=lambda found: found[0],
        )
        titles = ("reached", "model", "attack", "accuracy", *schemes, *GROUPS, "verdict", "bar")
        yield f"Attacks, {ADJUSTED}", [titles, *(cells for _, cells in lines)]
    others = [row for row in rows if row.bar is not None and (row.model, row.setting) not in read]
    if others:
        others.sort(key=lambda row: row.met is not False)
        titles = ("reached", "model", "setting", "scheme", "metric", "value", "bar")
        yield "Everything else that has a bar", [titles, *(_other(row, rows) for row in others)]


def _attack(
    place: tuple[str, str], rows: Sequence[Row], schemes: Sequence[str]
) -> tuple[tuple[int, float], tuple[str, ...]]:
    """The cells of an attack, and where it stands: lost first, the weakest evidence on top."""
    mine = [row for row in rows if (row.model, row.setting) == place and row.criterion == CRITERION]
    values = {(row.scheme, row.metric): row.value for row in mine}
    judged = [row for row in mine if row.bar is not None]
    lost = any(row.met is False for row in judged)
    reached = "" if not judged else _REACHED[not lost]
    accuracy = values.get(("", "accuracy"))
    counts = [
        f"{word} {values['joint', metric]:.0f}"
        for word in _WORDS
        if values["joint", metric := f"verdicts '{word}'"]
    ]
    cells = (
        reached,
        *place,
        "" if accuracy is None else f"{accuracy:.4f}",
        # A scheme is not in every model's mark.
        *(
            f"{values[name, ADJUSTED]:.1f}" if (name, ADJUSTED) in values else ""
            for name in (*schemes, *GROUPS)
        ),
        ", ".join(counts),
        "; ".join(str(row.bar) for row in judged),
    )
    return (0 if lost else 1 if judged else 2, -values["joint", ADJUSTED]), cells


def _other(row: Row, rows: Sequence[Row]) -> tuple[str, ...]:
    metric, value = row.metric, f"{row.value:.4g}"
    for end in (" (mean)", " (95% low)"):
        if metric.endswith(end):
            metric = metric.removesuffix(end)
            mean, low, high = (
                next(
                    other.value
                    for other in rows
                    if (other.criterion, other.model, other.scheme, other.setting, other.metric)
                    == (row.criterion, row.model, row.scheme, row.setting, f"{metric} ({name})")
                )
                for name in ("mean", "95% low", "95% high")
            )
            value = f"{mean:.4g} [{low:.4g}, {high:.4g}]"
    return (
        {**_REACHED, None: "not judged"}[row.met],
        row.model,
        row.setting,
        row.scheme,
        metric,
        value,
        str(row.bar),
    )


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
