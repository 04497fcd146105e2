"""Carrier groups of models without classes: found again by anybody, chosen by nobody."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.metrics import adjusted_rand_score
from torch import nn

from deepsigns_registry.errors import DataError, TamperedError, UnmarkableError
from deepsigns_registry.watermark import prepare
from deepsigns_registry.watermark.adapters.eager import EagerTappedModel
from deepsigns_registry.watermark.carriers import Grouping, group_samples, training_groups
from deepsigns_registry.watermark.data import LabelledData, TrainingData
from deepsigns_registry.watermark.key import RootKey
from deepsigns_registry.watermark.manifest import Manifest
from deepsigns_registry.watermark.mixture import Mixture
from deepsigns_registry.watermark.prepare import check_against_parent, prepare_record
from deepsigns_registry.watermark.settings import MarkSettings

SETTINGS = MarkSettings(bits=64)
ROOT = RootKey(bytes(32), bytes(32))


def clouds(samples: int, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Ten well separated clouds in 24 dimensions."""
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(0).normal(size=(10, 24)) * 3
    owner = random.integers(10, size=samples)
    return (centres[owner] + random.normal(size=(samples, 24))).astype(np.float32), owner


def model(neurons: int = 96) -> EagerTappedModel:
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Linear(24, neurons), nn.ReLU(), nn.Linear(neurons, 2))
    return EagerTappedModel(layers, "1")


def regression(samples: int = 900) -> TrainingData:
    inputs, _ = clouds(samples)
    targets = inputs[:, :2].copy()
    return TrainingData(LabelledData(inputs, targets), LabelledData(inputs, targets), 2)


def groups(data: LabelledData, settings: MarkSettings = SETTINGS) -> Grouping:
    return group_samples(model(), data, Manifest.of(data).digests, settings)


def test_separate_clouds_are_found() -> None:
    values, owner = clouds(1500)
    found = Mixture.fit(values, 10).log_shares(values).argmax(axis=1)
    # A division in two may cut one of ten clouds; the best of random starts do no worse.
    assert adjusted_rand_score(owner, found) > 0.9


def test_the_groups_of_a_classifier_are_its_classes() -> None:
    inputs, owner = clouds(900)
    found = groups(LabelledData(inputs, owner))
    np.testing.assert_array_equal(found.labels, owner)
    assert not found.doubtful.any()


def test_the_order_of_the_data_does_not_matter() -> None:
    data = regression().train
    order = np.random.default_rng(1).permutation(len(data))
    shuffled = LabelledData(data.inputs[order], data.labels[order])
    np.testing.assert_array_equal(groups(shuffled).labels, groups(data).labels[order])


@pytest.mark.parametrize("noise", [1e-6, 1e-5])
def test_rounding_moves_doubtful_samples_only(noise: float) -> None:
    """Relative noise of a float32 sum, and ten times as much, on activations without clusters."""
    random = np.random.default_rng(0)
    values = random.normal(size=(1500, 32)).astype(np.float32)
    shares = Mixture.fit(values, 10).log_shares(values)
    moved = (values * (1 + noise * random.normal(size=values.shape))).astype(np.float32)
    again = Mixture.fit(moved, 10).log_shares(moved).argmax(axis=1)
    best = np.sort(shares, axis=1)
    doubtful = best[:, -1] - best[:, -2] < 0.02
    assert Grouping(shares.argmax(axis=1), doubtful).agrees(again)
    # The owner must not be able to choose many.
    assert doubtful.mean() < 0.03


def test_few_samples_give_fewer_groups() -> None:
    found = groups(regression(450).train, replace(SETTINGS, triggers_per_class=53))
    counts = np.bincount(found.labels)
    assert SETTINGS.carriers <= len(counts) < 10
    assert (counts >= 53).sum() >= SETTINGS.carriers


def test_too_few_samples_are_refused() -> None:
    with pytest.raises(DataError, match=r"90 different samples; 2 groups of 50 need at least 100"):
        groups(regression(90).train)
    data = regression(90).train
    repeated = LabelledData(np.tile(data.inputs, (4, 1)), np.tile(data.labels, (4, 1)))
    with pytest.raises(DataError, match="90 different samples"):
        groups(repeated)


