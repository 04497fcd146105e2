"""Tables, tiles and lists of the report."""

from collections.abc import Sequence
from html import escape

from deepsigns_registry.audit.columns import Column, columns
from deepsigns_registry.audit.expectations import Expectation, Judgement
from deepsigns_registry.audit.finding import Finding
from deepsigns_registry.audit.report_words import chance
from deepsigns_registry.audit.results import Row
from deepsigns_registry.audit.score import capitalised, shown

__all__ = ["checks", "deployment_facts", "results_table", "tiles"]

_TONES = {"present": "good", "absent": "bad", "undecided": "unsure"}
_WORDS = {"present": "found", "absent": "not found", "undecided": "undecided"}


def tiles(finding: Finding) -> str:
    """The numbers that matter, when the deployed file was measured."""
    row = finding.deployed
    if row is None:
        return ""
    attacked = finding.attacked
    survived = sum(attack.verdict == "present" for attack in attacked)
    cells = [
        *(_tile(column, row) for column in columns(finding.schemes)),
        _cell(
            capitalised(finding.score),
            "not measured" if row.accuracy is None else shown(finding.score, row.accuracy),
            "on the owner's validation data",
        ),
        _cell(
            "Attacks survived",
            f"{survived} <small>of {len(attacked)}</small>" if attacked else "none planned",
            "copies in which the mark was still found",
        ),
    ]
    return f'<div class="tiles">{"".join(cells)}</div>'


def deployment_facts(finding: Finding) -> str:
    """Who, what and where, as a list of terms."""
    digest = f"<code>{finding.onnx_digest}</code>" if finding.onnx_digest else "not fetched"
    facts = [
        ("Deployed from", f"<code>{escape(finding.target)}</code>"),
        ("Registered model", escape(finding.model)),
        ("Owner", escape(finding.owner_name or "not named")),
        ("Owner's identity", f"<code>{escape(finding.owner)}</code>"),
        (
            "File",
            f"{digest}<br>SHA-256, {finding.onnx_size:,} bytes" if digest[0] == "<" else digest,
        ),
        ("Attestation", escape(finding.attestation)),
        ("Marking", f"<code>{escape(finding.marking)}</code>" if finding.marking else "none read"),
        ("Adjusted for", f"{finding.tries:,} tries" if finding.tries else "nothing was tried"),
        ("Run on", escape(", ".join(finding.providers) or "not run")),
    ]
    if finding.doors is not None:
        facts.append(("Ran in a room", escape(finding.doors.said)))
    if finding.tracking_run:
        facts.append(("MLflow run", f"<code>{escape(finding.tracking_run)}</code>"))
    return "<dl>" + "".join(f"<dt>{term}</dt><dd>{what}</dd>" for term, what in facts) + "</dl>"


def results_table(finding: Finding) -> str:
    """The results table with its heading; nothing when the audit never came to it."""
    if not finding.rows:
        return ""
    schemes = columns(finding.schemes)
    body = "".join(_row(row, schemes, finding.score) for row in finding.rows)
    titles = "".join(f'<th colspan="2">{escape(column.title)}</th>' for column in schemes)
    headings = "".join(f"<th>{escape(column.heading)}</th><th>Chance</th>" for column in schemes)
    return f"""<h2>Results</h2>
<p class="hint">The table is wider than the screen: swipe it sideways.</p>
<div class="scroll" tabindex="0" role="region" aria-label="Results"><table>
<thead>
<tr><th></th><th></th>{titles}<th></th><th></th></tr>
<tr><th>File</th><th>{escape(capitalised(finding.score))}</th>{headings}<th>Seconds</th>
<th>Mark</th></tr>
</thead>
<tbody>{body}</tbody></table></div>
<p class="note">"Chance" is the adjusted p-value: how likely a model made without the key is to
match at least this well, times the number of tries. At 1 in a million or rarer the mark counts
as found, at 1 in 100 or likelier as not found.</p>"""


def checks(judgement: Judgement) -> str:
    """The expectations: what failed in full, what holds folded away."""
    failed = [e for e in judgement.expectations if not e.success]
    held = [e for e in judgement.expectations if e.success]
    parts = []
    if failed:
        parts.append(_checklist(failed))
    else:
        parts.append(f"<p>All {len(held)} expectations about the results table hold.</p>")
    if held:
        parts.append(
            f"<details><summary>{len(held)} that hold</summary>{_checklist(held)}</details>"
        )
    return "".join(parts)


def _checklist(expectations: list[Expectation]) -> str:
    lines = []
    for expectation in expectations:
        tone = "good" if expectation.success else "unsure" if expectation.kind == "note" else "bad"
        mark = "✓" if expectation.success else "!" if expectation.kind == "note" else "✗"
        detail = f' <span class="detail">({escape(expectation.detail)})</span>'
        lines.append(
            f'<li class="{tone}"><span class="mark">{mark}</span><span>{escape(expectation.about)}'
            f"{detail if expectation.detail else ''}</span></li>"
        )
    return f'<ul class="checks">{"".join(lines)}</ul>'


def _tile(column: Column, row: Row) -> str:
    reading = row.reading(column.scheme)
    if reading is None:
        return _cell(column.title, "not read", "the step could not run")
    return _cell(
        column.title,
        f"{column.count(reading)} <small>{escape(column.beside(reading))}</small>",
        f"by chance: {chance(reading.log10_p_adjusted)}",
    )


def _cell(name: str, value: str, under: str) -> str:
    return (
        f'<div class="tile"><div class="name">{escape(name)}</div><div class="value">{value}</div>'
        f'<div class="under">{escape(under)}</div></div>'
    )


def _row(row: Row, schemes: Sequence[Column], score: str) -> str:
    label = escape(row.label)
    if row.error:
        width = 3 + 2 * len(schemes)
        problem = f'<td class="problem" colspan="{width}">could not check: {escape(row.error)}</td>'
        return f"<tr><td>{label}</td>{problem}</tr>"
    cells = [
        "-" if row.accuracy is None else shown(score, row.accuracy),
        *(cell for column in schemes for cell in _cells(row, column)),
        f"{row.seconds:.1f}",
    ]
    verdict = f'<span class="chip {_TONES[row.verdict]}">{_WORDS[row.verdict]}</span>'
    middle = "".join(f"<td>{cell}</td>" for cell in cells)
    return f"<tr><td>{label}</td>{middle}<td>{verdict}</td></tr>"


def _cells(row: Row, column: Column) -> tuple[str, str]:
    reading = row.reading(column.scheme)
    if reading is None:
        return "-", "-"
    # Standard deviations are no share of the values that they are over.
    of = "" if reading.measured else f" / {reading.trials}"
    return f"{column.count(reading)}{of}", chance(reading.log10_p_adjusted)
