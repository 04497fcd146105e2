"""Simulated keys are what derived keys would be, and a broken null is noticed."""

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import stats

from benchmarks.integrity import (
    LEVELS,
    Null,
    blackbox_null,
    claims,
    derived_evidence,
    exceedances,
    observed,
    trigger_means,
    whitebox_null,
)
from deepsigns_registry.watermark.adapters.eager import EagerTappedModel
from deepsigns_registry.watermark.blackbox import BlackBox
from deepsigns_registry.watermark.calibrated import calibrated_answers
from deepsigns_registry.watermark.data import TrainingData
from deepsigns_registry.watermark.key import RootKey
from deepsigns_registry.watermark.manifest import Manifest
from deepsigns_registry.watermark.projection import centred, read_bits
from deepsigns_registry.watermark.scheme import Preparation
from deepsigns_registry.watermark.settings import MarkSettings
from deepsigns_registry.watermark.tapped import run_batched
from deepsigns_registry.watermark.whitebox import WhiteBox
from tests.unit.benchmarks.conftest import moments

BITS, CARRIERS = 32, 4
# 200 intervals of this confidence fail together once in a hundred runs at most.
CONFIDENCE = 1 - 0.01 / 200


@pytest.fixture(scope="module")
def means() -> NDArray[np.float32]:
    """Three sets of rectified means that resemble each other, as those of a network do."""
    random = np.random.default_rng(0)
    common = random.normal(size=(1, 1, 256))
    values = np.maximum(common + random.normal(size=(3, CARRIERS, 256)), 0)
    return values.astype(np.float32)


def tally(values: NDArray[np.int64], trials: int) -> NDArray[np.int64]:
    return np.bincount(values, minlength=trials + 1)


def same_distribution(first: NDArray[np.int64], second: NDArray[np.int64]) -> float:
    """p-value of the chi-square test on two tallies, tails pooled to 20 counts or more."""
    both = first + second
    middle = np.flatnonzero(both >= 40)
    low, high = middle[0], middle[-1]
    table = np.array(
        [
            [tallied[:low].sum(), *tallied[low : high + 1], tallied[high + 1 :].sum()]
            for tallied in (first, second)
        ]
    )
    return float(stats.chi2_contingency(table[:, table.sum(axis=0) > 0]).pvalue)


def test_projections_drawn_directly_are_those_of_an_explicit_matrix(
    means: NDArray[np.float32],
) -> None:
    random = np.random.default_rng(1)
    explicit = np.zeros(CARRIERS * BITS + 1, dtype=np.int64)
    for rows in means:
        for _ in range(2000):
            projection = random.standard_normal((256, BITS), dtype=np.float32)
            explicit[int(read_bits(rows, projection).sum())] += 1
    direct = whitebox_null(means, bits=BITS, keys=60_000, seed=2).ones
    # One test of this size fails by chance once in 100 000 seeds; the seeds are fixed.
    assert same_distribution(explicit, direct) > 1e-5
    # Two bits of one column are both 1 with probability 1/4 + arcsin(correlation) / (2 pi).
    variance = 0.0
    for rows in means:
        unit = centred(rows).astype(np.float64)
        unit /= np.linalg.norm(unit, axis=1, keepdims=True)
        covariances = np.arcsin(np.clip(unit @ unit.T, -1, 1)) / (2 * math.pi)
        variance += float(covariances.sum()) * BITS / len(means)
    # Relative standard error of a variance over 60 000 draws is 0.6%; five of them.
    assert moments(direct)[1] == pytest.approx(variance, rel=0.03)
    assert variance > 1.5 * CARRIERS * BITS / 4


def test_matches_are_binomial_however_alike_the_means_are(means: NDArray[np.float32]) -> None:
    null = whitebox_null(means, bits=BITS, keys=200_001, seed=3)
    assert null.keys == 200_001
    trials = CARRIERS * BITS
    expected = stats.binom.pmf(np.arange(trials + 1), trials, 0.5) * null.keys
    inner = np.flatnonzero(expected >= 20)
    low, high = inner[0], inner[-1] + 1
    pooled = [
        np.array([values[:low].sum(), *values[low:high], values[high:].sum()])
        for values in (null.matches, expected)
    ]
    assert stats.chisquare(*pooled).pvalue > 1e-5
    assert all(level.exact for level in exceedances(null, confidence=CONFIDENCE))
    assert claims(null, tries=null.keys) == 0


