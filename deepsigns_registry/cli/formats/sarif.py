"""SARIF 2.1.0, which GitHub's code scanning and others show as findings.

*Refused* and *tampered* fail different rules. What could not be checked is a result of the kind
`open`, whose run did not succeed: without a result it would look like a gate that found nothing.
"""

import json
import re
from pathlib import PurePath
from urllib.parse import quote

from deepsigns_registry import __version__
from deepsigns_registry.cli.formats.finding import Finding
from deepsigns_registry.cli.printing import shown

__all__ = ["render"]

_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_RULES = {
    "refused": "A version that is released is attested",
    "tampered": "What is released are the bytes that were signed",
    "configuration": "The gate is configured",
    "could not check": "The gate comes to an answer",
}
_SEVERITY = {"refused": "7.0", "tampered": "9.5", "configuration": "5.0", "could not check": "5.0"}


def render(finding: Finding) -> str:
    """One run, with one result where the answer is not yes."""
    run: dict[str, object] = {
        "tool": {
            "driver": {
                "name": "deepsigns gate",
                "semanticVersion": __version__,
                "rules": [
                    {
                        "id": _id(word),
                        "shortDescription": {"text": text},
                        "properties": {"security-severity": _SEVERITY[word]},
                    }
                    for word, text in _RULES.items()
                ],
            }
        },
        "columnKind": "unicodeCodePoints",
        "invocations": [_invocation(finding)],
        "results": [] if finding.allowed else [_result(finding)],
        "properties": {
            "subject": shown(finding.subject),
            "answer": finding.word,
            "facts": {shown(name): shown(value) for name, value in finding.facts.items()},
            "ignored": {shown(name): shown(why) for name, why in finding.ignored.items()},
        },
    }
    return json.dumps({"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2)


def _result(finding: Finding) -> dict[str, object]:
    found = finding.exit_code in {1, 4}
    place: dict[str, object] = {
        "physicalLocation": {"artifactLocation": {"uri": _uri(finding.settings)}}
    }
    if finding.subject:
        place["logicalLocations"] = [
            {"fullyQualifiedName": shown(finding.subject), "kind": "resource"}
        ]
    return {
        "ruleId": _id(finding.word),
        "ruleIndex": list(_RULES).index(finding.word),
        "kind": "fail" if found else "open",
        "level": "error" if found else "none",
        "message": _message(finding),
        "locations": [place],
        "properties": {"code": finding.code},
    }


def _invocation(finding: Finding) -> dict[str, object]:
    checked = finding.exit_code in {0, 1, 4}
    invocation: dict[str, object] = {
        "executionSuccessful": checked,
        "exitCode": finding.exit_code,
    }
    if not checked:
        kind = "Configuration" if finding.exit_code == 2 else "Execution"
        invocation[f"tool{kind}Notifications"] = [
            {
                "descriptor": {"id": finding.code},
                "level": "error",
                "message": _message(finding),
            }
        ]
    return invocation


def _message(finding: Finding) -> dict[str, str]:
    text = f"{finding.word}: {finding.message}"
    if finding.advice:
        text += f"; {finding.advice}"
    # Braces would be placeholders there, and brackets links.
    escaped = re.sub(r"[\\\[\]]", r"\\\g<0>", shown(text)).replace("{", "{{").replace("}", "}}")
    return {"text": escaped}


def _id(word: str) -> str:
    return f"deepsigns/{word.replace(' ', '-')}"


def _uri(settings: str) -> str:
    """The settings file, relative to the repository; an absolute path would name the machine's."""
    path = PurePath(settings)
    return quote(path.name if path.is_absolute() else path.as_posix(), errors="replace")
