"""The architectures: as wide and deep as their papers say, and for images of any size."""

import pytest
import torch
from torch import nn

from benchmarks import models


def weights(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_the_perceptron_and_the_convolutional_network_are_those_of_the_paper() -> None:
    perceptron = models.mlp((1, 28, 28), 10)
    assert weights(perceptron) == 784 * 512 + 512 + 512 * 512 + 512 + 512 * 10 + 10
    with torch.device("meta"):
        network = models.cnn((3, 32, 32), 10)
    convolutions = (3 * 32 + 32 * 32 + 32 * 64 + 64 * 64) * 9 + 32 + 32 + 64 + 64
    # 32 - 2 - 2 = 28, halved 14, - 2 - 2 = 10, halved 5.
    assert weights(network) == convolutions + 64 * 25 * 512 + 512 + 512 * 10 + 10


def test_wrn_28_10_has_the_size_of_its_paper() -> None:
    with torch.device("meta"):
        network = models.wide_resnet((3, 32, 32), 10, depth=28, width=10)
    # Table 5 of the paper: 36.5 million.
    assert round(weights(network) / 1e6, 1) == 36.5


def test_resnet_20_has_the_size_of_its_paper() -> None:
    # Table 6 of the paper: 0.27 million.
    assert round(weights(models.resnet((3, 32, 32), 10, depth=20)) / 1e6, 2) == 0.27


@pytest.mark.parametrize("name", sorted(set(models.MODELS) - {"wide-resnet"}))
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32)])
def test_every_model_takes_any_image(name: str, shape: models.Shape) -> None:
    module = models.MODELS[name](shape, 7).eval()
    with torch.no_grad():
        assert module(torch.rand(2, *shape)).shape == (2, 7)


def test_vectors_have_length_1() -> None:
    with torch.no_grad():
        vectors = models.embedding((1, 8, 8), 16)(torch.rand(3, 1, 8, 8))
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(3))


def test_impossible_depths_are_refused() -> None:
    with pytest.raises(ValueError, match="depth 9: 8, 14, 20"):
        models.resnet((1, 8, 8), 10, depth=9)
    with pytest.raises(ValueError, match="depth 27: 10, 16, 22, 28"):
        models.wide_resnet((1, 8, 8), 10, depth=27)
