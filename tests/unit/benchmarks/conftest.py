"""Small models that were never marked."""

import numpy as np
import pytest
from numpy.typing import NDArray

from deepsigns_registry.watermark.adapters.eager import EagerTappedModel
from deepsigns_registry.watermark.data import TrainingData
from deepsigns_registry.watermark.settings import MarkSettings
from tests.support.training import train
from tests.unit.watermark.conftest import CLASSES, blobs, multilayer


@pytest.fixture(scope="session")
def data() -> TrainingData:
    return TrainingData(blobs(900, 1), blobs(300, 2), CLASSES).validated()


@pytest.fixture(scope="session")
def settings() -> MarkSettings:
    return MarkSettings(bits=64, queries=100, sources=60)


@pytest.fixture(scope="session")
def unmarked(data: TrainingData) -> dict[str, EagerTappedModel]:
    """A parent, and a sibling trained from another start."""
    return {
        name: EagerTappedModel(train(multilayer(seed), data.train, epochs=10, seed=seed), "3")
        for seed, name in enumerate(("parent", "sibling"))
    }


def moments(counts: NDArray[np.int64]) -> tuple[float, float]:
    """Mean and variance of what a tally counts."""
    values = np.arange(len(counts))
    mean = float((counts * values).sum() / counts.sum())
    return mean, float((counts * (values - mean) ** 2).sum() / counts.sum())
