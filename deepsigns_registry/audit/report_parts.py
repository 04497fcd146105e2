"""Tables, tiles and lists of the report."""

from html import escape

from deepsigns_registry.audit.expectations import Expectation, Judgement
from deepsigns_registry.audit.finding import Finding
from deepsigns_registry.audit.report_words import chance
from deepsigns_registry.audit.results import Row

__all__ = ["checks", "deployment_facts", "results_table", "tiles"]

_TONES = {"present": "good", "absent": "bad", "undecided": "unsure"}
_WORDS = {"present": "found", "absent": "not found", "undecided": "undecided"}


def tiles(finding: Finding) -> str:
    """The four numbers that matter, when the deployed file was measured."""
    row = finding.deployed
    if row is None:
        return ""
    attacked = finding.attacked
    survived = sum(attack.verdict == "present" for attack in attacked)
    cells = [
        _tile(
            "White box",
            row.whitebox_bit_errors,
            f"of {row.whitebox_bits} bits wrong",
            row.whitebox_log10_p_adjusted,
        ),
        _tile(
            "Black box",
            row.blackbox_matches,
            f"of {row.blackbox_queries} answers",
            row.blackbox_log10_p_adjusted,
        ),
        _cell(
            "Accuracy",
            "not measured" if row.accuracy is None else f"{row.accuracy:.1%}",
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
    if finding.tracking_run:
        facts.append(("MLflow run", f"<code>{escape(finding.tracking_run)}</code>"))
    return "<dl>" + "".join(f"<dt>{term}</dt><dd>{what}</dd>" for term, what in facts) + "</dl>"


def results_table(finding: Finding) -> str:
    """The results table with its heading; nothing when the audit never came to it."""
    if not finding.rows:
        return ""
    body = "".join(_row(row) for row in finding.rows)
    return f"""<h2>Results</h2>
<div class="scroll"><table>
<thead>
<tr><th></th><th></th><th colspan="2">White box</th><th colspan="2">Black box</th>
<th></th><th></th></tr>
<tr><th>File</th><th>Accuracy</th><th>Bit errors</th><th>Chance</th><th>Matches</th><th>Chance</th>
<th>Seconds</th><th>Mark</th></tr>
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


def _tile(name: str, count: int | None, of: str, log10_p: float | None) -> str:
    if count is None or log10_p is None:
        return _cell(name, "not read", "the step could not run")
    return _cell(name, f"{count} <small>{escape(of)}</small>", f"by chance: {chance(log10_p)}")


def _cell(name: str, value: str, under: str) -> str:
    return (
        f'<div class="tile"><div class="name">{name}</div><div class="value">{value}</div>'
        f'<div class="under">{escape(under)}</div></div>'
    )


def _row(row: Row) -> str:
    label = escape(row.label)
    if row.error:
        problem = f'<td class="problem" colspan="7">could not check: {escape(row.error)}</td>'
        return f"<tr><td>{label}</td>{problem}</tr>"
    cells = [
        "-" if row.accuracy is None else f"{row.accuracy:.1%}",
        _count(row.whitebox_bit_errors, row.whitebox_bits),
        _chance(row.whitebox_log10_p_adjusted),
        _count(row.blackbox_matches, row.blackbox_queries),
        _chance(row.blackbox_log10_p_adjusted),
        f"{row.seconds:.1f}",
    ]
    verdict = f'<span class="chip {_TONES[row.verdict]}">{_WORDS[row.verdict]}</span>'
    middle = "".join(f"<td>{cell}</td>" for cell in cells)
    return f"<tr><td>{label}</td>{middle}<td>{verdict}</td></tr>"


def _count(count: int | None, total: int | None) -> str:
    return "-" if count is None or total is None else f"{count} / {total}"


def _chance(log10_p: float | None) -> str:
    return "-" if log10_p is None else chance(log10_p)
