import copy
from collections.abc import Callable

import pytest
import torch
from torch import nn

from deepsigns_registry.attacks.overwrite import Overwrite, thief_root
from deepsigns_registry.attacks.retap import retapped
from deepsigns_registry.errors import CouldNotCheckError, DataError
from deepsigns_registry.watermark.adapters.eager import EagerTappedModel
from deepsigns_registry.watermark.data import LabelledData, TrainingData
from deepsigns_registry.watermark.extract import extract
from deepsigns_registry.watermark.prepare import prepare_record
from deepsigns_registry.watermark.settings import MarkSettings
from deepsigns_registry.watermark.suspect import TappedSuspect
from deepsigns_registry.watermark.tapped import TappedModel
from deepsigns_registry.watermark.verdict import PRESENT_AT

Accuracy = Callable[..., float]

# The layer has 32 neurons, which carry 64 bits by four carriers.
SETTINGS = MarkSettings(bits=64, queries=100, sources=50, minimum_steps=400)


def test_the_model_carries_the_thief_s_mark(
    victim: TappedModel, data: LabelledData, accuracy: Accuracy
) -> None:
    twice = Overwrite(settings=SETTINGS).apply(victim, 1, data, seed=5)
    assert type(twice) is type(victim)
    assert twice.tap == victim.tap
    examples = torch.from_numpy(data.inputs[:16])
    with retapped(copy.deepcopy(victim), examples, "test") as tapped:
        root, known = thief_root(5), TrainingData(data, data, 4)
        record = prepare_record(tapped, known, root, SETTINGS)
        before = extract(record, TappedSuspect(tapped)).evidence
    with retapped(twice, examples, "test") as tapped:
        found = extract(record, TappedSuspect(tapped)).evidence
    assert {evidence.scheme for evidence in found} == {"whitebox", "blackbox"}
    for evidence in found:
        assert evidence.log10_p < PRESENT_AT
    for evidence in before:
        assert evidence.log10_p > -3
    assert accuracy(twice, data) > 0.9


def test_a_layer_too_narrow_for_the_signature_gets_a_shorter_one(
    eager: EagerTappedModel, data: LabelledData
) -> None:
    told: list[str] = []
    settings = MarkSettings(minimum_steps=2, queries=100, sources=50)
    assert settings.bits > 64
    twice = Overwrite(settings=settings).apply(
        eager, 1, data, seed=0, progress=lambda _, message: told.append(message)
    )
    assert told[-1] == "epoch 1 of 1"
    assert not torch.equal(twice.get_parameter("module.4.weight"), eager.module[4].weight)  # type: ignore[index]


def test_what_cannot_carry_a_mark_is_reported(data: LabelledData) -> None:
    narrow = EagerTappedModel(
        nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 4)), "2"
    )
    with pytest.raises(CouldNotCheckError, match="attack overwrite: layer '2' has 8 neurons"):
        Overwrite().apply(narrow, 1, data, seed=0)
    flat = EagerTappedModel(nn.Sequential(nn.Flatten(), nn.Linear(64, 4)), "0")
    with pytest.raises(CouldNotCheckError, match="attack overwrite: the model has no hidden"):
        Overwrite().apply(flat, 1, data, seed=0)


def test_too_little_data_is_refused(eager: EagerTappedModel, data: LabelledData) -> None:
    few = LabelledData(data.inputs[:40], data.labels[:40])
    with pytest.raises(DataError, match="different training samples"):
        Overwrite().apply(eager, 1, few, seed=0)


def test_roots_differ_by_seed() -> None:
    assert thief_root(1).secret == thief_root(1).secret
    assert thief_root(1).secret != thief_root(2).secret