def test_more_carriers_than_components_are_refused() -> None:
    with pytest.raises(DataError, match=r"12 carriers: .* at most 10 groups; lower carriers to 10"):
        groups(regression().train, replace(SETTINGS, carriers=12))


def test_fewer_different_samples_than_components_leave_some_empty() -> None:
    values = np.repeat(np.eye(3, dtype=np.float32), 50, axis=0)
    shares = Mixture.fit(values, 10).log_shares(values)
    assert np.isfinite(shares).all()
    assert len(np.unique(shares.argmax(axis=1))) == 3


def test_a_scarce_class_makes_the_samples_of_all_form_groups() -> None:
    inputs, _ = clouds(900)
    rare = (np.arange(900) < 40).astype(np.int64)
    found = groups(LabelledData(inputs, rare))
    counts = np.bincount(found.labels)
    assert (counts >= 50).sum() >= SETTINGS.carriers
    common = (np.arange(900) < 60).astype(np.int64)
    np.testing.assert_array_equal(groups(LabelledData(inputs, common)).labels, common)


def test_a_layer_too_narrow_for_two_classes_has_more_groups() -> None:
    inputs, owner = clouds(900)
    halves = LabelledData(inputs, owner % 2)
    narrow = group_samples(model(40), halves, Manifest.of(halves).digests, SETTINGS)
    assert narrow.labels.max() > 1
    wide = group_samples(model(96), halves, Manifest.of(halves).digests, SETTINGS)
    np.testing.assert_array_equal(wide.labels, halves.labels)


def test_one_crowded_group_is_refused() -> None:
    inputs, _ = clouds(1)
    crowd = inputs + 1e-3 * np.random.default_rng(0).normal(size=(230, 24)).astype(np.float32)
    far = np.eye(24, dtype=np.float32)[:9] * 1000
    data = LabelledData(np.concatenate([crowd, far]), np.zeros((239, 2), np.float32))
    with pytest.raises(
        DataError, match=r"layer '1' form only \d groups of 50 .*, 2 are needed; train with more"
    ):
        groups(data)


def test_not_a_number_and_dead_layers_are_named() -> None:
    data = regression().train
    dead = model()
    weight, bias = list(dead.parameters())[:2]
    with torch.no_grad():
        weight.fill_(0.0)
        bias.fill_(-1.0)
    digests = Manifest.of(data).digests
    with pytest.raises(UnmarkableError, match="layer '1' gives the same activation for every"):
        group_samples(dead, data, digests, SETTINGS)
    with torch.no_grad():
        weight.fill_(float("nan"))
    with pytest.raises(UnmarkableError, match="layer '1' gives NaN or infinity for training"):
        group_samples(dead, data, digests, SETTINGS)


def test_training_finds_the_groups_in_the_manifest() -> None:
    data = regression().train
    manifest = Manifest.of(data).with_labels(np.arange(len(data)))
    order = np.random.default_rng(2).permutation(len(data))
    shuffled = LabelledData(data.inputs[order], data.labels[order])
    np.testing.assert_array_equal(training_groups(manifest, shuffled), order)
    changed = LabelledData(data.inputs + 1, data.labels)
    with pytest.raises(DataError, match="not the data that the mark was prepared with"):
        training_groups(manifest, changed)


def test_a_sceptic_finds_the_same_groups_and_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    data, parent = regression(), model()
    record = prepare_record(parent, data, ROOT, SETTINGS)
    record.check()
    check_against_parent(record, parent, data, SETTINGS)
    labels = record.manifest.labels.copy()
    inside = np.flatnonzero(labels == np.bincount(labels).argmax())[:5]
    labels[inside] = np.bincount(labels).argmin()
    chosen = Grouping(labels, np.zeros(len(labels), dtype=np.bool_))
    with monkeypatch.context() as forger:
        # A forger's program: groups of his own choice, and all else by the rules.
        forger.setattr(prepare, "group_samples", lambda *_arguments: chosen)
        forged = prepare_record(parent, data, ROOT, SETTINGS)
    # The record is sound in itself: only the parent's activations contradict it.
    forged.check()
    with pytest.raises(TamperedError, match="manifest: its carrier classes cannot be derived"):
        check_against_parent(forged, parent, data, SETTINGS)
    with pytest.raises(TamperedError, match="cannot be derived again"):
        check_against_parent(record, model(neurons=80), data, SETTINGS)
