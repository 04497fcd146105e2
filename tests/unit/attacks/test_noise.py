import math

import pytest
import torch

from deepsigns_registry.attacks.noise import Noise
from deepsigns_registry.watermark.data import LabelledData
from deepsigns_registry.watermark.tapped import TappedModel


@pytest.mark.parametrize("sigma", [0.05, 2.0])
def test_noise_is_relative_to_each_parameter(
    victim: TappedModel, data: LabelledData, sigma: float
) -> None:
    noisy = Noise().apply(victim, sigma, data, seed=0)
    for old, new in zip(victim.parameters(), noisy.parameters(), strict=True):
        noise = (new - old).detach()
        wanted = sigma * float(old.detach().std(correction=0))
        # The relative error of a deviation estimated from n values is 1 / sqrt(2 n), that of the
        # mean 1 / sqrt(n); five of each.
        count = noise.numel()
        measured = float(noise.square().mean().sqrt())
        assert measured == pytest.approx(wanted, rel=5 / math.sqrt(2 * count))
        assert abs(float(noise.mean())) < 5 * wanted / math.sqrt(count)


def test_noise_scales_with_its_strength(victim: TappedModel, data: LabelledData) -> None:
    small, large = (Noise().apply(victim, sigma, data, seed=4) for sigma in (0.1, 0.2))
    triples = zip(victim.parameters(), small.parameters(), large.parameters(), strict=True)
    for old, once, twice in triples:
        torch.testing.assert_close((twice - old), 2 * (once - old), atol=1e-6, rtol=1e-4)
