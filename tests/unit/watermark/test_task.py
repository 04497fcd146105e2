"""Losses and scores of the tasks, against definitions and against scikit-learn."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, r2_score
from torch import nn

from deepsigns_registry.watermark.adapters.eager import EagerTappedModel
from deepsigns_registry.watermark.data import LabelledData
from deepsigns_registry.watermark.fidelity import mark_cost
from deepsigns_registry.watermark.targets import task_loss, task_targets
from deepsigns_registry.watermark.task import task_score


def normal(seed: int, *shape: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), targets=st.integers(1, 4), unit=st.sampled_from([1e-3, 1, 1e4]))
def test_the_score_of_a_regressor_is_r2(seed: int, targets: int, unit: float) -> None:
    wanted = normal(seed, 40, targets) * np.float32(unit)
    given_ = wanted + np.float32(0.3 * unit) * normal(seed + 1, 40, targets)
    assert task_score(given_, wanted, "regression") == pytest.approx(r2_score(wanted, given_))


def test_the_score_of_a_classifier_is_its_accuracy() -> None:
    outputs, labels = normal(0, 50, 4), np.arange(50) % 4
    expected = accuracy_score(labels, outputs.argmax(axis=1))
    assert task_score(outputs, labels, "classification") == expected


def test_the_score_of_vectors_ignores_their_length() -> None:
    vectors = normal(0, 30, 8)
    assert task_score(3 * vectors, vectors, "embedding") == pytest.approx(1)
    assert task_score(-vectors, vectors, "embedding") == pytest.approx(-1)
    assert task_score(np.zeros_like(vectors), vectors, "embedding") == 0


@pytest.mark.parametrize("unit", [1e-3, 1.0, 1e3])
def test_the_loss_of_a_regressor_has_no_unit(unit: float) -> None:
    labels = normal(0, 200, 2) * np.float32(unit)
    data = LabelledData(normal(1, 200, 5), labels)
    targets = task_targets(EagerTappedModel(nn.Sequential(nn.Linear(5, 2)), "0"), data)
    mean = torch.from_numpy(labels.mean(axis=0)).expand(200, 2)
    loss = task_loss(mean, torch.from_numpy(targets.values), "regression", targets.spread)
    # Who always gives the mean leaves all of the variance: R2 is 0, the loss 1.
    assert float(loss) == pytest.approx(1, rel=1e-4)


def test_one_target_may_come_without_a_dimension() -> None:
    outputs, targets = torch.arange(4.0), torch.arange(4.0)[:, None]
    assert float(task_loss(outputs, targets, "regression")) == 0


def test_an_embedding_model_is_held_where_it_is() -> None:
    torch.manual_seed(0)
    model = EagerTappedModel(nn.Sequential(nn.Linear(5, 3)), "0")
    data = LabelledData.without_labels(normal(0, 20, 5))
    targets = task_targets(model, data)
    with torch.no_grad():
        outputs = model(torch.from_numpy(data.inputs)).outputs
    wanted = torch.from_numpy(targets.values)
    assert float(task_loss(outputs, wanted, "embedding", targets.spread)) < 1e-12
    assert float(task_loss(outputs + 1, wanted, "embedding", targets.spread)) > 0


def test_the_cost_of_a_worse_regressor_is_its_loss_of_r2() -> None:
    wanted = normal(0, 300, 1)
    data = LabelledData(normal(1, 300, 2), wanted)
    good, bad = wanted + 0.1 * normal(2, 300, 1), wanted + 0.5 * normal(3, 300, 1)
    cost = mark_cost(good, bad, data)
    assert cost.parent == pytest.approx(r2_score(wanted, good), abs=1e-6)
    assert cost.marked == pytest.approx(r2_score(wanted, bad), abs=1e-6)
    assert cost.drop == pytest.approx(cost.parent - cost.marked)
    # The errors add 0.25 - 0.01 of the variance.
    assert cost.low < 0.24 < cost.high
    assert cost.low > 0


def test_the_cost_of_vectors_is_their_turn() -> None:
    vectors = normal(0, 100, 6)
    data = LabelledData.without_labels(normal(1, 100, 2))
    same = mark_cost(vectors, 2 * vectors, data)
    assert same.parent == 1
    assert same.marked == pytest.approx(1)
    turned = mark_cost(vectors, vectors + normal(2, 100, 6), data)
    assert turned.low < turned.drop < turned.high
    assert turned.drop == pytest.approx(
        1 - task_score(vectors + normal(2, 100, 6), vectors, "embedding")
    )


def test_the_interval_of_a_regressor_covers_the_true_drop() -> None:
    """400 experiments of 300 samples: errors of 0.3 against 0.5 cost 0.16 of the variance.

    The standard error of the coverage is 0.011; three of them below 95%.
    """
    random = np.random.default_rng(0)
    covered = 0
    for _ in range(400):
        wanted = random.normal(size=(300, 1)).astype(np.float32)
        # The variance of the targets is taken as known: it is made exactly 1.
        wanted = (wanted - wanted.mean()) / wanted.std()
        errors = random.normal(size=(2, 300, 1)).astype(np.float32)
        data = LabelledData(wanted, wanted)
        cost = mark_cost(wanted + 0.3 * errors[0], wanted + 0.5 * errors[1], data)
        covered += cost.low <= 0.25 - 0.09 <= cost.high
    assert covered / 400 > 0.95 - 0.033
