"""Networks whose neurons may have something in common with those of every other such network.

Flattened maps and sequences, positions that are encoded by fixed numbers, inputs that are handed
on, kernels of one channel, starts that are drawn so that neurons differ: what might be taken for
the parent's though it is not.
"""

import math
from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor, nn

from benchmarks.ordinary.networks import perceptron
from benchmarks.ordinary.zoo import Entry

__all__ = ["KIN", "SHARED"]

_IMAGES, _ROWS, _DIGITS = "digits, images", "digits, 8 rows", "digits"


class _Tokens(nn.Module):
    """An encoder over the 8 rows of an image, with sines for positions, and a hidden layer."""

    def __init__(self, *, flat: bool, width: int = 32) -> None:
        super().__init__()
        self.embedding, self.flat = nn.Linear(8, width), flat
        self.register_buffer("sines", _sines(8, width))
        layer = nn.TransformerEncoderLayer(width, 4, 64, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(8 * width if flat else width, 10)

    def forward(self, rows: Tensor) -> Tensor:
        encoded = self.encoder(self.embedding(rows) + self.get_buffer("sines"))
        logits: Tensor = self.head(encoded.flatten(1) if self.flat else encoded.mean(dim=1))
        return logits


class _States(nn.Module):
    """A recurrence whose states at every step are read."""

    def __init__(self, cell: type[nn.GRU] | type[nn.LSTM], *, both: bool) -> None:
        super().__init__()
        self.cell = cell(8, 32, batch_first=True, bidirectional=both)
        self.head = nn.Linear(8 * 32 * (1 + both), 10)

    def forward(self, rows: Tensor) -> Tensor:
        logits: Tensor = self.head(self.cell(rows)[0].flatten(1))
        return logits


class _Residual(nn.Module):
    """A stream of 64 that begins with the input itself, or with a layer's reading of it."""

    def __init__(self, *, own: bool) -> None:
        super().__init__()
        self.stem = nn.Linear(64, 64) if own else nn.Identity()
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64)) for _ in range(2)
        )
        self.head = nn.Linear(64, 10)

    def forward(self, pixels: Tensor) -> Tensor:
        stream = self.stem(pixels)
        for block in self.blocks:
            stream = stream + block(stream)
        logits: Tensor = self.head(stream)
        return logits


class _Beside(nn.Module):
    """What reads hidden neurons and the input beside them."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Sequential(nn.Linear(64, 64), nn.ReLU())
        self.head = nn.Linear(128, 10)

    def forward(self, pixels: Tensor) -> Tensor:
        logits: Tensor = self.head(torch.cat([self.hidden(pixels), pixels], dim=1))
        return logits


class _Last(nn.Module):
    """A convolution whose map is flattened with its channels last."""

    def __init__(self) -> None:
        super().__init__()
        self.map = nn.Sequential(nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
        self.head = nn.Linear(32 * 16, 10)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.map(images).permute(0, 2, 3, 1).flatten(1))
        return logits


def _separable() -> nn.Module:
    """Kernels of one channel between pointwise ones."""
    return nn.Sequential(
        *(nn.Conv2d(1, 32, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(32, 32, 3, padding=1, groups=32), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(32 * 16, 10)),
    )


def _kernels_on_the_input() -> nn.Module:
    """Rows of an image as channels, and kernels of one channel on them."""
    return nn.Sequential(
        *(nn.Conv1d(8, 64, 3, padding=1, groups=8), nn.ReLU(), nn.Flatten()),
        nn.Linear(64 * 8, 10),
    )


def _started(start: Callable[[Tensor], object], *widths: int) -> nn.Module:
    network = perceptron(widths)
    for layer in network:
        if isinstance(layer, nn.Linear):
            start(layer.weight)
    return network


def _sines(steps: int, width: int) -> Tensor:
    place = torch.arange(steps)[:, None]
    speed = torch.exp(torch.arange(0, width, 2) * (-math.log(10_000.0) / width))
    return torch.stack([(place * speed).sin(), (place * speed).cos()], dim=2).flatten(1)


_ENTRIES = (
    Entry("tokens-flat-sines", _ROWS, partial(_Tokens, flat=True), epochs=20),
    Entry("tokens-mean-sines", _ROWS, partial(_Tokens, flat=False), epochs=20),
    Entry("gru-every-step", _ROWS, partial(_States, nn.GRU, both=False), epochs=20),
    Entry("lstm-every-step", _ROWS, partial(_States, nn.LSTM, both=False), epochs=20),
    Entry("gru-both-ways", _ROWS, partial(_States, nn.GRU, both=True), epochs=20),
    Entry("residual-own-stem", _DIGITS, partial(_Residual, own=True), epochs=20),
    Entry("residual-from-input", _DIGITS, partial(_Residual, own=False), epochs=20),
    Entry("input-beside", _DIGITS, _Beside, epochs=20),
    Entry("cnn-channels-last", _IMAGES, _Last, epochs=20),
    Entry("cnn-separable", _IMAGES, _separable, epochs=20),
    Entry("kernels-on-input", _ROWS, _kernels_on_the_input, epochs=20),
    Entry(
        "orthogonal-start",
        _DIGITS,
        partial(_started, nn.init.orthogonal_, 64, 64, 64, 10),
        epochs=20,
    ),
)

SHARED: Mapping[str, Entry] = {entry.name: entry for entry in _ENTRIES}
"""These by their names; what the zoo holds besides is ordinary."""

KIN: Mapping[str, Entry] = {
    "identity-start": Entry(
        "identity-start", _DIGITS, partial(_started, nn.init.eye_, 64, 64, 64, 10), epochs=20
    )
}
"""All networks start from the same weights: what was trained of them descends from one network."""
