"""How long a signature is when nobody says: as long as layer and samples have room for."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from deepsigns_registry.watermark.adapters.eager import EagerTappedModel
from deepsigns_registry.watermark.data import LabelledData, TrainingData
from deepsigns_registry.watermark.key import RootKey
from deepsigns_registry.watermark.prepare import prepare_record
from deepsigns_registry.watermark.settings import MarkSettings
from deepsigns_registry.watermark.whitebox import WhiteBox

PLENTY, FEW = 500, 100


def size(samples: list[int], neurons: int, settings: MarkSettings) -> tuple[int, ...]:
    """Carrier classes, and bits in each, of a network of one hidden layer."""
    torch.manual_seed(0)
    classes = len(samples)
    module = nn.Sequential(nn.Linear(8, neurons), nn.ReLU(), nn.Linear(neurons, classes))
    labels = np.repeat(np.arange(classes), samples)
    inputs = np.random.default_rng(0).normal(size=(len(labels), 8)).astype(np.float32)
    split = LabelledData(inputs, labels)
    record = prepare_record(
        EagerTappedModel(module, "1"),
        TrainingData(split, split, classes),
        RootKey(bytes(32), bytes(32)),
        settings,
        schemes=[WhiteBox()],
        recognisable=False,
    )
    return record.secrets["whitebox"].arrays["bits"].shape


@pytest.mark.parametrize(
    ("samples", "neurons", "expected"),
    [
        ([PLENTY] * 10, 512, (10, 128)),
        ([PLENTY] * 10, 2048, (10, 128)),
        ([PLENTY] * 12, 100, (10, 25)),
        ([PLENTY] * 5 + [FEW] * 5, 512, (5, 128)),
        # No room, or the samples of a class are hardly more than its triggers: 128 as ever.
        ([PLENTY] * 10, 40, (8, 16)),
        ([PLENTY] * 3 + [FEW] * 7, 512, (4, 32)),
        ([FEW] * 10, 512, (4, 32)),
    ],
)
def test_a_signature_grows_with_its_layer(
    samples: list[int], neurons: int, expected: tuple[int, int]
) -> None:
    assert size(samples, neurons, MarkSettings()) == expected


def test_a_length_that_was_asked_for_is_kept() -> None:
    assert size([PLENTY] * 10, 512, MarkSettings(bits=256)) == (4, 64)


def test_more_carriers_than_ten_are_had_by_asking() -> None:
    wanted = replace(MarkSettings(), carriers=12)
    assert size([PLENTY] * 12, 256, wanted) == (12, 64)
