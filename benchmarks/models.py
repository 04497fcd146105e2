"""The architectures that the benchmarks mark, each for any size of image.

All take float32 [batch, channels, height, width] and give [batch, outputs]: logits of classes,
targets of a regressor, or the vector of an embedding model.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = [
    "MODELS",
    "Shape",
    "cnn",
    "embedding",
    "mlp",
    "regressor",
    "resnet",
    "transformer",
    "wide_resnet",
]

Shape = tuple[int, int, int]
"""Channels, height and width of an image."""


def mlp(shape: Shape, outputs: int, *, hidden: Sequence[int] = (512, 512)) -> nn.Module:
    """The multilayer perceptron of the paper: 784-512-512-10 on images of 28 x 28."""
    channels, height, width = shape
    sizes = [channels * height * width, *hidden]
    layers: list[nn.Module] = [nn.Flatten()]
    for read, given in pairwise(sizes):
        layers += [nn.Linear(read, given), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(sizes[-1], outputs))


def cnn(shape: Shape, outputs: int, *, padding: int = 0) -> nn.Module:
    """The convolutional network of the paper: 32C3-32C3-MP2-64C3-64C3-MP2-512FC-10FC.

    Args:
        shape: Of the images; without padding at least 16 x 16.
        outputs: How many.
        padding: Of every convolution; the paper has none, images of 8 x 8 need 1.
    """
    features = nn.Sequential(
        *_convolution(shape[0], 32, padding),
        *_convolution(32, 32, padding),
        nn.MaxPool2d(2),
        *_convolution(32, 64, padding),
        *_convolution(64, 64, padding),
        nn.MaxPool2d(2),
        nn.Flatten(),
    )
    with torch.no_grad():
        flat = features(torch.zeros(1, *shape)).shape[1]
    return nn.Sequential(*features, nn.Linear(flat, 512), nn.ReLU(), nn.Linear(512, outputs))


def resnet(shape: Shape, outputs: int, *, depth: int = 8) -> nn.Module:
    """A residual network for small images (He et al. 2015, section 4.2).

    Shortcuts between stages are convolutions of 1 x 1, the paper's option B.

    Args:
        shape: Of the images.
        outputs: How many.
        depth: 6n + 2: 8, 14, 20, ...

    Raises:
        ValueError: There is no such depth.
    """
    blocks, rest = divmod(depth - 2, 6)
    if rest or blocks < 1:
        raise ValueError(f"depth {depth}: 8, 14, 20, ... are possible")
    stages: list[nn.Module] = [
        nn.Conv2d(shape[0], 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
    ]
    read = 16
    for stage, given in enumerate((16, 32, 64)):
        for block in range(blocks):
            stages.append(_Residual(read, given, stride=2 if stage and not block else 1))
            read = given
    return nn.Sequential(*stages, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, outputs))


def wide_resnet(shape: Shape, outputs: int, *, depth: int = 28, width: int = 10) -> nn.Module:
    """WRN-depth-width, without dropout (Zagoruyko and Komodakis 2016, table 1).

    Args:
        shape: Of the images.
        outputs: How many.
        depth: 6n + 4: 10, 16, 22, 28, ...
        width: Factor of the channels.

    Raises:
        ValueError: There is no such depth.
    """
    blocks, rest = divmod(depth - 4, 6)
    if rest or blocks < 1:
        raise ValueError(f"depth {depth}: 10, 16, 22, 28, ... are possible")
    stages: list[nn.Module] = [nn.Conv2d(shape[0], 16, 3, padding=1, bias=False)]
    read = 16
    for stage, channels in enumerate((16, 32, 64)):
        for block in range(blocks):
            given = channels * width
            stages.append(_Preactivated(read, given, stride=2 if stage and not block else 1))
            read = given
    ends = [nn.BatchNorm2d(read), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*stages, *ends, nn.Linear(read, outputs))


def transformer(
    shape: Shape, outputs: int, *, patch: int = 2, width: int = 64, depth: int = 2, heads: int = 4
) -> nn.Module:
    """A vision transformer in small (Dosovitskiy et al. 2020), with the mean of all tokens.

    Args:
        shape: Of the images; height and width are multiples of `patch`.
        outputs: How many.
        patch: Side of the square that becomes a token.
        width: Length of a token.
        depth: Number of blocks.
        heads: Heads of the attention.
    """
    return _Transformer(shape, outputs, patch=patch, width=width, depth=depth, heads=heads)


def regressor(shape: Shape, outputs: int, *, hidden: Sequence[int] = (128, 128)) -> nn.Module:
    """A perceptron whose outputs are numbers; tables are images of 1 x 1 x features."""
    return mlp(shape, outputs, hidden=hidden)


def embedding(shape: Shape, outputs: int) -> nn.Module:
    """A small convolutional network that gives a vector of length 1."""
    return nn.Sequential(
        *_convolution(shape[0], 32, 1),
        nn.MaxPool2d(2),
        *_convolution(32, 64, 1),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(256, 128),
        nn.ReLU(),
        nn.Linear(128, outputs),
        _Normalised(),
    )


MODELS: dict[str, Callable[[Shape, int], nn.Module]] = {
    "mlp": mlp,
    "cnn": cnn,
    "resnet": resnet,
    "wide-resnet": wide_resnet,
    "transformer": transformer,
    "regressor": regressor,
    "embedding": embedding,
}
"""Every architecture by its name in results."""


def _convolution(read: int, given: int, padding: int) -> list[nn.Module]:
    return [nn.Conv2d(read, given, 3, padding=padding), nn.ReLU()]


class _Residual(nn.Module):
    """Two convolutions, each with batch norm, beside a shortcut."""

    def __init__(self, read: int, given: int, *, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(read, given, 3, stride, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(given)
        self.second = nn.Conv2d(given, given, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(given)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or read != given:
            self.shortcut = nn.Sequential(
                nn.Conv2d(read, given, 1, stride, bias=False), nn.BatchNorm2d(given)
            )

    def forward(self, inputs: Tensor) -> Tensor:
        inside = functional.relu(self.first_norm(self.first(inputs)))
        return functional.relu(self.second_norm(self.second(inside)) + self.shortcut(inputs))


class _Preactivated(nn.Module):
    """Batch norm and rectifier before each convolution."""

    def __init__(self, read: int, given: int, *, stride: int) -> None:
        super().__init__()
        self.first_norm = nn.BatchNorm2d(read)
        self.first = nn.Conv2d(read, given, 3, stride, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(given)
        self.second = nn.Conv2d(given, given, 3, padding=1, bias=False)
        self.shortcut = (
            nn.Conv2d(read, given, 1, stride, bias=False) if stride != 1 or read != given else None
        )

    def forward(self, inputs: Tensor) -> Tensor:
        active = functional.relu(self.first_norm(inputs))
        past = inputs if self.shortcut is None else self.shortcut(active)
        inside = functional.relu(self.second_norm(self.first(active)))
        outputs: Tensor = self.second(inside) + past
        return outputs


class _Transformer(nn.Module):
    def __init__(
        self, shape: Shape, outputs: int, *, patch: int, width: int, depth: int, heads: int
    ) -> None:
        super().__init__()
        channels, height, side = shape
        tokens = (height // patch) * (side // patch)
        self.patches = nn.Conv2d(channels, width, patch, stride=patch)
        self.positions = nn.Parameter(torch.randn(1, tokens, width) * 0.02)
        self.blocks = nn.Sequential(*(_Block(width, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, outputs)

    def forward(self, inputs: Tensor) -> Tensor:
        tokens = self.patches(inputs).flatten(2).transpose(1, 2) + self.positions
        outputs: Tensor = self.head(self.norm(self.blocks(tokens)).mean(dim=1))
        return outputs


class _Block(nn.Module):
    """Attention and a perceptron, each behind layer norm and beside a shortcut."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.norm = nn.LayerNorm(width)
        self.wide = nn.Linear(width, 4 * width)
        self.narrow = nn.Linear(4 * width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        read = self.attention_norm(tokens)
        tokens = tokens + self.attention(read, read, read, need_weights=False)[0]
        inside = functional.gelu(self.wide(self.norm(tokens)))
        outputs: Tensor = tokens + self.narrow(inside)
        return outputs


class _Normalised(nn.Module):
    def forward(self, inputs: Tensor) -> Tensor:
        return functional.normalize(inputs, dim=1)
