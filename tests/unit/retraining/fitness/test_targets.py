"""Targets of a regressor: of another task, unit, sign or order."""

import numpy as np
import pytest
from numpy.typing import NDArray

from deepsigns_registry.retraining.fitness.logged import judge_logged_r2
from deepsigns_registry.retraining.fitness.targets import judge_targets, relative_errors

RNG = np.random.default_rng(0)
TARGETS = RNG.standard_normal((500, 3))
Floats = NDArray[np.float64]


def predicted(noise: float) -> Floats:
    return TARGETS * (1 - noise / 4) + noise * RNG.standard_normal(TARGETS.shape)


@pytest.mark.parametrize("noise", [0.1, 0.5, 0.8])
def test_a_weak_regressor_is_not_refused(noise: float) -> None:
    assert judge_targets(predicted(noise), TARGETS) == []


@pytest.mark.parametrize(
    ("targets", "said"),
    [
        (RNG.standard_normal((500, 3)), "no better than their mean"),
        (RNG.integers(0, 2, (500, 3)).astype(float) / 20, "R2 -"),
        (-TARGETS, "other sign"),
        (TARGETS * 50 + 100, "times what it predicts, plus 99."),
        (TARGETS[:, [1, 0, 2]], "targets 0, 1 look exchanged"),
        (TARGETS * [1, 1, 0.001] + [0, 0, 9], "target 2 looks like 0.00"),
        (TARGETS * [1, -0.1, 1], "target 1 looks like -0.1"),
    ],
)
def test_other_targets_are_refused_with_the_reason(targets: Floats, said: str) -> None:
    (found,) = judge_targets(predicted(0.2), targets)
    assert found.refuses
    assert said in found.message


def test_far_below_the_logged_r2() -> None:
    errors = relative_errors(predicted(0.9), TARGETS).mean(axis=1)
    train = np.arange(500) < 400
    assert judge_logged_r2({"r2": 0.95}, errors, train)[0].refuses
    assert judge_logged_r2({"r2": 0.3, "r2_cv": 0.99}, errors, train) == []
