"""Labels of other names, labels dealt at random, labels that are wrong, and honest weak parents."""

import numpy as np
import pytest
from numpy.typing import NDArray

from deepsigns_registry.retraining.fitness.chance import judge_chance
from deepsigns_registry.retraining.fitness.contradictions import judge_contradictions
from deepsigns_registry.retraining.fitness.logged import judge_logged, logged_score
from deepsigns_registry.retraining.fitness.names import best_renaming, judge_names
from deepsigns_registry.retraining.fitness.seen import log_shares

CLASSES = 6


def parent(
    rng: np.random.Generator, share: float, *, samples: int = 1200, sure: float = 0.0
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float64]]:
    """Clouds of samples, and answers that are right in this share of them.

    It is as sure as it is right, and by `sure` logits surer.
    """
    labels = rng.integers(0, CLASSES, samples)
    inputs = (4 * np.eye(CLASSES)[labels] + rng.standard_normal((samples, CLASSES))).astype("f4")
    answers = np.where(rng.random(samples) < share, labels, rng.integers(0, CLASSES, samples))
    lead = np.log(max(share, 0.05) * (CLASSES - 1) / max(1 - share, 0.01)) + sure
    logits = max(lead, 0.2) * np.eye(CLASSES)[answers] + 0.1 * rng.standard_normal((samples, 6))
    return inputs, labels, log_shares(logits)


@pytest.mark.parametrize("share", [0.3, 0.5, 0.7, 0.95])
def test_a_parent_of_any_strength_knows_its_own_names(share: float) -> None:
    for seed in range(10):
        inputs, labels, shares = parent(np.random.default_rng(seed), share)
        assert judge_names(labels, shares.argmax(axis=1), CLASSES) == []
        assert judge_chance(labels, shares) == []
        assert judge_contradictions(inputs, labels, shares) == []


@pytest.mark.parametrize("share", [0.6, 0.8, 0.99])
def test_exchanged_classes_are_named(share: float) -> None:
    _, labels, shares = parent(np.random.default_rng(1), share)
    names = np.array([0, 1, 2, 5, 4, 3])
    (found,) = judge_names(names[labels], shares.argmax(axis=1), CLASSES)
    assert found.refuses
    assert "classes 3 and 5 look exchanged" in found.message


def test_rotated_classes_are_found_whole() -> None:
    _, labels, shares = parent(np.random.default_rng(1), 0.9)
    found = best_renaming((labels + 1) % CLASSES, shares.argmax(axis=1), CLASSES)
    assert found is not None
    assert found.moves == {label: (label - 1) % CLASSES for label in range(CLASSES)}
    assert found.before < 0.1
    assert found.after > 0.9


def test_a_parent_that_gives_one_class_for_another_has_not_exchanged_them() -> None:
    labels = np.repeat([0, 1, 2], 300)
    answers = np.repeat([1, 1, 2], 300)
    assert best_renaming(labels, answers, 3) is None


def test_classes_with_few_samples_prove_nothing() -> None:
    labels = np.array([0] * 200 + [1] * 3 + [2] * 3)
    answers = np.array([0] * 200 + [2] * 3 + [1] * 3)
    assert best_renaming(labels, answers, 3) is None


def test_labels_dealt_at_random_are_refused() -> None:
    rng = np.random.default_rng(3)
    _, labels, shares = parent(rng, 0.9)
    (found,) = judge_chance(rng.permutation(labels), shares)
    assert found.refuses
    assert "no better than chance" in found.message


def test_always_the_most_frequent_class_is_chance_only_if_it_claims_more() -> None:
    rng = np.random.default_rng(4)
    labels = (rng.random(3000) < 0.01).astype(np.int64)
    modest = log_shares(np.tile([4.6, 0.0], (3000, 1)) + 0.01 * rng.standard_normal((3000, 2)))
    assert judge_chance(labels, modest) == []
    assert judge_chance(1 - labels, modest)[0].refuses


