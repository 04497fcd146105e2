from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from deepsigns_registry.attacks.fine_prune import FinePrune
from deepsigns_registry.attacks.quantize import Quantize
from deepsigns_registry.errors import CouldNotCheckError
from deepsigns_registry.graph.interpreter import OnnxTappedModel
from deepsigns_registry.watermark.adapters.eager import EagerTappedModel
from deepsigns_registry.watermark.data import LabelledData
from deepsigns_registry.watermark.tapped import TappedModel

Accuracy = Callable[..., float]


def silent_rows(model: TappedModel) -> dict[int, int]:
    """By the number of neurons that a layer reads: how many it does not read any more."""
    found = {}
    for weight in model.parameters():
        if weight.ndim == 2:
            # Both shapes are known: 32 neurons are read by 4, 128 by 32.
            rows = weight if weight.shape[0] > weight.shape[1] else weight.T
            found[len(rows)] = int((rows == 0).all(dim=1).sum())
    return found


def test_each_hidden_layer_loses_its_share_and_stays_without(
    victim: TappedModel, data: LabelledData, accuracy: Accuracy
) -> None:
    pruned = FinePrune(epochs=2).apply(victim, 0.25, data, seed=0)
    assert silent_rows(pruned) == {32: 8, 128: 32}
    assert silent_rows(victim) == {32: 0, 128: 0}
    for old, new in zip(victim.parameters(), pruned.parameters(), strict=True):
        if old.ndim == 4:
            # Nothing before the first layer is a neuron; it is trained all the same.
            assert not (new == 0).any()
            assert not torch.equal(old, new)
    assert accuracy(pruned, data) > 0.9


def test_it_is_the_least_active_that_go(data: LabelledData) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.ReLU(), nn.Linear(10, 4))
    model = EagerTappedModel(module.eval(), "2")
    with torch.no_grad():
        activity = model(torch.from_numpy(data.inputs)).activation.mean(dim=0)
    pruned = FinePrune(epochs=1).apply(model, 0.3, data, seed=0)
    weight = pruned.get_parameter("module.3.weight").detach()
    silent = np.flatnonzero((weight == 0).all(dim=0).numpy())
    # 512 of the 600 samples are looked at: the three least active are far enough from the rest.
    assert sorted(silent) == sorted(activity.argsort()[:3].tolist())


def test_without_hidden_layers_it_says_so(view: OnnxTappedModel, data: LabelledData) -> None:
    flat = EagerTappedModel(nn.Sequential(nn.Flatten(), nn.Linear(64, 4)), "0")
    for model in (flat, Quantize().apply(view, 8.0, data, seed=0)):
        with pytest.raises(CouldNotCheckError, match="no hidden layer that float weights read"):
            FinePrune().apply(model, 0.5, data, seed=0)
