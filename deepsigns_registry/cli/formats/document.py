"""JSON: the document that `--json` prints in every command."""

import json

from deepsigns_registry.cli.envelope import envelope
from deepsigns_registry.cli.formats.finding import Finding

__all__ = ["render"]


def render(finding: Finding) -> str:
    """One JSON document; see `envelope`."""
    error = None
    if finding.answer is None:
        error = {"code": finding.code, "message": finding.message, "advice": finding.advice}
    found = envelope(finding.answer, finding.exit_code, error)
    return json.dumps(found, indent=2, allow_nan=False)