def test_a_signature_that_is_not_random_breaks_the_null(means: NDArray[np.float32]) -> None:
    ones = whitebox_null(means, bits=BITS, keys=200_000, seed=3).ones
    found = exceedances(Null(ones, 0.5, ones), confidence=CONFIDENCE)
    assert not any(level.exact or level.valid for level in found)
    assert found[2].seen > 3 * found[2].attainable * found[2].keys


def test_bits_that_fill_no_byte_are_counted_once() -> None:
    rows = np.random.default_rng(0).normal(size=(1, 3, 20)).astype(np.float32)
    null = whitebox_null(rows, bits=5, keys=40_000, seed=0)
    assert (null.trials, null.keys) == (15, 40_000)
    # Standard errors of mean and variance over 40 000 draws: 0.0097 and 0.026; five of each.
    mean, variance = moments(null.matches)
    assert (abs(mean - 7.5) < 0.05, abs(variance - 3.75) < 0.13) == (True, True)
    # No number of matches of 15 reaches 1e-5.
    last = exceedances(null)[-1]
    assert (last.attainable, last.seen, last.exact) == (0, 0, True)


def test_a_layer_that_says_nothing_matches_by_chance() -> None:
    null = whitebox_null(np.ones((1, 4, 30), dtype=np.float32), bits=16, keys=20_000, seed=0)
    assert null.ones[0] == null.keys
    assert all(level.exact for level in exceedances(null, confidence=CONFIDENCE))


def test_levels_are_those_that_the_verdict_uses() -> None:
    counts = np.zeros(129, dtype=np.int64)
    counts[[64, 83, 104]] = 999_000, 990, 10
    found = {level.level: level for level in exceedances(Null(counts, 0.5, counts))}
    assert tuple(found) == LEVELS
    # 83 of 128 is p = 5.0e-4, and so one of a thousand keys is not too many at 1e-3.
    assert found[1e-3].seen == 1000
    assert found[1e-3].attainable == pytest.approx(stats.binom.sf(81, 128, 0.5))
    assert found[1e-5].seen == 10
    assert found[1e-5].low < 1e-5 < found[1e-5].high
    assert claims(Null(counts, 0.5, counts), tries=1) == 10
    # 104 of 128 is p = 2.4e-13.
    assert claims(Null(counts, 0.5, counts), tries=10**6) == 10
    assert claims(Null(counts, 0.5, counts), tries=10**8) == 0


def test_queries_match_no_more_often_than_promised() -> None:
    random = np.random.default_rng(0)
    parent = random.integers(0, 10, (4, 400))
    answers = np.where(random.random((4, 400)) < 0.3, parent, random.integers(0, 10, (4, 400)))
    null = blackbox_null(answers, parent, classes=10, keys=200_000, seed=1)
    expected = (answers != parent).mean() * 400 / 9
    assert moments(null.matches)[0] == pytest.approx(expected, abs=0.1)
    assert all(level.valid for level in exceedances(null, confidence=CONFIDENCE))
    # A third of the queries cannot match, so the null is not reached either.
    assert not any(level.exact for level in exceedances(null, confidence=CONFIDENCE)[:2])
    silent = np.full_like(parent, -1)
    for nothing in (parent, silent):
        null = blackbox_null(nothing, parent, classes=10, keys=1000, seed=1)
        assert null.matches[0] == 1000


def test_a_model_that_always_disagrees_reaches_the_promised_chance() -> None:
    parent = np.random.default_rng(0).integers(0, 10, (1, 400))
    null = blackbox_null((parent + 1) % 10, parent, classes=10, keys=200_000, seed=2)
    assert all(level.exact for level in exceedances(null, confidence=CONFIDENCE))


