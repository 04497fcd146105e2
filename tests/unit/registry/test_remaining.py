"""What is said of the time that is left."""

from deepsigns_registry.registry.remaining import Remaining


def estimate(passed: float, share: float) -> float | None:
    times = iter([100.0, 100.0 + passed])
    return Remaining(lambda: next(times)).seconds(share)


def test_the_first_part_tells_how_long_the_rest_takes() -> None:
    assert estimate(30, 0.25) == 90
    assert estimate(30, 1.0) == 0


def test_nothing_is_said_before_there_is_something_to_go_by() -> None:
    assert estimate(4, 0.5) is None
    assert estimate(300, 0.01) is None
