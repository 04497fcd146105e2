from typing import TYPE_CHECKING

import numpy as np
import pytest

from deepsigns_registry.watermark.fidelity import accuracy, correct, paired_drop

if TYPE_CHECKING:
    from tests.unit.watermark.conftest import Marked


def test_accuracy_is_the_share_of_correct_answers(marked: "Marked") -> None:
    answers = correct(marked.parent, marked.data.validation)
    assert answers.shape == (300,)
    assert accuracy(marked.parent, marked.data.validation) == answers.mean()
    assert 0.7 < answers.mean() <= 1


def test_equal_answers_have_no_drop() -> None:
    answers = np.array([True, False] * 50)
    drop, low, high = paired_drop(answers, answers)
    assert drop == 0
    assert low < 0 < high
    assert high < 0.03


def test_the_interval_covers_the_true_drop() -> None:
    """500 experiments of 400 samples with a true drop of 0.02: 95% cover it.

    The standard error of the coverage is 0.01; three of them.
    """
    random = np.random.default_rng(0)
    covered = 0
    for _ in range(500):
        cell = random.choice(4, size=400, p=[0.9, 0.03, 0.01, 0.06])
        _, low, high = paired_drop((cell == 0) | (cell == 1), (cell == 0) | (cell == 2))
        covered += low <= 0.02 <= high
    assert covered / 500 > 0.95 - 0.03


def test_answers_must_be_paired() -> None:
    with pytest.raises(ValueError, match="paired answers of shapes"):
        paired_drop(np.ones(3, dtype=np.bool_), np.ones(4, dtype=np.bool_))
