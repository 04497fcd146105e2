"""Perturbed steps: what changes, that it is undone, and that the gradient is the perturbed one."""

from contextlib import suppress

import pytest
import torch
from torch import nn

from deepsigns_registry.errors import ConfigurationError
from deepsigns_registry.watermark.hardening import Hardening
from deepsigns_registry.watermark.settings import MarkSettings


def layer() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(40, 30)


def hardening(module: nn.Module, masks: float = 0.0, noise: float = 0.0) -> Hardening:
    settings = MarkSettings(pruning_masks=masks, weight_noise=noise)
    return Hardening(list(module.parameters()), settings)


def test_weights_are_restored_to_the_bit_whatever_happens() -> None:
    module, generator = layer(), torch.Generator().manual_seed(0)
    before = module.weight.detach().clone()
    with suppress(ArithmeticError), hardening(module, 0.9, 0.5).perturbed(generator):
        during = module.weight.detach().clone()
        raise ArithmeticError
    assert not torch.equal(during, before)
    assert torch.equal(module.weight, before)


def test_every_other_step_is_pruned_up_to_the_share() -> None:
    module, generator = layer(), torch.Generator().manual_seed(0)
    shares = []
    for _ in range(200):
        with hardening(module, masks=0.8).perturbed(generator):
            shares.append(float((module.weight == 0).float().mean()))
    pruned = [share for share in shares if share > 0]
    # A fair coin a step: 100, standard deviation 7. Shares uniform up to 0.8: mean 0.4.
    assert abs(len(pruned) - 100) < 4 * 7
    assert max(pruned) <= 0.8
    assert sum(pruned) / len(pruned) == pytest.approx(0.4, abs=0.1)


def test_noise_is_relative_to_the_weights_and_biases_are_left_alone() -> None:
    module, generator = layer(), torch.Generator().manual_seed(0)
    before, bias = module.weight.detach().clone(), module.bias.detach().clone()
    with hardening(module, noise=0.5).perturbed(generator):
        noise = (module.weight - before).detach()
        assert float(noise.std() / before.std()) == pytest.approx(0.5, rel=0.1)
        assert torch.equal(module.bias, bias)


def test_gradients_are_those_of_the_perturbed_model() -> None:
    module, generator = layer(), torch.Generator().manual_seed(0)
    inputs = torch.ones(1, 40)
    with hardening(module, noise=1.0).perturbed(generator):
        loss = module(inputs).square().sum()
        expected = 2 * module(inputs).detach().T @ inputs
        torch.autograd.backward(loss)
    assert module.weight.grad is not None
    assert torch.allclose(module.weight.grad, expected)


def test_off_means_nothing_is_drawn() -> None:
    module, generator = layer(), torch.Generator().manual_seed(0)
    state = generator.get_state()
    with hardening(module).perturbed(generator):
        pass
    assert torch.equal(generator.get_state(), state)


@pytest.mark.parametrize(
    ("name", "value"),
    [("pruning_masks", 1.0), ("warm_up", -0.1), ("weight_noise", -1.0), ("query_family", "pepper")],
)
def test_settings_out_of_range_are_refused(name: str, value: float | str) -> None:
    with pytest.raises(ConfigurationError, match=f"{name} is"):
        MarkSettings(**{name: value})  # type: ignore[arg-type]