@pytest.mark.parametrize("wrong", [0.1, 0.3])
def test_wrong_labels_are_counted(wrong: float) -> None:
    rng = np.random.default_rng(5)
    inputs, labels, shares = parent(rng, 0.98, sure=3)
    spoilt = rng.random(len(labels)) < wrong
    labels[spoilt] = (labels[spoilt] + 1 + rng.integers(0, CLASSES - 1, spoilt.sum())) % CLASSES
    (found,) = judge_contradictions(inputs, labels, shares)
    assert found.code == "wrong-labels"
    assert found.refuses


def test_a_parent_that_is_wrong_and_sure_has_no_wrong_labels() -> None:
    """The neighbours side with the labels: the parent does not know this data."""
    inputs, labels, shares = parent(np.random.default_rng(6), 0.3, sure=8)
    (found,) = judge_contradictions(inputs, labels, shares)
    assert found.code == "another-data"


def test_far_below_what_was_logged() -> None:
    right = np.arange(2000) % 10 < 8
    train = np.arange(2000) < 1500
    (found,) = judge_logged({"val_accuracy": 0.97}, right, train)
    assert "0.800" in found.message
    assert "0.970" in found.message
    assert judge_logged({"val_accuracy": 0.82}, right, train) == []
    assert judge_logged({"best_accuracy": 0.97, "auc": 1.0}, right, train) == []
    # It was trained on one of the splits: that the other is harder is ordinary.
    assert judge_logged({"accuracy": 0.99}, right | train, train) == []
    # Unless the metric says that it was measured there.
    (found,) = judge_logged({"accuracy": 0.8, "valid_acc": 0.97}, right | train, train)
    assert "valid_acc was logged as 0.970" in found.message
    assert judge_logged({"value_accuracy": 0.97}, right | train, train) == []


@pytest.mark.parametrize(
    ("metrics", "found"),
    [
        ({"accuracy": 98.0}, ("accuracy", 0.98)),
        ({"train_acc": 1.0, "test_acc": 0.5}, ("test_acc", 0.5)),
        ({"accuracy": -1.0}, None),
        ({"top5_accuracy": 0.9, "balanced_accuracy": 0.9}, None),
        ({}, None),
    ],
)
def test_which_metric_is_accuracy(
    metrics: dict[str, float], found: tuple[str, float] | None
) -> None:
    assert logged_score(metrics, "accuracy") == found


def test_two_classes_that_were_made_one_are_named() -> None:
    random = np.random.default_rng(0)
    answers = random.integers(0, 10, 1000)
    labels = np.where(answers == 7, 3, answers)
    (found,) = judge_names(labels, answers, 10)
    assert "no sample is labelled 7" in found.message
    assert "that the parent answers 7 are labelled 3: the two classes look merged" in found.message


def test_a_class_that_the_data_lacks_is_not_merged() -> None:
    """The parent answers it now and then, for samples of every class."""
    random = np.random.default_rng(0)
    labels = random.integers(0, 9, 1000)
    answers = np.where(random.random(1000) < 0.1, 9, labels)
    assert not judge_names(labels, answers, 10)


def test_a_parent_that_is_right_far_less_often_than_it_claims_is_of_other_data() -> None:
    """Neighbours know nothing either: what told the classes is gone from the inputs."""
    random = np.random.default_rng(0)
    labels = random.integers(0, CLASSES, 1200)
    known = np.where(random.random(1200) < 0.3, labels, random.integers(0, CLASSES, 1200))
    shares = log_shares(5 * np.eye(CLASSES)[known])
    inputs = random.normal(size=(1200, 4)).astype(np.float32)
    (found,) = judge_contradictions(inputs, labels, shares)
    assert "the parent claims to be right in 9" in found.message
    modest = log_shares(0.9 * np.eye(CLASSES)[known])
    assert not judge_contradictions(inputs, labels, modest)
