"""How a request is told to a person."""

import os
import pty
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deepsigns_registry.cli.status import _in_a_line, _lines, _Shown
from deepsigns_registry.errors import CouldNotCheckError, DeepSignsError
from deepsigns_registry.registry.figures import STEALTH_COST
from deepsigns_registry.registry.following import follow
from deepsigns_registry.registry.progress import DataFinding, DataJudgement, Progress
from deepsigns_registry.registry.protocol import PromotionRequest, RequestState

FIGURES = {
    "whitebox_errors": 3.0,
    "whitebox_bits": 128.0,
    "blackbox_matches": 380.0,
    "blackbox_queries": 400.0,
    "accuracy": 0.98333,
    "step": 120.0,
}
PROGRESS = Progress(
    stage="marking",
    percent=62,
    seconds_left=200,
    figures=FIGURES,
    reason="attempt 1: the server does not answer",
    updated_at=1_800_000_060_000,
)
JUDGEMENT = DataJudgement(
    score=0.0889,
    score_name="accuracy",
    findings=(DataFinding(code="rotated", refuses=True, message="the classes look rotated"),),
)


def request(state: RequestState = "queued", **changed: object) -> PromotionRequest:
    fields: dict[str, object] = {
        "id": "r",
        "alias": "champion",
        "model": "fraud",
        "version": "7",
        "requested_at": 1_800_000_000_000,
        "state": state,
        "detail": "marking, step 120 of 400",
    }
    return PromotionRequest.model_validate({**fields, **changed})


def test_a_request_at_work_tells_everything() -> None:
    wanted = """
2027-01-15 08:00:00  fraud/7  champion: queued  marking, step 120 of 400
  progress  62%, marking, about 3 min left (at 2027-01-15 08:01:00)
  before    attempt 1: the server does not answer
  evidence  white box 3 of 128 bits wrong, black box 380 of 400 queries match, accuracy 0.9833
  data      unfit, accuracy 0.0889 of the unmarked model, the classes look rotated
"""
    lines = _lines(request(progress=PROGRESS, judgement=JUDGEMENT))
    assert lines == wanted.strip().splitlines()
    assert _in_a_line(request(progress=PROGRESS)) == (
        "fraud/7  champion: queued  marking, step 120 of 400, 62%, about 3 min left, white box 3 "
        "of 128 bits wrong, black box 380 of 400 queries match, accuracy 0.9833"
    )


def test_a_request_that_nobody_reported_on_is_one_line() -> None:
    (line,) = _lines(request("failed", detail="no data"))
    assert line.endswith("fraud/7  champion: failed  no data")


def test_a_request_that_has_ended_keeps_its_evidence_and_has_no_time_left() -> None:
    done = request("done", marked_version="8", detail="", progress=PROGRESS)
    first, evidence = _lines(done)
    assert first.endswith("fraud/7  champion: done -> fraud/8")
    assert evidence.startswith("  evidence  white box 3 of 128")
    assert "left" not in _in_a_line(done)


def test_what_stealth_costs_is_said_of_a_hidden_marking() -> None:
    figures = {"stealth": 1.0, "spread_deviations": 15.3, "spread_trials": 9e5, "accuracy": 0.98}
    lines = _lines(request(progress=PROGRESS.model_copy(update={"figures": figures})))
    evidence, cost = lines[3:]
    assert evidence == "  evidence  weights 15.3 standard deviations, accuracy 0.9800"
    assert cost == f"  stealth   {STEALTH_COST}"
    assert "nothing to ask a service" in cost


def test_the_cost_of_stealth_is_that_of_the_documentation() -> None:
    page = Path(__file__).parents[3] / "docs" / "method.md"
    text = page.read_text(encoding="utf-8")
    paragraph = " ".join(text[text.index("**Stealth**") :].partition("\n\n")[0].split())
    for words in (
        "each on 4,000 samples",
        "log10 p is -53 as marked, -22 after pruning 90%, -46 after ten epochs at 1e-3",
        "at 0.05 and everywhere: -236, -86, -193",
    ):
        assert words in paragraph
    told = re.findall(r"-\d+", STEALTH_COST)
    assert told == ["-53", "-236", "-22", "-86", "-46", "-193"]


def test_a_log_gets_a_line_for_each_change(capsys: pytest.CaptureFixture[str]) -> None:
    shown = _Shown()
    for now in (request(), request(), request(progress=PROGRESS), request("done")):
        shown.show([now])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(",")[0] for line in lines] == [
        "fraud/7  champion: queued  marking",
        "fraud/7  champion: queued  marking",
        "fraud/7  champion: done  marking",
    ]


def test_a_terminal_is_drawn_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    master, slave = pty.openpty()
    monkeypatch.setenv("COLUMNS", "40")
    with os.fdopen(slave, "w") as terminal:
        monkeypatch.setattr(sys, "stdout", terminal)
        shown = _Shown()
        shown.show([request(progress=PROGRESS)])
        shown.show([request("done")])
        terminal.flush()
        # What was written comes in as many parts as the kernel likes.
        seen = ""
        while seen.count("champion") < 2:
            seen += os.read(master, 10_000).decode()
    os.close(master)
    first, second = seen.split("\x1b[4F\x1b[J")
    assert [len(line) <= 39 for line in first.splitlines()] == [True] * 4
    assert second.startswith("2027-01-15 08:00:00  fraud/7  champion")


def looks(*answers: list[PromotionRequest] | DeepSignsError) -> "Iterator[list[PromotionRequest]]":
    left = iter(answers)

    def look() -> list[PromotionRequest]:
        answer = next(left)
        if isinstance(answer, DeepSignsError):
            raise answer
        return answer

    return follow(look, pause=0)


def test_what_is_queued_is_followed_to_its_end_and_nothing_else() -> None:
    old = request("failed", id="old")
    seen = list(
        looks(
            [request(), old],
            CouldNotCheckError("the server is started again"),
            [request(detail="signing"), old],
            [request("done"), old],
        )
    )
    assert [[(one.id, one.state, one.detail) for one in each] for each in seen] == [
        [("r", "queued", "marking, step 120 of 400")],
        [("r", "queued", "signing")],
        [("r", "done", "marking, step 120 of 400")],
    ]


def test_a_request_that_vanishes_has_ended() -> None:
    *_, [last] = looks([request()], [])
    assert (last.state, last.detail) == ("superseded", "it is not known any more")


def test_without_a_queued_request_the_newest_one_tells_how_it_ended() -> None:
    (seen,) = looks([request("failed", id="new"), request("done", id="old")])
    assert [one.id for one in seen] == ["new"]
    assert list(looks([])) == [[]]


def test_a_server_that_stays_away_ends_the_watch() -> None:
    away = CouldNotCheckError("no answer")
    with pytest.raises(CouldNotCheckError, match="no answer"):
        list(looks([request()], *[away] * 100))
    with pytest.raises(CouldNotCheckError, match="no answer"):
        list(looks(away))
