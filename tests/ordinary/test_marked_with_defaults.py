"""Ordinary models by the product's own path, with defaults: a few of `benchmarks ordinary`."""

import pytest

from benchmarks.ordinary.runner import run_trials
from benchmarks.ordinary.trial import ENOUGH, Trial

MARKED = ("fraud10-128-64", "cnn-instancenorm-flat")
REFUSED = "wine-128-64"


@pytest.fixture(scope="module")
def trials() -> dict[str, Trial]:
    # In a process of their own, which has one core: the product takes all that it is given.
    found = run_trials([(name, 0) for name in (*MARKED, REFUSED)], 1, print)
    return {trial.name: trial for trial in found}


@pytest.mark.parametrize("name", MARKED)
def test_an_ordinary_model_is_marked(trials: dict[str, Trial], name: str) -> None:
    trial = trials[name]
    assert (trial.outcome, trial.reason) == ("marked", "")
    assert trial.whitebox_log10_p is not None
    assert trial.whitebox_log10_p <= ENOUGH
    assert trial.blackbox_log10_p is not None
    assert trial.blackbox_log10_p <= ENOUGH
    assert trial.twin != "present"


def test_too_little_data_is_refused_before_training(trials: dict[str, Trial]) -> None:
    trial = trials[REFUSED]
    assert (trial.outcome, trial.late) == ("refused", False)
    assert "different training samples" in trial.reason
