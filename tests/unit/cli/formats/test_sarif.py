"""SARIF, held against a model of its schema and against what its text asks besides."""

import json
import re
from typing import Any

import pytest
from sarif_pydantic import Sarif

from deepsigns_registry.cli.formats.finding import Finding
from deepsigns_registry.cli.formats.sarif import render
from deepsigns_registry.errors import DeepSignsError
from tests.support.findings import ERRORS, HOSTILE, allowed, failed


def run_of(finding: Finding) -> Any:
    """The only run of a document that the schema's model reads, and that says no more than it."""
    text = render(finding)
    document = json.loads(text)
    kept = Sarif.model_validate_json(text).model_dump(mode="json", by_alias=True, exclude_none=True)
    assert document["$schema"].endswith("sarif-2.1.0.json")
    assert kept["version"] == document["version"] == "2.1.0"
    (run,) = document["runs"]
    assert run["tool"]["driver"]["name"]
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    assert len(set(rules)) == len(rules)
    for result in run["results"]:
        assert rules[result["ruleIndex"]] == result["ruleId"]
        assert result["message"]["text"]
        # A kind but `fail` has no level.
        assert (result["kind"] == "fail") == (result["level"] == "error")
        (place,) = result["locations"]
        assert place["physicalLocation"]["artifactLocation"]["uri"] == "deepsigns.toml"
    (invocation,) = run["invocations"]
    assert isinstance(invocation["executionSuccessful"], bool)
    assert invocation["exitCode"] == finding.exit_code
    return run


@pytest.mark.parametrize("name", HOSTILE)
def test_a_yes_has_no_results(name: str) -> None:
    run = run_of(allowed(name))
    assert run["results"] == []
    assert run["invocations"] == [{"executionSuccessful": True, "exitCode": 0}]
    assert run["properties"]["answer"] == "allowed"


@pytest.mark.parametrize("kind", ERRORS)
@pytest.mark.parametrize("name", HOSTILE)
def test_another_answer_is_one(name: str, kind: type[DeepSignsError]) -> None:
    finding = failed(name, kind)
    run = run_of(finding)
    (result,) = run["results"]
    (invocation,) = run["invocations"]
    checked = kind.exit_code in {1, 4}
    assert result["ruleId"] == f"deepsigns/{finding.word.replace(' ', '-')}"
    assert result["kind"] == ("fail" if checked else "open")
    assert invocation["executionSuccessful"] is checked
    noted = [key for key in invocation if key.endswith("Notifications")]
    assert noted == {
        2: ["toolConfigurationNotifications"],
        3: ["toolExecutionNotifications"],
    }.get(kind.exit_code, [])
    text = result["message"]["text"]
    # Outside of pairs there is no brace, and no bracket without a stroke before it.
    assert not re.search(r"[{}]", text.replace("{{", "").replace("}}", ""))
    assert not re.search(r"[\[\]]", re.sub(r"\\[\\\[\]]", "", text))


@pytest.mark.parametrize(
    ("settings", "uri"),
    [
        ("ci/deepsigns.toml", "ci/deepsigns.toml"),
        ("/srv/secret/deepsigns.toml", "deepsigns.toml"),
        ("a b/ü.toml", "a%20b/%C3%BC.toml"),
    ],
)
def test_a_place_is_relative(settings: str, uri: str) -> None:
    finding = Finding.of_error("fraud/7", ERRORS[0]("no"), settings=settings)
    (result,) = json.loads(render(finding))["runs"][0]["results"]
    assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == uri
