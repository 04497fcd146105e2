"""Detectors made for a mark see what that mark does, and each only its own."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.detectors import DETECTORS, MADE_FOR, ModelView, detect

PARENTS, CLASSES, NEURONS, INPUTS, SAMPLES = 12, 6, 48, 60, 600
DEAD = 20


def parent(seed: int) -> ModelView:
    """Two layers that a training moved, but for the weights behind some inputs of the first."""
    random = np.random.default_rng(seed)
    first, last = (
        random.uniform(-1, 1, shape) / np.sqrt(shape[1])
        for shape in ((NEURONS, INPUTS), (CLASSES, NEURONS))
    )
    first[:, DEAD:] += random.normal(0, 0.3, (NEURONS, INPUTS - DEAD)) / np.sqrt(INPUTS)
    last += random.normal(0, 0.5, last.shape) / np.sqrt(NEURONS)
    labels = np.repeat(np.arange(CLASSES), SAMPLES // CLASSES)
    basis = random.normal(size=(8, NEURONS))
    varied = (random.normal(size=(SAMPLES, 8)) + random.normal(size=(CLASSES, 8))[labels]) @ basis
    activation = varied + 0.1 * random.normal(size=varied.shape)
    return view_of((first, last), activation, labels)


def view_of(
    weights: tuple[NDArray[np.float64], ...],
    activation: NDArray[np.float64],
    labels: NDArray[np.int64],
) -> ModelView:
    outputs = activation @ weights[-1].T + 5 * np.eye(CLASSES)[labels]
    plain = tuple(weight.astype(np.float32) for weight in weights)
    return ModelView(plain, activation.astype(np.float32), outputs.astype(np.float32), labels)


def noise_everywhere(view: ModelView, random: np.random.Generator) -> ModelView:
    noisy = tuple(
        weight + 0.1 * weight.std() * random.normal(size=weight.shape).astype(np.float32)
        for weight in view.weights
    )
    return replace(view, weights=noisy)


def noise_where_moved(view: ModelView, random: np.random.Generator) -> ModelView:
    noisy = noise_everywhere(view, random).weights
    noisy[0][:, :DEAD] = view.weights[0][:, :DEAD]
    return replace(view, weights=noisy)


def noise_on_pruned(view: ModelView, random: np.random.Generator) -> ModelView:
    return noise_everywhere(pruned(view, random), random)


def pruned(view: ModelView, random: np.random.Generator) -> ModelView:
    del random
    kept = tuple(
        np.where(np.abs(weight) > np.quantile(np.abs(weight), 0.8), weight, np.float32(0))
        for weight in view.weights
    )
    return replace(view, weights=kept)


def moved_means(view: ModelView, random: np.random.Generator) -> ModelView:
    """Some classes along random directions, as the white box does."""
    moves = np.zeros((CLASSES, NEURONS))
    moves[:3] = 0.8 * random.normal(size=(3, NEURONS))
    activation = view.activation + moves[view.labels]
    return replace(view, activation=activation.astype(np.float32))


def shifted_answers(view: ModelView, random: np.random.Generator) -> ModelView:
    """Each class's logits along all of its components, by as much, as `cells` does."""
    outputs = view.outputs.astype(np.float64)
    for place in range(CLASSES):
        rows = view.labels == place
        features = view.activation[rows] - view.activation[rows].mean(axis=0)
        left = np.linalg.svd(features.astype(np.float64), full_matrices=False)[0][:, :12]
        signs = random.choice([-1, 1], (12, CLASSES))
        signs[:, place] = 0
        outputs[rows] += 0.3 * np.sqrt(rows.sum()) * left @ signs
    return replace(view, outputs=outputs.astype(np.float32))


Mark = Callable[[ModelView, np.random.Generator], ModelView]


def found_by(detector: str, mark: Mark, base: Mark = lambda view, _random: view) -> float:
    parents = [parent(seed) for seed in range(PARENTS)]
    random = np.random.default_rng(7)
    marked = [mark(view, random) for view in parents]
    return detect(detector, marked, [base(view, random) for view in parents], exchanges=1).auc


@pytest.mark.parametrize(
    ("detector", "mark"),
    [
        ("unmoved weights", noise_everywhere),
        ("class means", moved_means),
        ("shifted answers", shifted_answers),
    ],
)
def test_each_sees_what_it_was_made_for(detector: str, mark: Mark) -> None:
    assert found_by(detector, mark) >= 0.9


def test_noise_on_pruned_weights_is_seen() -> None:
    assert found_by("smallest weights", noise_on_pruned, pruned) >= 0.9


def test_noise_that_leaves_out_what_never_moved_is_not_seen() -> None:
    # Of twelve pairs an AUC varies by 0.12 to 0.15 around one half.
    for detector in MADE_FOR:
        assert found_by(detector, noise_where_moved) <= 0.5 + 0.35
    assert found_by("unmoved weights", noise_where_moved) < found_by(
        "unmoved weights", noise_everywhere
    )


@pytest.mark.parametrize("detector", DETECTORS)
def test_a_detector_looks_only_at_the_model(detector: str) -> None:
    view = parent(0)
    first = DETECTORS[detector](view)
    assert np.isfinite(first).all()
    np.testing.assert_array_equal(first, DETECTORS[detector](parent(0)))
    assert not np.array_equal(first, DETECTORS[detector](parent(1)))
