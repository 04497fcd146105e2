"""Markdown, read by a parser of it: what a stranger named is code and nothing else."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from deepsigns_registry.cli.formats.finding import Finding
from deepsigns_registry.cli.formats.markdown import render
from deepsigns_registry.cli.printing import shown
from deepsigns_registry.errors import RefusedError
from tests.support.findings import ERRORS, HOSTILE, allowed, failed

OURS = {"heading", "bullet_list", "list_item", "paragraph", "inline", "text", "strong"}


def tokens(text: str) -> Iterator[Token]:
    for token in MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text):
        yield token
        yield from token.children or ()


def codes(finding: Finding) -> list[str]:
    """What stands in spans of code; nothing else than those and what is ours stands there."""
    found = []
    for token in tokens(render(finding)):
        kind = token.type.removesuffix("_open").removesuffix("_close")
        if kind == "code_inline":
            found.append(token.content)
        else:
            assert kind in OURS
    return found


@pytest.mark.parametrize("name", HOSTILE)
def test_names_are_code(name: str) -> None:
    # A heading's line ends with its blanks; a reason is one line already.
    assert codes(allowed(name))[-2:] == [shown(name), shown(name)]
    for kind in ERRORS:
        subject, reason, advice = codes(failed(name, kind))
        assert subject == shown(name)
        assert reason.endswith("was looked at")
        assert advice.startswith("look at")


@given(st.text(min_size=1))
def test_any_name_is_code(name: str) -> None:
    found = codes(Finding.of_error(name, RefusedError("no")))
    # A span of blanks alone keeps them.
    assert found[0] == (shown(name) if shown(name).strip() else f" {shown(name)} ")


def test_many_leftovers_are_counted() -> None:
    finding = Finding("a", ignored={f"{number}.pyc": "" for number in range(25)})
    assert render(finding).endswith("- **ignored**: 5 more\n")