def test_what_models_answer_reaches_the_promised_chance(
    unmarked: dict[str, EagerTappedModel], data: TrainingData, settings: MarkSettings
) -> None:
    """Every query has an answer that may match, even if the suspect is the parent itself."""
    parent, place, scheme = unmarked["parent"], torch.device("cpu"), BlackBox()
    given = Preparation(parent, data, Manifest.of(data.train), bytes(32), place, settings)
    secret = scheme.prepare(given)
    logits = secret.arrays["parent_outputs"].astype(np.float32)
    for model in unmarked.values():
        outputs = run_batched(model, scheme.probes(secret).inputs, place)[0]
        answers = calibrated_answers(outputs, logits)[None]
        asked = logits.argmax(axis=1)[None]
        null = blackbox_null(answers, asked, classes=data.classes, keys=200_000, seed=3)
        # 100 queries at 1/5.
        assert moments(null.matches)[0] == pytest.approx(20, abs=0.1)
        assert all(level.exact for level in exceedances(null, confidence=CONFIDENCE))


def test_trigger_means_are_means_of_different_samples_of_different_classes() -> None:
    labels = np.repeat(np.arange(5), 60)[:-20]
    # Neuron 0 tells the class, neuron 1 the sample.
    activation = np.stack([labels, np.arange(len(labels))], axis=1).astype(np.float32)
    means = trigger_means(activation, labels, carriers=4, triggers=60, sets=50, seed=0)
    assert means.shape == (50, 4, 2)
    # Class 4 has only 40 samples; 60 of 60 leave no choice.
    assert {tuple(sorted(drawn[:, 0])) for drawn in means} == {(0, 1, 2, 3)}
    assert len({tuple(drawn[:, 0]) for drawn in means}) > 10
    np.testing.assert_allclose(means[:, :, 1], means[:, :, 0] * 60 + 29.5)
    with pytest.raises(ValueError, match="4 classes with 60 samples, 5 needed"):
        trigger_means(activation, labels, carriers=5, triggers=60, sets=1, seed=0)


def test_derived_keys_read_what_simulated_keys_read(
    unmarked: dict[str, EagerTappedModel], data: TrainingData, settings: MarkSettings
) -> None:
    parent, train = unmarked["parent"], data.train
    keys, bits = range(200), settings.least_bits // settings.carriers
    manifest, ones = Manifest.of(train), []
    for number in keys:
        subkey = RootKey(number.to_bytes(32, "big"), bytes(32)).subkey("whitebox")
        secret = WhiteBox().prepare(
            Preparation(parent, data, manifest, subkey, torch.device("cpu"), settings)
        )
        projection = secret.arrays["projection"].astype(np.float32)
        ones.append(read_bits(secret.arrays["means"].astype(np.float32), projection).sum())
    activation = run_batched(parent, train.inputs, torch.device("cpu"))[1]
    means = trigger_means(
        activation,
        train.labels,
        carriers=settings.carriers,
        triggers=settings.triggers_per_class,
        sets=100,
        seed=0,
    )
    null = whitebox_null(means, bits=bits, keys=100_000, seed=0)
    mean, variance = moments(null.ones)
    # 200 draws: standard error of the mean is its deviation over 14, of the variance 10%.
    assert np.mean(ones) == pytest.approx(mean, abs=5 * math.sqrt(variance / 200))
    assert np.var(ones) == pytest.approx(variance, rel=0.5)
    expected = tally(np.array(ones), 64)
    assert same_distribution(expected, null.ones) > 1e-5


def test_derived_keys_match_by_chance(
    unmarked: dict[str, EagerTappedModel], data: TrainingData, settings: MarkSettings
) -> None:
    parent = unmarked["parent"]
    found = derived_evidence(WhiteBox(), parent, unmarked, data, settings, keys=range(60))
    for evidence in found.values():
        null = observed(evidence)
        assert (null.keys, null.trials) == (60, 64)
        # 60 draws of mean 32 and variance 16: standard errors 0.52 and 2.9; five of each.
        mean, variance = moments(null.matches)
        assert (abs(mean - 32) < 2.6, abs(variance - 16) < 14.6) == (True, True)
        assert all(level.valid for level in exceedances(null, confidence=CONFIDENCE))
    found = derived_evidence(BlackBox(), parent, unmarked, data, settings, keys=range(8))
    for evidence in found.values():
        null = observed(evidence)
        assert all(level.valid for level in exceedances(null, confidence=CONFIDENCE))
        # 800 queries at 1/5: standard error of the mean of eight keys is 1.4; five of them.
        assert abs(moments(null.matches)[0] - 20) < 7.1
