"""Rows of weight are told to be the parent's, or only like them, whatever the layer is."""

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from deepsigns_registry.watermark.adapters.eager import EagerTappedModel
from deepsigns_registry.watermark.align import align
from deepsigns_registry.watermark.data import LabelledData, TrainingData
from deepsigns_registry.watermark.embed import embed
from deepsigns_registry.watermark.extract import extract
from deepsigns_registry.watermark.key import RootKey
from deepsigns_registry.watermark.prepare import prepare_record
from deepsigns_registry.watermark.rows import ROWS_FALSE_ACCEPTANCE, rows_stand_out
from deepsigns_registry.watermark.schemes import builtin_schemes
from deepsigns_registry.watermark.settings import MarkSettings
from deepsigns_registry.watermark.verdict import judge
from tests.support.training import train
from tests.unit.watermark.test_alignment import exported, known, layers_of, moved

Floats = NDArray[np.float32]
FEATURES = 30


def independent(random: np.random.Generator, count: int, columns: int) -> Floats:
    return random.normal(size=(count, columns)).astype(np.float32)


def grouped(random: np.random.Generator, count: int, columns: int) -> Floats:
    """Neurons that learned one of a few things, as in every network trained for them."""
    centres = np.random.default_rng(0).normal(size=(6, columns))
    noise = 0.3 * random.normal(size=(count, columns))
    return (centres[random.integers(0, 6, count)] + noise).astype(np.float32)


def apart(random: np.random.Generator, count: int, columns: int) -> Floats:
    """An orthogonal start: rows of one network keep apart, those of two do not."""
    parts = [
        np.linalg.qr(random.normal(size=(columns, columns)))[0] for _ in range(-(-count // columns))
    ]
    return np.concatenate(parts)[:count].astype(np.float32)


@pytest.mark.parametrize("drawn", [independent, grouped, apart])
@pytest.mark.parametrize(("count", "columns"), [(64, 10), (128, 30), (64, 256)])
def test_rows_drawn_alike_are_not_the_parent_s(
    drawn: Callable[[np.random.Generator, int, int], Floats], count: int, columns: int
) -> None:
    random = np.random.default_rng(1)
    for _ in range(20):
        ours, theirs = (drawn(random, count, columns) for _ in range(2))
        assert not rows_stand_out([(ours, theirs)])


@pytest.mark.parametrize("drawn", [independent, grouped, apart])
@pytest.mark.parametrize(("count", "columns"), [(64, 10), (128, 30), (64, 256)])
def test_the_parent_s_rows_are_known_after_much_was_done_to_them(
    drawn: Callable[[np.random.Generator, int, int], Floats], count: int, columns: int
) -> None:
    random = np.random.default_rng(2)
    ours = drawn(random, count, columns)
    theirs = np.where(np.abs(ours) > np.quantile(np.abs(ours), 0.4), ours, 0)
    theirs += 0.1 * ours.std() * random.normal(size=ours.shape)
    theirs *= np.exp(random.normal(size=(count, 1)))
    theirs = np.concatenate([theirs[random.permutation(count)], drawn(random, 16, columns)])
    assert rows_stand_out([(ours, theirs.astype(np.float32))])


def test_few_rows_say_too_little_and_more_groups_more() -> None:
    """Of nine rows even all are more likely than the stated rate, of twice as many they are not."""
    rows = independent(np.random.default_rng(3), 9, 30)
    assert ROWS_FALSE_ACCEPTANCE < 0.5**9
    assert not rows_stand_out([(rows, rows)])
    assert rows_stand_out([(rows, rows), (rows[::-1], rows)])
    nothing = np.zeros_like(rows)
    assert not rows_stand_out([(nothing, rows), (rows, nothing), (rows[:2], rows[:2])])
    assert not rows_stand_out([])


def test_the_stated_rate_holds_for_rows_drawn_alike() -> None:
    """Binomial(1000, 1/1000) at most: seven or more in one of 12,000 runs."""
    random = np.random.default_rng(4)
    taken = sum(
        rows_stand_out([(grouped(random, 24, 8), grouped(random, 24, 8))]) for _ in range(1000)
    )
    assert taken <= 6


def fraud(samples: int, seed: int) -> LabelledData:
    inputs = np.random.default_rng(seed).normal(size=(samples, FEATURES)).astype(np.float32)
    value = inputs @ np.random.default_rng(0).normal(size=FEATURES)
    value += 0.5 * np.random.default_rng(seed + 1).normal(size=samples)
    return LabelledData(inputs, (value > np.quantile(value, 0.7)).astype(np.int64))


def narrow(seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(FEATURES, 128), nn.ReLU(), nn.Linear(128, 2))


def pruned(model: EagerTappedModel) -> None:
    with torch.no_grad():
        for layer in layers_of(model):
            weight = layer.weight
            weight[weight.abs() <= weight.abs().flatten().quantile(0.5)] = 0


def test_a_layer_that_reads_few_features(tmp_path: Path) -> None:
    """Each row of a sibling's has one near it there; only those of the marked model stand out."""
    data = TrainingData(fraud(2400, 1), fraud(600, 3), 2).validated()
    settings = MarkSettings(bits=64, epochs=2, minimum_steps=300, repeats=20)
    parent = EagerTappedModel(train(narrow(0), data.train, epochs=10), "1")
    hidden = [scheme for scheme in builtin_schemes() if scheme.name == "whitebox"]
    made = prepare_record(parent, data, RootKey(b"n" * 32, bytes(32)), settings, schemes=hidden)
    record = known(made, parent, tmp_path)
    model = copy.deepcopy(parent)
    embed(model, data, record, settings)
    tuned = copy.deepcopy(model)
    train(tuned, data.train, epochs=2)
    smaller = copy.deepcopy(tuned)
    pruned(smaller)
    sibling = EagerTappedModel(train(narrow(1), data.train, epochs=10, seed=1), "1")
    for number, (suspect, ours) in enumerate(
        [(model, True), (tuned, True), (smaller, True), (sibling, False)]
    ):
        changed = copy.deepcopy(suspect)
        moved(layers_of(changed), seed=number)
        file = exported(changed, data.train.inputs[:4], tmp_path / f"{number}.onnx")
        network = file.networks()[0]
        alignment = align(record.blueprint, network)
        assert alignment is not None
        assert alignment.verified == ours
        found = extract(record, file)
        assert [entry.level for entry in found.evidence] == ["c" if ours else ""]
        verdict = judge(found.evidence, tries=found.alignments, incomplete=found.incomplete)
        assert verdict.word == ("present" if ours else "undecided")
        # Nothing says that a network is not ours: without rows that are known, never absent.
        assert bool(found.incomplete) != ours
