"""How answers are read: what each form still carries, and that scale and drift are taken out."""

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from deepsigns_registry.watermark.cells.carriers import (
    Carriers,
    contrasted_classes,
    contrasts,
    shift_sizes,
)
from deepsigns_registry.watermark.cells.reading import (
    carrier_weights,
    class_residual,
    vector_residual,
)
from deepsigns_registry.watermark.sign_sum import log10_sign_sum

SAMPLES, CLASSES, COMPONENTS = 2000, 10, 6
Floats = NDArray[np.float32]


@pytest.fixture(scope="module")
def carriers() -> Carriers:
    random = np.random.default_rng(0)
    outputs = random.normal(0, 1.5, size=(SAMPLES, CLASSES))
    outputs[np.arange(SAMPLES), np.arange(SAMPLES) % CLASSES] += 7
    logits = outputs.astype(np.float32)
    directions = contrasts(contrasted_classes(logits), CLASSES)
    kinds = logits.argmax(axis=1)
    features = random.normal(size=(SAMPLES, COMPONENTS)).astype(np.float32)
    sizes = shift_sizes(logits, directions, 1.5, 0.5)
    return Carriers(features, logits, directions, kinds, kinds, sizes)


@pytest.fixture(scope="module")
def signs() -> NDArray[np.int8]:
    shape = (CLASSES, COMPONENTS, 7)
    return np.random.default_rng(1).choice(np.array([-1, 1], dtype=np.int8), shape)


@pytest.fixture(scope="module")
def moved(carriers: Carriers, signs: NDArray[np.int8]) -> Floats:
    """The parent's logits, shifted as a marking would, with as much noise."""
    towards = np.einsum("nk,nkj->nj", carriers.features, signs[carriers.cells])
    wanted = carriers.sizes[:, None] * towards / math.sqrt(COMPONENTS)
    shift = np.einsum("nj,njo->no", wanted, carriers.directions[carriers.kinds])
    noise = np.random.default_rng(2).normal(size=shift.shape)
    return np.asarray(carriers.outputs + shift + noise, dtype=np.float32)


def log10_p(outputs: Floats, carriers: Carriers, signs: NDArray[np.int8]) -> float:
    residual = class_residual(outputs, carriers.outputs).values
    weights = carrier_weights(residual, carriers, CLASSES)
    return log10_sign_sum(weights.ravel(), signs.ravel())


def softmax(outputs: NDArray[np.floating[Any]]) -> Floats:
    powers = np.exp(outputs - outputs.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), dtype=np.float32)


def highest(probabilities: Floats, count: int, other: float) -> Floats:
    bar = np.sort(probabilities, axis=1)[:, -count][:, None]
    return np.where(probabilities >= bar, probabilities, np.float32(other)).astype(np.float32)


def test_every_form_is_read_by_what_it_carries(
    carriers: Carriers, moved: Floats, signs: NDArray[np.int8]
) -> None:
    shares = softmax(moved)
    drift = np.linspace(-20, 20, CLASSES, dtype=np.float32)
    forms: dict[str, tuple[NDArray[np.floating[Any]], float]] = {
        "logits": (moved, -100),
        "logits, scaled and drifted": (moved / 3 + drift, -100),
        "a constant a row": (moved + np.arange(SAMPLES, dtype=np.float32)[:, None], -90),
        "probabilities": (shares, -100),
        "four decimals": (shares.round(4), -80),
        "two decimals": (shares.round(2), -10),
        "top five, others 0": (highest(shares, 5, 0), -30),
        "top five, others NaN": (highest(shares, 5, math.nan), -30),
        "top five of softer probabilities": (highest(softmax(moved / 2), 5, 0), -30),
        "sigmoids": ((1 / (1 + np.exp(-moved))).astype(np.float32), -100),
        "a few wild answers": (np.where(np.arange(SAMPLES)[:, None] < 20, 1e30, moved), -90),
        "a third unanswered": (np.where(np.arange(SAMPLES)[:, None] % 3, moved, np.nan), -60),
    }
    for form, (outputs, bar) in forms.items():
        found = log10_p(outputs.astype(np.float32), carriers, signs)
        assert found < bar, (form, found)


