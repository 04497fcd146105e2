"""What the timings compare: as many samples, and the same part of a network."""

import numpy as np
import torch

from benchmarks.data import load
from benchmarks.models import mlp
from benchmarks.speed import PLAIN, PLAIN_LARGER, _Cut, _work, efficiency
from deepsigns_registry.watermark.adapters.eager import EagerTappedModel, choose_tap
from deepsigns_registry.watermark.data import TrainingData
from deepsigns_registry.watermark.key import RootKey
from deepsigns_registry.watermark.prepare import prepare_record
from deepsigns_registry.watermark.scheme import Fitting
from deepsigns_registry.watermark.schemes import named_schemes
from deepsigns_registry.watermark.settings import MarkSettings

DEVICE = torch.device("cpu")


def test_the_work_counts_the_samples_of_every_scheme(
    data: TrainingData, settings: MarkSettings, unmarked: dict[str, EagerTappedModel]
) -> None:
    root = RootKey(bytes(32), bytes(32))
    record = prepare_record(unmarked["parent"], data, root, settings)
    steps, samples = _work(record, data, settings, DEVICE)
    assert steps == settings.minimum_steps
    generator = torch.Generator().manual_seed(1)
    fitting = Fitting(settings, steps, DEVICE, data.train)
    own = 0
    for scheme in named_schemes(record.secrets):
        objective = scheme.objective(record.secrets[scheme.name], fitting)
        given = objective.samples(generator)
        # A pattern in the weights needs none.
        own += 0 if given is None else len(given[0])
    assert samples == settings.batch_size + own
    assert own > 0


def test_the_cut_ends_at_the_tap(data: TrainingData, unmarked: dict[str, EagerTappedModel]) -> None:
    parent = unmarked["parent"]
    inputs = torch.from_numpy(data.validation.inputs[:8])
    with torch.no_grad():
        whole = parent(inputs).activation
        cut = _Cut(EagerTappedModel(parent.module, parent.tap))(inputs).activation
    np.testing.assert_array_equal(cut.numpy(), whole.numpy())


def test_every_ratio_is_measured() -> None:
    data = load("mnist-5k")
    torch.manual_seed(0)
    module = mlp((1, 28, 28), data.classes, hidden=(256, 256)).eval()
    tap = choose_tap(module, torch.from_numpy(data.train.inputs[:4])).tap
    short = MarkSettings(minimum_steps=5)
    found = efficiency("mlp", module, tap, data, short, device=DEVICE, repetitions=1)
    values = {item.metric: item.value for item in found}
    for against in (PLAIN, PLAIN_LARGER, "a forward pass of the same cut"):
        low, middle, high = (
            values[f"ratio to {against}{end}"] for end in (" (lowest)", "", " (highest)")
        )
        assert 0 < low <= middle <= high
