"""A small marked model, made once: six noisy classes, an MLP of two hidden layers."""

import copy
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn

from deepsigns_registry.watermark.adapters.eager import EagerTappedModel
from deepsigns_registry.watermark.data import LabelledData, TrainingData
from deepsigns_registry.watermark.embed import EmbedResult, embed
from deepsigns_registry.watermark.key import RootKey
from deepsigns_registry.watermark.prepare import prepare_record
from deepsigns_registry.watermark.record import WatermarkRecord
from deepsigns_registry.watermark.settings import MarkSettings
from tests.support.training import train

CLASSES, FEATURES, NEURONS = 6, 16, 96
OWNER = bytes(range(32))


def blobs(samples: int, seed: int) -> LabelledData:
    centres = np.random.default_rng(0).normal(size=(CLASSES, FEATURES))
    random = np.random.default_rng(seed)
    labels = random.permutation(np.arange(samples) % CLASSES).astype(np.int64)
    inputs = centres[labels] + 0.5 * random.normal(size=(samples, FEATURES))
    return LabelledData(inputs.astype(np.float32), labels)


def multilayer(seed: int, neurons: int = NEURONS) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Linear(FEATURES, neurons),
        nn.ReLU(),
        nn.Linear(neurons, neurons),
        nn.ReLU(),
        nn.Linear(neurons, CLASSES),
    )


@dataclass(frozen=True)
class Marked:
    parent: EagerTappedModel
    model: EagerTappedModel
    sibling: EagerTappedModel
    data: TrainingData
    settings: MarkSettings
    record: WatermarkRecord
    result: EmbedResult


@pytest.fixture(scope="session")
def data() -> TrainingData:
    return TrainingData(blobs(900, 1), blobs(300, 2), CLASSES).validated()


@pytest.fixture(scope="session")
def settings() -> MarkSettings:
    return MarkSettings(
        bits=64,
        queries=100,
        sources=60,
        epochs=5,
        minimum_steps=450,
        repeats=60,
        learning_rate=2e-3,
    )


@pytest.fixture(scope="session")
def marked(data: TrainingData, settings: MarkSettings) -> Marked:
    parent = EagerTappedModel(train(multilayer(0), data.train, epochs=10), "3")
    sibling = EagerTappedModel(train(multilayer(1), data.train, epochs=10, seed=1), "3")
    record = prepare_record(parent, data, RootKey(bytes(32), OWNER), settings)
    model = copy.deepcopy(parent)
    result = embed(model, data, record, settings)
    return Marked(parent, model, sibling, data, settings, record, result)