def test_forms_are_told_by_the_answers_alone(carriers: Carriers, moved: Floats) -> None:
    shares = softmax(moved)
    labels = moved.argmax(axis=1)
    one_hot = np.eye(CLASSES, dtype=np.float32)[labels]
    for outputs, form in (
        (moved, "logits"),
        (shares, "probabilities"),
        (highest(shares, 3, 0), "some probabilities"),
        (one_hot, "labels"),
        (labels[:, None].astype(np.float32), "labels"),
    ):
        assert class_residual(outputs, carriers.outputs).form == form
    numbers = class_residual(labels[:, None].astype(np.float32), carriers.outputs)
    np.testing.assert_array_equal(numbers.values, class_residual(one_hot, carriers.outputs).values)


def test_labels_are_read_where_shifts_change_them(
    carriers: Carriers, signs: NDArray[np.int8], moved: Floats
) -> None:
    far = carriers.outputs + 4 * (moved - carriers.outputs)
    labels = far.argmax(axis=1)[:, None].astype(np.float32)
    assert log10_p(labels, carriers, signs) < -6


@pytest.mark.parametrize(
    "outputs",
    [
        np.zeros((SAMPLES, CLASSES)),
        np.full((SAMPLES, CLASSES), math.nan),
        np.full((SAMPLES, CLASSES), math.inf),
        np.ones((SAMPLES, CLASSES)) / CLASSES,
        np.full((SAMPLES, 1), 3),
        np.full((SAMPLES, 1), -1),
        np.full((SAMPLES, CLASSES), 3e38),
        np.where(np.arange(CLASSES) == 2, 1, np.nan) * np.ones((SAMPLES, 1)),
    ],
    ids=["zeros", "nan", "infinite", "even", "one label", "no class", "huge", "one known"],
)
def test_answers_that_say_nothing_prove_nothing(
    outputs: Floats, carriers: Carriers, signs: NDArray[np.int8]
) -> None:
    assert log10_p(outputs.astype(np.float32), carriers, signs) > -3


@pytest.mark.parametrize("form", ["logits", "probabilities", "top", "labels"])
def test_signs_of_others_are_chance_in_every_form(
    form: str, carriers: Carriers, moved: Floats
) -> None:
    shares = softmax(moved)
    outputs = {
        "logits": moved,
        "probabilities": shares,
        "top": highest(shares, 3, 0),
        "labels": np.eye(CLASSES, dtype=np.float32)[moved.argmax(axis=1)],
    }[form]
    residual = class_residual(outputs, carriers.outputs).values
    weights = carrier_weights(residual, carriers, CLASSES).ravel()
    others = np.random.default_rng(3).choice([-1, 1], size=(4000, len(weights)))
    z = others @ weights / np.linalg.norm(weights)
    # Four deviations of the mean, and of the standard deviation, of 4,000 normal values.
    assert abs(z.mean()) < 4 / math.sqrt(4000)
    assert abs(z.std() - 1) < 4 / math.sqrt(8000)


def test_of_a_vector_what_the_parent_explains_is_taken_out() -> None:
    random = np.random.default_rng(0)
    parent = random.normal(size=(500, 3)).astype(np.float32)
    mixed = parent @ random.normal(size=(3, 3)).astype(np.float32) + 5
    np.testing.assert_allclose(vector_residual(mixed, parent).values, 0, atol=1e-5)
    extra = random.normal(size=(500, 3)).astype(np.float32)
    found = vector_residual(mixed + extra, parent).values
    assert np.corrcoef(found.ravel(), extra.ravel())[0, 1] > 0.98
    mixed[:200] = np.nan
    assert not vector_residual(mixed, parent).values[:200].any()
