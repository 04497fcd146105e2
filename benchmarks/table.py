"""Results as Markdown: the bars, what lost, and every number by criterion."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks.bars import BARS, Bar
from benchmarks.measurement import Row
from benchmarks.results import Results
from benchmarks.units import write_atomically
from deepsigns_registry.errors import ConfigurationError

__all__ = ["BEGIN", "END", "insert", "markdown"]

BEGIN = "<!-- results: written by python -m benchmarks table -->"
END = "<!-- end of results -->"

_WORST = " (worst)"
# Criteria whose bars are for every architecture by its own name.
_PER_MODEL = ("fidelity", "reliability", "robustness", "efficiency")
_SEEDS = "Seeds: {}; medians over them unless a metric says otherwise, the worst seed beside them."
_SHORT = {"whitebox": "WB", "blackbox": "BB", "whitebox+blackbox": "", "": ""}
_WHOLE = ("errors", "wrong answers", "bits", "models", "verdicts", "seeds", "pairs", "keys a")


def markdown(results: Results) -> str:
    """The whole table.

    Args:
        results: Of a run.
    """
    parts = [
        f"Device: {results.device}. {_SEEDS.format(results.seeds)}",
        "### What had to be reached\n\n" + "\n".join(_bars(results.rows)),
        "### What was not reached\n\n" + "\n".join(_lost(results.rows)),
    ]
    for criterion in dict.fromkeys(row.criterion for row in results.rows):
        rows = [row for row in results.rows if row.criterion == criterion]
        parts.append(f"### {criterion.capitalize()}\n\n" + "\n\n".join(_by_model(rows)))
    return "\n\n".join(parts) + "\n"


def insert(text: str, docs: Path, *, begin: str = BEGIN) -> None:
    """Replaces what stands between the two marks of a page.

    Args:
        text: What is to stand there.
        docs: The page.
        begin: The first of the marks; the second is `END`.

    Raises:
        ConfigurationError: The page is missing or has no such marks.
    """
    try:
        page = docs.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"{docs}: {error.strerror}") from None
    before, found, rest = page.partition(begin)
    _, end, after = rest.partition(END)
    if not found or not end:
        raise ConfigurationError(f"{docs}: no place for results", advice=f"write {begin}, {END}")
    write_atomically(docs, f"{before}{begin}\n\n{text}\n{END}{after}".encode())


def _bars(rows: Sequence[Row]) -> Iterator[str]:
    values: dict[tuple[str, ...], float] = {_name(row): row.value for row in rows}
    spread = "worst seed, or 95% interval"
    yield from _head("model", "setting", "measured", "bar", "value", spread, "reached")
    for row in rows:
        if row.bar is None:
            continue
        reached = {True: "yes", False: "**no**", None: "not judged"}[row.met]
        yield _line(
            row.model,
            row.setting,
            _column(row),
            row.bar,
            _number(row.metric, row.value),
            _spread(row, values),
            reached,
        )
    for model, bar in _unmeasured(rows):
        name = _column(Row(bar.criterion, model, bar.scheme, bar.setting, bar.metric, 0.0))
        yield _line(model, bar.setting, name, bar.words, "", "", "**not measured**")


def _spread(row: Row, values: Mapping[tuple[str, ...], float]) -> str:
    metric = row.metric.removesuffix(" (mean)")
    names = [f"{metric}{end}" for end in (_WORST, " (95% low)", " (95% high)")]
    worst, low, high = (values.get((*_name(row)[:-1], name)) for name in names)
    if low is not None and high is not None:
        return f"{_number(metric, low)} to {_number(metric, high)}"
    return "" if worst is None else _number(metric, worst)


def _unmeasured(rows: Sequence[Row]) -> Iterator[tuple[str, Bar]]:
    """Bars without a row, of the criteria that each model was measured by."""
    for criterion in _PER_MODEL:
        models = dict.fromkeys(row.model for row in rows if row.criterion == criterion and row.bar)
        for model in models:
            mine = [row for row in rows if row.criterion == criterion and row.model == model]
            for bar in BARS:
                meant = bar.criterion == criterion and (not bar.models or model in bar.models)
                if meant and not any(bar.is_for(row) for row in mine):
                    yield model, bar


def _lost(rows: Iterable[Row]) -> Iterator[str]:
    lost = [row for row in rows if row.met is False]
    for row in lost:
        value = _number(row.metric, row.value)
        yield f"- {row.model}, {row.setting}: {_column(row)} is {value}; the bar: {row.bar}."
    if not lost:
        yield "Nothing that was judged."


def _by_model(rows: Sequence[Row]) -> Iterator[str]:
    for model in dict.fromkeys(row.model for row in rows):
        mine = [row for row in rows if row.model == model]
        groups: dict[tuple[str, ...], list[str]] = {}
        for setting in dict.fromkeys(row.setting for row in mine):
            columns = tuple(_column(row) for row in mine if row.setting == setting)
            groups.setdefault(columns, []).append(setting)
        for columns, settings in groups.items():
            cells = {(row.setting, _column(row)): row for row in mine}
            lines = [*_head(model, *columns)]
            for setting in settings:
                found = [cells[setting, column] for column in columns]
                lines.append(_line(setting, *(_number(row.metric, row.value) for row in found)))
            yield "\n".join(lines)


def _column(row: Row) -> str:
    short = _SHORT.get(row.scheme, row.scheme)
    return f"{short} {row.metric}".strip()


def _number(metric: str, value: float) -> str:
    """A value as its metric is usually written.

    Examples:
        >>> _number("bit errors", 3.0), _number("log10 p", -38.53), _number("drop (mean)", 0.0012)
        ('3', '-38.5', '0.12 points')
        >>> _number("accuracy", 0.89551), _number("rate of keys (highest)", 1.1e-05)
        ('0.8955', '1.1e-05')
    """
    if any(word in metric for word in _WHOLE) and "rate" not in metric:
        return f"{value:,.1f}".removesuffix(".0")
    if "log10" in metric:
        return f"{value:.1f}"
    if re.match("drop", metric):
        return f"{100 * value:.2f} points"
    if "rate of keys" in metric or "attainable" in metric:
        return f"{value:.3g}"
    return f"{value:.1f}" if "seconds" in metric else f"{value:.4g}"


def _name(row: Row) -> tuple[str, str, str, str, str]:
    return row.criterion, row.model, row.scheme, row.setting, row.metric


def _head(*titles: str) -> Iterator[str]:
    yield _line(*titles)
    yield "|" + "---|" * len(titles)


def _line(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
