import copy
import math

import pytest
import torch
from torch import nn

from deepsigns_registry.attacks.fresh import draw_anew, reset_statistics
from deepsigns_registry.attacks.layers import Layers
from deepsigns_registry.watermark.adapters.eager import EagerTappedModel
from deepsigns_registry.watermark.tapped import TappedModel

INPUTS = torch.randn(16, 1, 8, 8, generator=torch.Generator().manual_seed(0))


class _Wide(nn.Module):
    """Every kind of parameter, each with many values."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 40, 3)
        self.norm = nn.BatchNorm2d(40)
        self.slope = nn.PReLU(40)
        self.second = nn.ConvTranspose2d(40, 20, 3, groups=2)
        self.position = nn.Parameter(torch.ones(20, 8, 8))
        self.scale = nn.Parameter(torch.tensor([[3.0]]))
        self.last = nn.Linear(20, 30)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        hidden = self.second(self.slope(self.norm(self.first(inputs)))) + self.position
        outputs: torch.Tensor = self.last(hidden.mean(dim=(2, 3))) * self.scale
        return outputs


@pytest.fixture
def wide() -> _Wide:
    torch.manual_seed(0)
    wide = _Wide().eval()
    with torch.no_grad():
        for parameter in wide.parameters():
            if parameter.numel() > 1:
                parameter.add_(torch.randn_like(parameter))
    return wide


def test_each_parameter_gets_the_deviation_of_its_kind(wide: _Wide) -> None:
    model = EagerTappedModel(wide, "second")
    means = [float(wide.norm.weight.detach().mean()), float(wide.slope.weight.detach().mean())]
    draw_anew(list(model.parameters()), Layers(model, INPUTS), seed=0)
    # The relative error of a deviation estimated from n values is 1 / sqrt(2 n); five of them.
    for weight, fan_in in (
        (wide.first.weight, 9),
        (wide.second.weight, 180),
        (wide.last.weight, 20),
    ):
        wanted = pytest.approx(math.sqrt(2 / fan_in), rel=5 / math.sqrt(2 * weight.numel()))
        assert float(weight.detach().std()) == wanted
    position = wide.position.detach()
    assert float(position.std()) == pytest.approx(0.02, rel=5 / math.sqrt(2 * position.numel()))
    for gain, mean in zip((wide.norm.weight, wide.slope.weight), means, strict=True):
        assert (gain == gain[0]).all()
        assert float(gain.detach()[0]) == pytest.approx(mean)
    assert wide.scale.item() == 3
    for layer in (wide.first, wide.norm, wide.second, wide.last):
        assert layer.bias is not None
        assert (layer.bias == 0).all()


def test_only_what_is_given_is_drawn_and_the_seed_decides(wide: _Wide) -> None:
    model = EagerTappedModel(wide, "second")
    first, last = wide.first.weight.detach().clone(), []
    for seed in (1, 1, 2):
        draw_anew([wide.last.get_parameter("weight")], Layers(model, INPUTS), seed=seed)
        last.append(wide.last.weight.detach().clone())
    assert torch.equal(wide.first.weight, first)
    assert torch.equal(last[0], last[1])
    assert not torch.equal(last[0], last[2])


def test_statistics_start_again(wide: _Wide) -> None:
    wide.train()
    wide(INPUTS)
    wide.eval()
    assert wide.norm.running_mean is not None
    assert wide.norm.running_mean.abs().max() > 0
    reset_statistics(Layers(EagerTappedModel(wide, "second"), INPUTS))
    fresh = nn.BatchNorm2d(40)
    for name in ("running_mean", "running_var"):
        assert torch.equal(wide.norm.get_buffer(name), fresh.get_buffer(name))


def test_no_weight_is_left_in_any_adapter(victim: TappedModel) -> None:
    student = copy.deepcopy(victim)
    draw_anew(list(student.parameters()), Layers(student, INPUTS), seed=0)
    for old, new in zip(victim.parameters(), student.parameters(), strict=True):
        if old.ndim > 1:
            together = torch.stack([old.detach().flatten(), new.detach().flatten()])
            # Of n independent pairs a correlation is about 1 / sqrt(n).
            assert abs(float(torch.corrcoef(together)[0, 1])) < 5 / math.sqrt(old.numel())
        else:
            assert (new == 0).all()
