"""What strangers named never steers a terminal, and forges no line of a log."""

import logging
import sys

import click
import pytest
from click.testing import CliRunner

from deepsigns_registry.cli.printing import echo, keep_logs_plain, shown
from deepsigns_registry.cli.status import _echo
from deepsigns_registry.registry.protocol import PromotionRequest

NASTY = "a\x1b[2J\x1b]0;title\x07\r\u202e\u2028\x9b1m\nallowed: b"


@click.command()
def command() -> None:
    echo(NASTY)
    echo(NASTY, err=True)


def test_a_line_is_one_line_of_plain_signs() -> None:
    result = CliRunner().invoke(command)
    for text in (result.stdout, result.stderr):
        assert text.count("\n") == 1
        assert text.removesuffix("\n").isprintable()


def test_spaces_and_letters_of_every_language_stay() -> None:
    assert shown("  a  é 模型 ") == "  a  é 模型 "


def test_a_tag_forges_no_line(capsys: pytest.CaptureFixture[str]) -> None:
    request = PromotionRequest(
        id="r", alias=NASTY, model=NASTY, version=NASTY, requested_at=0, detail=NASTY
    )
    _echo([request], as_json=False)
    printed = capsys.readouterr().out
    assert printed.count("\n") == 1
    assert printed.removesuffix("\n").isprintable()


@pytest.mark.parametrize("milliseconds", [2**53, 10**300])
def test_a_time_that_no_clock_says_is_no_error(milliseconds: int) -> None:
    from deepsigns_registry.cli.status import _time

    assert _time(milliseconds).startswith("????")


def test_logs_that_nobody_set_up_are_plain(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    last = logging.lastResort
    assert last is not None
    monkeypatch.setattr(last, "formatter", None)
    keep_logs_plain()
    record = logging.LogRecord("a", logging.WARNING, "f", 1, "report %s", (NASTY,), None)
    assert "\x1b" not in last.format(record)
    print(last.format(record), file=sys.stderr)  # noqa: T201
    assert "\x1b" not in capsys.readouterr().err
