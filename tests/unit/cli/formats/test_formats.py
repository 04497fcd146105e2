"""What all formats have in common."""

import json

import pytest

from deepsigns_registry.cli.envelope import envelope
from deepsigns_registry.cli.formats import ENDINGS, FORMATS, asked_format
from deepsigns_registry.cli.formats.finding import WORDS, Finding
from deepsigns_registry.errors import DeepSignsError
from tests.support.findings import ERRORS, HOSTILE, allowed, failed

TOLD = [name for name in FORMATS if name != "text"]


def test_each_ending_names_a_format() -> None:
    assert sorted(ENDINGS.values()) == sorted(TOLD)


@pytest.mark.parametrize("form", TOLD)
def test_no_two_kinds_of_answer_look_alike(form: str) -> None:
    kinds = {FORMATS[form](failed("fraud/7", kind)) for kind in ERRORS}
    assert len({*kinds, FORMATS[form](allowed("fraud/7"))}) == len(ERRORS) + 1


@pytest.mark.parametrize("form", sorted(FORMATS))
@pytest.mark.parametrize("name", HOSTILE)
def test_no_name_steers_a_terminal_or_a_runner(form: str, name: str) -> None:
    for finding in (allowed(name), *(failed(name, kind) for kind in ERRORS)):
        for line in FORMATS[form](finding).split("\n"):
            assert all(sign.isprintable() for sign in line)
            assert not line.lstrip().startswith(("::", "##["))


@pytest.mark.parametrize("kind", ERRORS)
def test_the_word_is_that_of_the_exit_code(kind: type[DeepSignsError]) -> None:
    finding = failed("fraud/7", kind)
    assert finding.word == WORDS[kind.exit_code]
    assert (finding.code, finding.allowed) == (kind.code, False)


def test_text_is_for_a_yes_alone() -> None:
    assert FORMATS["text"](failed("fraud/7", ERRORS[0])) == ""
    assert FORMATS["text"](Finding("a\nb", ignored={".DS_Store": "why"})) == (
        "allowed: a?b\n  ignored .DS_Store: why"
    )


def test_json_is_the_envelope() -> None:
    assert json.loads(FORMATS["json"](allowed("a"))) == envelope({"uri": "a"})
    found = json.loads(FORMATS["json"](failed("a", ERRORS[0])))
    error = {"code": "refused", "message": "a was looked at", "advice": "look at a"}
    assert found == envelope(None, 1, error)


@pytest.mark.parametrize(
    ("words", "form"),
    [
        ("gate a", "text"),
        ("gate a --format", "text"),
        ("gate a --format nothing", "text"),
        ("gate a --format sarif", "sarif"),
        ("gate a --format=markdown --no", "markdown"),
        ("gate a --format junit --json", "json"),
        ("gate -- --format sarif", "text"),
    ],
)
def test_the_format_is_known_before_the_line_is_understood(words: str, form: str) -> None:
    assert asked_format(words.split()) == form
