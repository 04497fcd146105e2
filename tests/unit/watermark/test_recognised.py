"""A layer is taken only if its values tell the parent from networks that learned something else."""

import copy

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from deepsigns_registry.errors import UnmarkableError
from deepsigns_registry.watermark.adapters.eager import EagerTappedModel
from deepsigns_registry.watermark.recognised import recognised_layout
from deepsigns_registry.watermark.tap import Layout
from deepsigns_registry.watermark.tapped import run_batched

CARRIERS, CPU = 4, torch.device("cpu")


class Encoded(nn.Module):
    """Steps of a sequence with fixed numbers for their places, or with fixed features beside."""

    def __init__(self, *, features: bool) -> None:
        super().__init__()
        self.embedding = nn.Linear(6, 24)
        place = torch.arange(1, 6)[:, None] * torch.exp(-torch.arange(24) / 6)
        self.register_buffer("places", place.sin())
        self.register_buffer("fixed", 2.0 * features * torch.randn(6, 24))
        self.norm, self.head = nn.LayerNorm(24), nn.Linear(5 * 24, 3)

    def forward(self, steps: Tensor) -> Tensor:
        given = self.embedding(steps) + steps @ self.get_buffer("fixed")
        outputs: Tensor = self.head(self.norm(given + self.get_buffer("places")).flatten(1))
        return outputs


def layout_of(network: nn.Module, tap: str, *row: int) -> Layout:
    model = EagerTappedModel(network.eval(), tap)
    random = np.random.default_rng(0)
    inputs = random.normal(size=(CARRIERS * 50, *row)).astype(np.float32)
    activations = run_batched(model, inputs, CPU)[1]
    return recognised_layout(model, inputs, activations, CARRIERS, CPU)


def test_it_leaves_the_model_as_it_was() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Linear(6, 24), nn.BatchNorm1d(24), nn.ReLU(), nn.Linear(24, 3)
    ).eval()
    before = copy.deepcopy(network.state_dict())
    assert layout_of(network, "2", 6) == Layout()
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_steps_whose_places_are_encoded_are_told_by_what_was_learned() -> None:
    torch.manual_seed(0)
    assert layout_of(Encoded(features=False), "head:input", 5, 6) == Layout(5, 1)


def test_features_that_no_training_moves_are_refused() -> None:
    torch.manual_seed(0)
    with pytest.raises(UnmarkableError, match="whatever the model has learned"):
        layout_of(Encoded(features=True), "head:input", 5, 6)


class Handed(nn.Module):
    """The input stands beside what was computed of it."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.head = nn.Linear(24, 24), nn.Linear(24, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.head(torch.relu(self.hidden(inputs)) + inputs)
        return outputs


def test_an_input_that_is_handed_on_is_refused() -> None:
    with pytest.raises(UnmarkableError, match="the order of the input's"):
        layout_of(Handed(), "head:input", 24)


def test_too_few_channels_are_refused() -> None:
    with pytest.raises(UnmarkableError, match="too few channels"):
        layout_of(nn.Sequential(nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 3)), "1", 6)
