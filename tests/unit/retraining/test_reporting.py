"""What a marking tells: throttled, in order, never in its way, and never too much."""

import logging
import threading
from collections.abc import Callable

import pytest

from deepsigns_registry.errors import CouldNotCheckError, RefusedError, UnmarkableError
from deepsigns_registry.registry.progress import LONGEST_TEXT, MOST_FINDINGS
from deepsigns_registry.retraining.reporting import ProgressReporter, Told, public_judgement


def test_only_the_last_state_is_sent_within_the_pause_and_the_end_is_never_lost() -> None:
    sent: list[Told] = []
    first = threading.Event()

    def send(told: Told) -> None:
        sent.append(told)
        first.set()

    with ProgressReporter(send, every=3600) as reporter:
        reporter(0.0, "downloading m/1")
        assert first.wait(60)
        for step in range(1, 101):
            reporter(step / 200, f"marking, step {step} of 200", {"step": step, "accuracy": 0.9})
        reporter(0.5, "signing")
    assert [told.detail for told in sent] == ["downloading m/1", "signing"]
    assert sent[-1].progress.figures == {"step": 100, "accuracy": 0.9}
    assert [told.progress.stage for told in sent] == ["downloading m/1", "signing"]


@pytest.mark.parametrize(
    "error", [CouldNotCheckError("the server does not answer"), OSError("no route"), KeyError("x")]
)
def test_a_server_that_fails_does_not_end_the_marking(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    asked = []

    def send(told: Told) -> None:
        asked.append(told)
        raise error

    with ProgressReporter(send, every=0.001) as reporter:
        reporter(0.1, "downloading")
        reporter(0.9, "signing")
    assert asked[-1].detail == "signing"
    assert "progress could not be reported" in caplog.text


def test_a_server_that_hangs_does_not_hold_the_marking_up() -> None:
    release, waiting = threading.Event(), threading.Event()

    def send(_told: Told) -> None:
        waiting.set()
        release.wait(60)

    with ProgressReporter(send, every=0.001) as reporter:
        reporter(0.1, "marking")
        assert waiting.wait(60)
        # The thread is stuck in the server, and this one goes on.
        for step in range(1000):
            reporter(step / 1000, f"marking, step {step}")
        release.set()


def test_nothing_is_sent_once_the_registry_wants_no_more() -> None:
    asked: list[Told] = []
    lost = threading.Event()

    def send(told: Told) -> None:
        asked.append(told)
        lost.set()
        raise RefusedError("the lease is lost")

    with ProgressReporter(send, every=0.001) as reporter:
        reporter(0.1, "marking")
        assert lost.wait(60)
        reporter(0.2, "signing")
    assert len(asked) == 1


def test_the_person_beside_it_sees_everything_at_once() -> None:
    shown: list[tuple[object, ...]] = []

    def show(fraction: float, message: str, /, figures: object = None) -> None:
        shown.append((fraction, message, figures))

    with ProgressReporter(lambda _told: None, show=show, every=3600) as reporter:
        reporter(0.1, "one")
        reporter(0.2, "two", {"accuracy": 0.5})
        assert shown == [(0.1, "one", None), (0.2, "two", {"accuracy": 0.5})]


def clock_of(*seconds: float) -> Callable[[], float]:
    times = iter(seconds)
    return lambda: next(times)


def test_the_time_left_is_what_the_share_that_is_done_tells() -> None:
    sent: list[Told] = []
    with ProgressReporter(sent.append, every=3600, clock=clock_of(100, 101, 130)) as reporter:
        reporter(0.01, "loading")
        assert reporter.because("").progress.seconds_left is None
        reporter(0.25, "marking")
        assert reporter.because("").progress.seconds_left == 90


def test_what_is_no_number_and_what_is_too_long_is_left_out() -> None:
    with ProgressReporter(lambda _told: None, reason="r" * 5000) as reporter:
        reporter(7.0, "a\x00" + "x" * 200, {"accuracy": float("nan"), "loss": float("inf")})
        told = reporter.because("because\n" * 1000)
    assert told.progress.percent == 100
    assert told.progress.figures == {}
    assert len(told.progress.reason) == LONGEST_TEXT
    assert told.progress.reason.startswith("because because")
    assert "\x00" not in told.progress.stage


def test_the_last_reason_stays_until_there_is_another() -> None:
    sent: list[Told] = []
    with ProgressReporter(sent.append, reason="attempt 1: no route") as reporter:
        reporter(0.5, "marking")
    assert sent[-1].progress.reason == "attempt 1: no route"


def test_a_judgement_is_told_short_with_what_refuses_first() -> None:
    document = {
        "score": 0.0889,
        "score_name": "accuracy",
        "figures": {"rows": 1437, "odd": None},
        "findings": [
            {"code": "duplicates", "refuses": False, "message": "d" * 900, "advice": "a"},
            *({"code": f"n{number}", "refuses": False} for number in range(20)),
            {"code": "rotated", "refuses": True, "message": "the classes look\nrotated"},
        ],
    }
    judgement = public_judgement(document)
    assert not judgement.fit
    assert judgement.findings[0].message == "the classes look rotated"
    assert len(judgement.findings) == MOST_FINDINGS
    assert judgement.figures == {"rows": 1437}
    assert judgement.spoken() == (
        "unfit, accuracy 0.0889 of the unmarked model, the classes look rotated, "
        "and 11 more findings"
    )
    assert public_judgement({}).fit


def test_a_judgement_reaches_the_registry_with_the_next_report() -> None:
    sent: list[Told] = []
    with ProgressReporter(sent.append, every=3600) as reporter:
        reporter(0.1, "judging the data")
        reporter.judged({"score": 0.5, "score_name": "R2"})
    judgement = sent[-1].judgement
    assert judgement is not None
    assert (judgement.score, judgement.score_name) == (0.5, "R2")


def test_an_error_leaves_the_block_as_it_was(caplog: pytest.LogCaptureFixture) -> None:
    with (
        caplog.at_level(logging.WARNING),
        pytest.raises(UnmarkableError, match="too narrow"),
        ProgressReporter(lambda _told: None),
    ):
        raise UnmarkableError("layer 'f.1' is too narrow")
    assert not caplog.text
