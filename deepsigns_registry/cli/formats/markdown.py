"""Markdown, for the summary of a job or a comment on a merge request.

Whatever is not ours stands in a span of code, where nothing is a link, a mention, a tag or a
column of a table.
"""

import re

from deepsigns_registry.cli.formats.finding import Finding
from deepsigns_registry.cli.printing import shown

__all__ = ["render"]

_MEANINGS = {
    0: "marked and attested, byte for byte",
    1: "not attested",
    2: "the gate is not configured, and checked nothing",
    3: "nothing was decided; this is neither a yes nor a no",
    4: "a signature or a digest does not match: somebody changed something",
}
_MOST_IGNORED = 20


def render(finding: Finding) -> str:
    """A heading and a list."""
    subject = f" {_code(finding.subject)}" if finding.subject else ""
    meaning = _MEANINGS.get(finding.exit_code, _MEANINGS[3])
    kind = "" if finding.code == finding.word else f"{finding.code}, "
    lines = [
        f"### deepsigns gate: {finding.word}{subject}",
        "",
        f"- **answer**: {finding.word} ({kind}exit code {finding.exit_code}): {meaning}",
    ]
    if not finding.allowed:
        lines.append(f"- **reason**: {_code(finding.message)}")
        lines += [f"- **what to do**: {_code(finding.advice)}"] if finding.advice else []
    lines += [f"- **{name}**: {_code(value)}" for name, value in finding.facts.items()]
    names = list(finding.ignored)
    for name in names[:_MOST_IGNORED]:
        lines.append(f"- **ignored**: {_code(name)}: {_code(finding.ignored[name])}")
    if len(names) > _MOST_IGNORED:
        lines.append(f"- **ignored**: {len(names) - _MOST_IGNORED} more")
    return "\n".join(lines) + "\n"


def _code(text: str) -> str:
    """Text that is shown as it is.

    Examples:
        >>> _code("fraud|<b>/7"), _code("`x")
        ('`fraud|<b>/7`', '`` `x ``')
    """
    plain = shown(text) or "?"
    fence = "`" * (1 + max(map(len, re.findall("`+", plain)), default=0))
    # Markdown takes one blank away on both sides, and would take a name's own.
    blank = " " if plain.startswith(("`", " ")) or plain.endswith(("`", " ")) else ""
    return f"{fence}{blank}{plain}{blank}{fence}"
