"""A detector finds what it is said to find, and nothing where there is nothing."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import special, stats
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from benchmarks.detectors import DETECTORS, ModelView, detect, detection, score_interval
from benchmarks.detectors.activations import activation_features
from benchmarks.detectors.weights import weight_features

PARENTS, CLASSES, NEURONS = 6, 6, 48


def parent(seed: int) -> ModelView:
    """A made-up model: two layers as after training, rectified clusters by class."""
    random = np.random.default_rng(seed)
    weights = tuple(
        random.normal(0, 0.1 + 0.005 * random.normal(), shape).astype(np.float32)
        for shape in ((NEURONS, 8, 3, 3), (CLASSES, NEURONS))
    )
    labels = np.repeat(np.arange(CLASSES), 40)
    centres = random.normal(size=(CLASSES, NEURONS))
    activation = np.maximum(centres[labels] + 0.5 * random.normal(size=(240, NEURONS)), 0)
    outputs = activation @ weights[1].T + 0.1 * random.normal(size=(240, CLASSES))
    return ModelView(weights, activation.astype(np.float32), outputs.astype(np.float32), labels)


def tuned(view: ModelView, seed: int) -> ModelView:
    """A little further training: noise on everything."""
    random = np.random.default_rng(seed)
    return ModelView(
        tuple(
            (weight + 0.01 * random.normal(size=weight.shape)).astype(np.float32)
            for weight in view.weights
        ),
        (view.activation * (1 + 0.05 * random.normal(size=NEURONS))).astype(np.float32),
        (view.outputs * (1 + 0.05 * random.normal(size=CLASSES))).astype(np.float32),
        view.labels,
    )


def uchida(view: ModelView, seed: int) -> ModelView:
    """Embeds 64 bits in the mean filter of the first layer (Uchida et al. 2017, section 3)."""
    random = np.random.default_rng(seed)
    weight = view.weights[0].astype(np.float64)
    mean = weight.mean(axis=0).ravel()
    key = random.normal(size=(64, mean.size))
    bits = random.integers(0, 2, 64)
    for _ in range(200):
        mean += 0.01 * key.T @ (bits - special.expit(key @ mean))
    assert ((key @ mean > 0) == bits).all()
    moved = weight + (mean - weight.mean(axis=0).ravel()).reshape(1, *weight.shape[1:])
    return replace(view, weights=(moved.astype(np.float32), *view.weights[1:]))


def populations(
    mark: Callable[[ModelView, int], ModelView],
) -> tuple[list[ModelView], list[ModelView]]:
    parents = [parent(seed) for seed in range(PARENTS)]
    marked = [mark(tuned(view, 100 + seed), seed) for seed, view in enumerate(parents)]
    return marked, [tuned(view, 200 + seed) for seed, view in enumerate(parents)]


def test_uchida_marks_are_seen_in_the_weights() -> None:
    found = detect("weights", *populations(uchida), exchanges=19)
    assert found.auc >= 0.9
    assert found.low > 0.5
    assert found.p <= 0.05
    assert found.pairs == PARENTS


def test_quiet_neurons_are_seen_in_the_activations() -> None:
    def quieter(view: ModelView, seed: int) -> ModelView:
        activation = view.activation.copy()
        chosen = np.random.default_rng(seed).choice(NEURONS, NEURONS // 3, replace=False)
        activation[:, chosen] = np.maximum(activation[:, chosen] - 0.4, 0)
        return replace(view, activation=activation)

    assert detect("activations", *populations(quieter), exchanges=4).auc >= 0.9
    # The weights are as they were: each detector sees only its own.
    blind = detect("weights", *populations(quieter), exchanges=4)
    assert blind.low <= 0.5 <= blind.high


@pytest.mark.parametrize("detector", DETECTORS)
def test_equal_populations_are_told_apart_by_chance_alone(detector: str) -> None:
    found = detect(detector, *populations(lambda view, _seed: view), exchanges=9)
    assert found.low <= 0.5 <= found.high
    assert found.p > 0.1
    # Chance of one detector on six pairs: standard deviation 0.17 to 0.2.
    assert abs(found.auc - 0.5) < 0.4


def test_the_interval_is_widened_to_what_exchanges_show(monkeypatch: pytest.MonkeyPatch) -> None:
    # One feature that tells the kinds apart: exchanged, it gives AUCs all over [0, 1].
    monkeypatch.setitem(DETECTORS, "given", lambda view: view.labels.astype(np.float64))
    blank = np.empty((1, 0), dtype=np.float32)
    views = [ModelView((), blank, blank, np.array([kind])) for kind in (1, 0)]
    found = detect("given", [views[0]] * 5, [views[1]] * 5, exchanges=40)
    assert (found.auc, found.high) == (1, 1)
    assert found.low < score_interval(1.0, 5, 5)[0] - 0.02
    # Of the 32 exchanges of five pairs two leave the kinds whole.
    assert 1 / 41 < found.p < 0.25


def test_the_classifier_is_a_logistic_regression() -> None:
    random = np.random.default_rng(0)
    features = random.normal(size=(40, 6)) * [1, 10, 0.1, 1, 1, 1] + 3
    target = np.where(features[:, 0] + features[:, 1] / 10 + random.normal(size=40) > 6, 1.0, -1.0)
    # One model that is left out, however it looks, changes nothing.
    seen = np.append(np.ones((1, 40), bool), [[False]], axis=1)
    scaler = StandardScaler().fit(features)
    oracle = LogisticRegression(C=1.0, tol=1e-8).fit(scaler.transform(features), target)
    features, target = np.vstack([features, np.full(6, 1e3)]), np.append(target, -1.0)
    np.testing.assert_allclose(
        detection._directions(features, target, seen)[0], oracle.coef_[0] / scaler.scale_, rtol=1e-3
    )


def test_the_interval_is_symmetric_and_never_collapses() -> None:
    assert score_interval(0.0, 10, 10)[0] == 0
    # At 0.8 the variance is 0.16 (1 + 9 (0.2 / 1.2 + 0.8 / 1.8)) / 100 = 0.0104: 1.96 deviations.
    assert score_interval(1.0, 10, 10)[0] == pytest.approx(0.8, abs=0.001)
    assert score_interval(0.0, 10, 10)[1] == pytest.approx(0.2, abs=0.001)
    low, high = score_interval(0.8, 12, 9)
    mirrored = score_interval(0.2, 12, 9)
    assert (1 - high, 1 - low) == pytest.approx(mirrored)
    assert 0 < low < 0.8 < high < 1
    wider = score_interval(0.8, 12, 9, inflation=2.0)
    assert wider[0] < low < high < wider[1]


def test_the_interval_covers_the_true_value() -> None:
    """400 pairs of normal samples, true AUC 0.9: coverage 95%, standard error 1.1 points."""
    random, covered = np.random.default_rng(1), 0
    shift = np.sqrt(2) * stats.norm.ppf(0.9)
    for _ in range(400):
        marked, controls = random.normal(shift, 1, 12), random.normal(0, 1, 12)
        auc = float((marked[:, None] > controls).mean())
        low, high = score_interval(auc, 12, 12)
        covered += low <= 0.9 <= high
    assert covered / 400 >= 0.95 - 4 * 0.011


def test_statistics_are_those_of_their_names() -> None:
    view = parent(0)
    rows = view.weights[1].astype(np.float64)
    layer = weight_features(replace(view, weights=(view.weights[1],)))
    assert layer.shape == (16,)
    assert layer[0] == pytest.approx(np.log(rows.std()))
    assert layer[3] == pytest.approx(stats.kurtosis(rows.ravel(), fisher=False))
    assert layer[12] == pytest.approx(np.log(np.linalg.norm(rows, ord=2)))
    assert weight_features(view).shape == (32,)
    neurons = activation_features(view)
    assert neurons.shape == (30,)
    assert neurons[10] == pytest.approx((view.activation == 0).mean())


def test_dead_neurons_and_layers_are_no_obstacle() -> None:
    def silent(view: ModelView, _seed: int) -> ModelView:
        weights = (np.zeros_like(view.weights[0]), view.weights[1])
        nothing = np.zeros_like(view.activation)
        return ModelView(weights, nothing, np.zeros_like(view.outputs), view.labels)

    silenced, loud = populations(silent)
    for features in DETECTORS.values():
        assert np.isfinite(features(silenced[0])).all()
    assert detect("activations", silenced, loud, exchanges=1).auc == 1
    assert detect("activations", silenced, silenced, exchanges=1).auc == 0.5


@pytest.mark.parametrize(("marked", "controls"), [(3, 3), (5, 4)])
def test_pairs_are_needed(marked: int, controls: int) -> None:
    view = parent(0)
    with pytest.raises(ValueError, match="four or more of each"):
        detect("weights", [view] * marked, [view] * controls)


def test_no_classifier_sees_the_parents_that_it_is_tested_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fitted: list[set[int]] = []

    def first_only(
        features: NDArray[np.float64], target: NDArray[np.float64], seen: NDArray[np.bool_]
    ) -> NDArray[np.float64]:
        assert not (seen @ target).any()
        fitted.extend(set(features[each, 0].tolist()) for each in seen)
        return np.ones((len(seen), 1))

    monkeypatch.setattr(detection, "_directions", first_only)
    features = np.tile(np.arange(4.0), 2)[:, None]
    won = detection._comparisons(features, 4)
    # Every unordered pair of the four parents, and every parent alone, was left out once.
    assert sorted(4 - len(parents) for parents in fitted) == [1] * 4 + [2] * 6
    expected = np.sign(np.subtract.outer(np.arange(4), np.arange(4))) / 2 + 0.5
    np.testing.assert_array_equal(won, expected)
