"""JUnit's XML, read by a library that others read it with."""

import pytest
from junitparser import Error, Failure, JUnitXml, TestCase, TestSuite

from deepsigns_registry.cli.formats.finding import Finding
from deepsigns_registry.cli.formats.junit import render
from deepsigns_registry.cli.printing import shown
from deepsigns_registry.errors import DeepSignsError, in_a_line
from tests.support.findings import ERRORS, HOSTILE, allowed, failed


def parsed(finding: Finding) -> tuple[TestSuite, TestCase]:
    (suite,) = JUnitXml.fromstring(render(finding).encode())
    (case,) = suite
    assert isinstance(suite, TestSuite)
    assert isinstance(case, TestCase)
    counted = (len(suite), suite.failures, suite.errors, suite.skipped)
    suite.update_statistics()
    assert counted == (suite.tests, suite.failures, suite.errors, suite.skipped)
    return suite, case


@pytest.mark.parametrize("name", HOSTILE)
def test_a_yes_passes(name: str) -> None:
    suite, case = parsed(allowed(name))
    assert case.is_passed
    assert (case.classname, case.name) == ("deepsigns.gate", shown(name))
    properties = {entry.name: entry.value for entry in suite.properties()}
    assert properties[f"ignored {shown(name)}"] == shown(name)
    assert properties["owner"] == "f8" * 32
    assert case.system_out is None


@pytest.mark.parametrize("kind", ERRORS)
@pytest.mark.parametrize("name", HOSTILE)
def test_another_answer_does_not(name: str, kind: type[DeepSignsError]) -> None:
    finding = failed(name, kind)
    _, case = parsed(finding)
    (result,) = case.result
    assert type(result) is (Failure if kind.exit_code in {1, 4} else Error)
    assert result.type == kind.code
    said = in_a_line(f"{name} was looked at")
    assert result.message == f"{finding.word}: {said}"
    assert result.text.split("\n") == [result.message, in_a_line(f"look at {name}")]


def test_a_line_without_a_version_has_a_name_too() -> None:
    _, case = parsed(failed("", ERRORS[2]))
    assert case.name == "the command line"
