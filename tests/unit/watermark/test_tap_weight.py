"""The weight behind a tap: the same live parameter from a module and from its exported program."""

import copy
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from deepsigns_registry.watermark.adapters.eager import EagerTappedModel
from deepsigns_registry.watermark.adapters.exported import ExportedTappedModel
from deepsigns_registry.watermark.tapped import TappedModel


class Residual(nn.Module):
    """h = relu(x V), a plain product; g = h silu(h); r = g + second(g)."""

    def __init__(self) -> None:
        super().__init__()
        self.product = nn.Parameter(torch.randn(6, 8))
        self.gated, self.second, self.summed = nn.Identity(), nn.Linear(8, 8), nn.Identity()
        self.last = nn.Linear(8, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = torch.relu(inputs @ self.product)
        gated = self.gated(hidden * torch.sigmoid(hidden))
        outputs: Tensor = self.last(self.summed(gated + self.second(gated)))
        return outputs


class Skipping(nn.Module):
    """The inputs beside a layer that reads them."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.summed, self.last = nn.Linear(6, 6), nn.Identity(), nn.Linear(6, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.last(self.summed(inputs + self.first(inputs)))
        return outputs


class Attentive(nn.Module):
    """Tokens with positions, through one block of attention."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.normalise = nn.Linear(6, 8), nn.LayerNorm(8)
        self.positions = nn.Parameter(torch.randn(1, 3, 8))
        self.block = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.last = nn.Linear(8, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        tokens = self.normalise(self.embed(inputs) + self.positions)
        outputs: Tensor = self.last(self.block(tokens).mean(1))
        return outputs


def convolutional() -> nn.Sequential:
    layers = nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.ConvTranspose2d(4, 5, 2),
        nn.GELU(),
        nn.Flatten(),
        nn.Linear(80, 7, bias=False),
        nn.ReLU(),
        nn.BatchNorm1d(7),
        nn.Linear(7, 3),
    )
    for layer in layers:
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            assert layer.running_var is not None
            layer.running_var.uniform_(0.5, 3)
            nn.init.uniform_(layer.weight, 0.5, 2)
    return layers


def program(module: nn.Module, inputs: Tensor, tap: str) -> ExportedTappedModel:
    batch = ({0: torch.export.Dim("batch")},)
    return ExportedTappedModel(torch.export.export(module, (inputs,), dynamic_shapes=batch), tap)


def weight_of(model: TappedModel) -> Tensor:
    weight = model.tap_weight()
    assert weight is not None
    return weight


def eager(module: nn.Module, tap: str, shape: Sequence[int]) -> EagerTappedModel:
    model = EagerTappedModel(module.eval(), tap)
    with torch.no_grad():
        model(torch.randn(2, *shape))
    return model


@pytest.mark.parametrize(
    ("tap", "layer", "transposed"),
    [("0", 0, False), ("3", 0, False), ("4", 4, True), ("5", 4, True), ("7", 7, False)],
)
def test_both_adapters_show_the_weight_one_row_a_neuron(
    tap: str, layer: int, *, transposed: bool
) -> None:
    torch.manual_seed(0)
    module = convolutional().eval()
    wanted = module.get_parameter(f"{layer}.weight").detach()
    wanted = wanted.transpose(0, 1) if transposed else wanted
    if tap == "3":
        # Right behind the convolution, normalisation scales its rows, as an export folds it.
        deviation = (module.get_buffer("1.running_var") + 1e-5).sqrt()
        factor = module.get_parameter("1.weight").detach() / deviation
        wanted = wanted * factor[:, None, None, None]
    inputs = torch.randn(2, 3, 8, 8)
    for model in (eager(module, tap, (3, 8, 8)), program(module, inputs, tap)):
        torch.testing.assert_close(weight_of(model), wanted)


def test_normalisation_behind_an_activation_does_not_scale() -> None:
    module = convolutional()
    weight = weight_of(eager(module, "9", (3, 8, 8)))
    assert torch.equal(weight, module.get_parameter("7.weight"))


def test_flattened_positions_are_no_neurons_of_one_layer() -> None:
    assert eager(convolutional(), "6", (3, 8, 8)).tap_weight() is None


def test_a_loss_on_it_trains_the_model() -> None:
    torch.manual_seed(0)
    module = convolutional()
    for model in (eager(module, "3", (3, 8, 8)), program(module, torch.randn(2, 3, 8, 8), "3")):
        model.zero_grad()
        torch.autograd.backward(weight_of(model).square().sum())
        reached = {
            name.removeprefix("module.").removeprefix("graph_module.")
            for name, parameter in model.named_parameters()
            if parameter.grad is not None and parameter.grad.abs().sum() > 0
        }
        assert reached == {"0.weight", "1.weight"}


def test_it_is_the_copy_s_own_and_follows_training() -> None:
    model = eager(convolutional(), "0", (3, 8, 8))
    before = weight_of(model).detach().clone()
    other = copy.deepcopy(model)
    with torch.no_grad():
        other.module.get_parameter("0.weight").add_(1)
    torch.testing.assert_close(weight_of(other), before + 1)
    torch.testing.assert_close(weight_of(model), before)


def test_looking_leaves_the_model_as_it_was() -> None:
    module = convolutional()
    frozen = module.get_parameter("0.weight").requires_grad_(False)
    model = eager(module, "3", (3, 8, 8))
    model.train()
    module[3].eval()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    modes = [part.training for part in model.modules()]
    assert weight_of(model).shape == (4, 3, 3, 3)
    assert [part.training for part in model.modules()] == modes
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert not frozen.requires_grad
    assert all(value.grad is None for value in model.parameters())


def test_a_product_and_a_gate_have_one_layer_and_a_residual_sum_has_two() -> None:
    torch.manual_seed(0)
    module = Residual()
    assert torch.equal(weight_of(eager(module, "gated", (6,))), module.product.T)
    assert torch.equal(weight_of(eager(module, "second", (6,))), module.second.weight)
    assert eager(module, "summed", (6,)).tap_weight() is None
    assert eager(Skipping(), "summed", (6,)).tap_weight() is None


def test_tokens() -> None:
    torch.manual_seed(0)
    module = Attentive()
    assert torch.equal(weight_of(eager(module, "normalise", (3, 6))), module.embed.weight)
    inner = weight_of(eager(module, "block.dropout", (3, 6)))
    assert torch.equal(inner, module.block.linear1.weight)
    assert eager(module, "block", (3, 6)).tap_weight() is None


def test_a_weight_that_is_computed_is_no_parameter() -> None:
    layers = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(6, 8)), nn.Linear(8, 3))
    assert eager(layers, "0", (6,)).tap_weight() is None


def test_what_has_no_layer_has_no_weight() -> None:
    layers = nn.Sequential(nn.ReLU(), nn.Linear(6, 3))
    assert eager(layers, "0", (6,)).tap_weight() is None
    assert eager(nn.Sequential(nn.ReLU(), nn.Flatten()), "0", (6,)).tap_weight() is None


def test_a_module_must_have_run_once() -> None:
    with pytest.raises(RuntimeError, match="run a batch before"):
        EagerTappedModel(convolutional(), "0").tap_weight()
