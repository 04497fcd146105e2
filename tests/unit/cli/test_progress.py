"""What a person sees of a long job."""

import pytest

from deepsigns_registry.cli.progress import Progress


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().err.splitlines()


def test_a_log_gets_a_line_now_and_then_with_the_time_that_is_left(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    progress = Progress("worker", clock)
    for second, share in ((0, 0.0), (1, 0.1), (6, 0.2), (10, 0.5), (20, 1.0)):
        clock.now = 100.0 + second
        progress(share, f"step {second}")
    assert lines(capsys) == [
        "worker: 0% step 0",
        "worker: 20% step 6, about 24 s left",
        "worker: 100% step 20",
    ]


def test_what_was_measured_is_shown_as_long_as_the_stage_lasts(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    progress = Progress("worker", clock)
    told: tuple[tuple[float, str, dict[str, float]], ...] = (
        (0.2, "marking, epoch 1 of 3", {}),
        (0.4, "marking", {"whitebox_errors": 3, "whitebox_bits": 128}),
        (0.5, "marking, epoch 2 of 3", {}),
        (0.9, "signing", {}),
    )
    for number, (share, message, figures) in enumerate(told):
        clock.now = 100.0 + 6 * number
        progress(share, message, figures)
    shown = [line.split(", about")[0] for line in lines(capsys)]
    assert shown == [
        "worker: 20% marking, epoch 1 of 3",
        "worker: 40% marking: white box 3 of 128 bits wrong",
        "worker: 50% marking, epoch 2 of 3: white box 3 of 128 bits wrong",
        "worker: 90% signing",
    ]


def test_another_job_is_timed_by_itself(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress("worker", clock)
    progress(0.0, "a")
    clock.now += 1000
    progress(0.0, "b")
    clock.now += 10
    progress(0.5, "c")
    assert lines(capsys)[-1] == "worker: 50% c, about 10 s left"
