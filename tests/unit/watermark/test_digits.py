"""Scikit-learn's handwritten digits: the numbers that the demo promises, on the real data."""

import copy
import time

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.export import Dim

from deepsigns_registry.watermark.adapters.eager import EagerTappedModel, choose_tap
from deepsigns_registry.watermark.adapters.exported import ExportedTappedModel
from deepsigns_registry.watermark.data import LabelledData, TrainingData
from deepsigns_registry.watermark.embed import embed
from deepsigns_registry.watermark.extract import extract
from deepsigns_registry.watermark.fidelity import accuracy
from deepsigns_registry.watermark.key import RootKey
from deepsigns_registry.watermark.prepare import prepare_record
from deepsigns_registry.watermark.record import WatermarkRecord
from deepsigns_registry.watermark.settings import MarkSettings
from deepsigns_registry.watermark.suspect import TappedSuspect
from deepsigns_registry.watermark.tapped import TappedModel
from deepsigns_registry.watermark.verdict import Verdict, judge
from tests.support.matched import matched
from tests.support.training import train

TRIES = 10


def digits() -> TrainingData:
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(images))
    inputs = (images[order] / 16).astype(np.float32).reshape(-1, 1, 8, 8)
    labels = labels[order].astype(np.int64)
    return TrainingData(
        LabelledData(inputs[:1437], labels[:1437]), LabelledData(inputs[1437:], labels[1437:]), 10
    )


def network(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(512, 256),
        nn.ReLU(),
        nn.Linear(256, 10),
    )


def verdict(record: WatermarkRecord, model: TappedModel) -> Verdict:
    found = extract(record, TappedSuspect(model))
    return judge(found.evidence, tries=TRIES, incomplete=found.incomplete)


def stored(module: nn.Module, tap: str, rows: torch.Tensor) -> TappedModel:
    """As MLflow stores it: a program, without the class."""
    program = torch.export.export(module.eval(), (rows,), dynamic_shapes=({0: Dim.AUTO},))
    return ExportedTappedModel(program, tap)


@pytest.mark.parametrize(
    ("seed", "exported"), [(0, False), pytest.param(1, True, marks=pytest.mark.deep)]
)
def test_a_small_convolutional_network_is_marked(seed: int, *, exported: bool) -> None:
    data, settings = digits(), MarkSettings()
    module = network(seed)
    train(module, data.train, epochs=15, seed=seed)
    rows = torch.from_numpy(data.train.inputs[:4])
    chosen = choose_tap(module, rows)
    parent: TappedModel = EagerTappedModel(module, chosen.tap)
    if exported:
        parent = stored(module, chosen.tap, rows)
    started = time.process_time()
    record = prepare_record(parent, data, RootKey(bytes([seed]) * 32, bytes(32)), settings)
    marked = copy.deepcopy(parent)
    embed(marked, data, record, settings)
    # Processor seconds; a shared machine counts up to twice as many as a quiet one.
    assert time.process_time() - started < 180
    control = copy.deepcopy(parent)
    embed(control, data, None, settings)

    found = verdict(record, marked)
    whitebox, blackbox, *_ = found.evidence
    assert (whitebox.trials, matched(whitebox).errors, whitebox.level) == (128, 0, "a")
    assert found.log10_p_adjusted("whitebox") <= -20
    assert (blackbox.trials, found.word) == (400, "present")
    assert found.log10_p_adjusted("blackbox") <= -6
    # Two points on 360 samples, as the same training without the mark.
    assert accuracy(marked, data.validation) >= accuracy(control, data.validation) - 0.02

    for unmarked in (parent, control):
        assert verdict(record, unmarked).word == "absent"
    sibling = network(seed + 100)
    train(sibling, data.train, epochs=5, seed=seed)
    assert verdict(record, EagerTappedModel(sibling, chosen.tap)).word == "undecided"

    tuned = copy.deepcopy(marked)
    train(tuned, data.train, epochs=3, seed=seed)
    for attacked in (halved(marked), tuned):
        after = verdict(record, attacked)
        assert after.word == "present"
        assert after.log10_p_adjusted("whitebox") <= -20
        assert after.log10_p_adjusted("blackbox") <= -6


def halved(model: TappedModel) -> TappedModel:
    """Half of all weights set to zero, the smallest ones."""
    pruned = copy.deepcopy(model)
    weights = [weight for weight in pruned.parameters() if weight.ndim > 1]
    limit = torch.cat([weight.detach().abs().flatten() for weight in weights]).median()
    with torch.no_grad():
        for weight in weights:
            weight[weight.abs() <= limit] = 0
    return pruned
