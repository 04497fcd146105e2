from collections.abc import Callable

import pytest
import torch
from torch import nn

from deepsigns_registry.attacks.layers import Layers
from deepsigns_registry.attacks.redraw import Redraw
from deepsigns_registry.errors import CouldNotCheckError
from deepsigns_registry.watermark.adapters.eager import EagerTappedModel
from deepsigns_registry.watermark.data import LabelledData
from deepsigns_registry.watermark.tapped import TappedModel

Accuracy = Callable[..., float]


def likeness(before: TappedModel, after: TappedModel) -> list[float]:
    """Correlation of each weight with what it was, from the first layer to the last."""
    pairs = zip(before.parameters(), after.parameters(), strict=True)
    weights = [(old, new) for old, new in pairs if old.ndim > 1]
    # Adapters hold them in different orders; the sizes of the three differ.
    weights.sort(key=lambda pair: {72: 0, 4096: 1, 128: 2}[pair[0].numel()])
    return [
        float(torch.corrcoef(torch.stack([old.flatten(), new.flatten()]).detach())[0, 1])
        for old, new in weights
    ]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_last_layers_start_anew_and_learn(
    victim: TappedModel, data: LabelledData, accuracy: Accuracy, count: int
) -> None:
    drawn = Redraw(learning_rate=1e-2).apply(victim, count, data, seed=0)
    found = likeness(victim, drawn)
    # Correlations of 72 independent values deviate by 0.12; training moves the others little.
    assert all(value > 0.6 for value in found[: 3 - count])
    assert all(abs(value) < 0.5 for value in found[3 - count :])
    assert accuracy(drawn, data) > 0.9


def test_more_layers_than_there_are_cannot_be_drawn(
    victim: TappedModel, data: LabelledData
) -> None:
    with pytest.raises(CouldNotCheckError, match="4 layers to draw anew, and the model has 3"):
        Redraw().apply(victim, 4, data, seed=0)


class _Branched(nn.Module):
    """A shortcut around two layers, each with batch norm, and one output layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5))
        self.second = nn.Sequential(nn.Linear(5, 5), nn.BatchNorm1d(5))
        self.head = nn.Linear(5, 3)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        first = self.first(inputs).relu()
        outputs: torch.Tensor = self.head(self.second(first) + first)
        return outputs


def test_a_shortcut_does_not_lead_past_the_chosen_layers() -> None:
    module = _Branched().eval()
    layers = Layers(EagerTappedModel(module, "second"), torch.rand(4, 6))
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    found = [{names[id(parameter)] for parameter in layers.ending(count)} for count in (1, 2, 3)]
    assert found[0] == {"head.weight", "head.bias"}
    assert found[1] - found[0] == {
        f"second.{n}.{kind}" for n in "01" for kind in ("weight", "bias")
    }
    assert found[2] == set(names.values())
