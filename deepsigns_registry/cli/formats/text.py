"""For a person at a terminal; an error's line stands on standard error, so here it has none."""

from deepsigns_registry.cli.formats.finding import Finding
from deepsigns_registry.cli.printing import shown

__all__ = ["render"]


def render(finding: Finding) -> str:
    r"""Lines for people.

    Examples:
        >>> render(Finding("fraud/7", facts={"owner": "f82b"}))
        'allowed: fraud/7\n  owner   f82b'
    """
    if not finding.allowed:
        return ""
    lines = [f"{finding.headline}: {finding.subject}"]
    lines += [f"  {name:<7} {value}" for name, value in finding.facts.items()]
    lines += [f"  ignored {name}: {why}" for name, why in finding.ignored.items()]
    return "\n".join(map(shown, lines))
