"""Answers beyond drift: what is taken out, what is found, and that the null is exact."""

import numpy as np
import pytest
from numpy.typing import NDArray

from deepsigns_registry.watermark.calibrated import calibrated_answers

QUERIES, CLASSES = 400, 10


@pytest.fixture
def parent() -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(size=(QUERIES, CLASSES)).astype(np.float32)


def labels_for(parent: NDArray[np.float32], seed: int) -> NDArray[np.int64]:
    steps = np.random.default_rng(seed).integers(0, CLASSES - 1, len(parent))
    return np.asarray((parent.argmax(axis=1) + 1 + steps) % CLASSES, dtype=np.int64)


def marked(parent: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.float32]:
    outputs = parent.copy()
    outputs[np.arange(len(labels)), labels] += 8
    return outputs


def test_a_mark_is_read_through_drift_and_through_a_new_last_layer(
    parent: NDArray[np.float32],
) -> None:
    labels = labels_for(parent, 1)
    outputs = marked(parent, labels)
    assert (calibrated_answers(outputs, parent) == labels).mean() > 0.97
    drift = np.linspace(-60, 60, CLASSES, dtype=np.float32)
    assert ((outputs + drift).argmax(axis=1) == labels).mean() < 0.3
    assert (calibrated_answers(outputs + drift, parent) == labels).mean() > 0.97
    mixing = np.random.default_rng(2).normal(size=(CLASSES, CLASSES)).astype(np.float32)
    centred = parent - parent.mean(axis=1, keepdims=True)
    assert (calibrated_answers(outputs + 5 * centred @ mixing, parent) == labels).mean() > 0.97


def test_probabilities_are_read_like_logits(parent: NDArray[np.float32]) -> None:
    labels = labels_for(parent, 1)
    outputs = np.exp(marked(parent, labels))
    outputs /= outputs.sum(axis=1, keepdims=True)
    assert (calibrated_answers(outputs, parent) == labels).mean() > 0.97


def test_sigmoids_are_read_like_logits(parent: NDArray[np.float32]) -> None:
    """Far on both sides, so that the values themselves hardly differ, and with a drift."""
    labels = labels_for(parent, 1)
    drift = np.linspace(-12, 3, CLASSES, dtype=np.float32)
    logits = marked(parent, labels) + drift
    outputs = (1 / (1 + np.exp(-logits))).astype(np.float32)
    assert (calibrated_answers(outputs, parent) == labels).mean() > 0.97
    certain = (outputs > 0.5).astype(np.float32)
    assert (calibrated_answers(certain, parent) >= 0).all()


@pytest.mark.parametrize("kind", ["noise", "the parent", "one class wins", "labels of its own"])
def test_whatever_a_stranger_answers_matches_are_binomial(
    parent: NDArray[np.float32], kind: str
) -> None:
    """2000 draws of labels: mean 400/9, standard error 0.14; variance 39.5, standard error 1.25."""
    noise = np.random.default_rng(3).normal(size=parent.shape).astype(np.float32)
    outputs = {
        "noise": noise,
        "the parent": parent,
        "one class wins": parent + 50 * np.eye(CLASSES, dtype=np.float32)[3],
        "labels of its own": marked(parent, labels_for(parent, 99)),
    }[kind]
    answers = calibrated_answers(outputs, parent)
    assert (answers != parent.argmax(axis=1)).all()
    found = [(answers == labels_for(parent, seed)).sum() for seed in range(1000, 3000)]
    assert abs(np.mean(found) - QUERIES / 9) < 4 * 0.14
    assert abs(np.var(found) - QUERIES * 8 / 81) < 4 * 1.25


def test_rows_that_are_no_numbers_are_no_answers(parent: NDArray[np.float32]) -> None:
    outputs = marked(parent, labels_for(parent, 1))
    outputs[5] = np.nan
    outputs[6, 2] = np.inf
    answers = calibrated_answers(outputs, parent)
    assert (np.flatnonzero(answers == -1) == [5, 6]).all()
    assert (calibrated_answers(np.full_like(outputs, np.nan), parent) == -1).all()


def test_more_classes_than_queries_leave_something_to_read() -> None:
    """Of 1000 classes only 400 / 20 directions are taken out."""
    random = np.random.default_rng(0)
    parent = random.normal(size=(QUERIES, 1000)).astype(np.float32)
    labels = (parent.argmax(axis=1) + 1 + random.integers(0, 999, QUERIES)) % 1000
    outputs = parent.copy()
    outputs[np.arange(QUERIES), labels] += 12
    assert (calibrated_answers(outputs, parent) == labels).mean() > 0.9
