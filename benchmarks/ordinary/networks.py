"""The networks of ordinary models, as their owners would write them."""

import itertools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

__all__ = ["Recurrent", "Rows", "Transformer", "convolutional", "perceptron"]

_CHANNELS = (16, 32)
_ROWS, _ROW = 8, 8


def perceptron(
    widths: Sequence[int],
    activation: Callable[[], nn.Module] = nn.ReLU,
    *,
    norm: Callable[[int], nn.Module] | None = None,
    dropout: float = 0.0,
    last: nn.Module | None = None,
) -> nn.Sequential:
    """Linear layers with an activation function after each but the last.

    Args:
        widths: Features, hidden neurons of each layer, outputs.
        activation: Makes an activation function.
        norm: Makes a normalisation of so many neurons, before the activation function.
        dropout: Share of neurons that training drops behind it.
        last: What the outputs pass at the end.

    Examples:
        >>> [type(layer).__name__ for layer in perceptron([4, 8, 2], dropout=0.1)]
        ['Linear', 'ReLU', 'Dropout', 'Linear']
    """
    layers: list[nn.Module] = []
    for ins, outs in itertools.pairwise(widths[:-1]):
        layers += [nn.Linear(ins, outs)]
        layers += [norm(outs)] if norm else []
        layers += [activation()]
        layers += [nn.Dropout(dropout)] if dropout else []
    layers += [nn.Linear(widths[-2], widths[-1])]
    return nn.Sequential(*layers, *([last] if last else []))


def convolutional(
    norm: Callable[[int], nn.Module] | None = None,
    *,
    pooled: bool,
    classes: int = 10,
) -> nn.Sequential:
    """Two convolutions on 1 x 8 x 8; then either a mean over the image or a flat head.

    Args:
        norm: Makes a normalisation of so many channels; None for none.
        pooled: The mean over the image; otherwise flattened, with one more hidden layer.
        classes: Outputs.
    """
    first, second = _CHANNELS
    normed = [norm(first), norm(second)] if norm else [nn.Identity(), nn.Identity()]
    body = [
        *(nn.Conv2d(1, first, 3, padding=1), normed[0], nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(first, second, 3, padding=1), normed[1], nn.ReLU()),
    ]
    if pooled:
        return nn.Sequential(
            *body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(second, classes)
        )
    flat = second * (_ROWS // 2) ** 2
    head = (nn.Flatten(), nn.Linear(flat, 128), nn.ReLU(), nn.Linear(128, classes))
    return nn.Sequential(*body, *head)


class Rows(nn.Module):
    """A one-dimensional convolutional network over the 8 rows of an image."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *(nn.Conv1d(_ROW, 64, 3, padding=1), nn.BatchNorm1d(64), nn.ReLU()),
            *(nn.Conv1d(64, 128, 3, padding=1), nn.BatchNorm1d(128), nn.ReLU()),
        )
        self.head = nn.Linear(128, classes)

    def forward(self, rows: Tensor) -> Tensor:
        """Logits [batch, classes] of rows [batch, 8, 8]."""
        features: Tensor = self.body(rows.transpose(1, 2))
        logits: Tensor = self.head(features.mean(dim=2))
        return logits


class Recurrent(nn.Module):
    """A GRU or an LSTM over the 8 rows of an image, read at the last one."""

    def __init__(
        self, cell: type[nn.GRU] | type[nn.LSTM], hidden: int = 64, classes: int = 10
    ) -> None:
        super().__init__()
        self.cell = cell(_ROW, hidden, batch_first=True)
        self.head = nn.Sequential(nn.Linear(hidden, 64), nn.ReLU(), nn.Linear(64, classes))

    def forward(self, rows: Tensor) -> Tensor:
        """Logits [batch, classes] of rows [batch, 8, 8]."""
        states, _ = self.cell(rows)
        logits: Tensor = self.head(states[:, -1])
        return logits


class Transformer(nn.Module):
    """An encoder of two layers over the 8 rows of an image, with learned positions."""

    def __init__(self, width: int = 64, classes: int = 10) -> None:
        super().__init__()
        self.embedding = nn.Linear(_ROW, width)
        self.positions = nn.Parameter(0.02 * torch.randn(_ROWS, width))
        layer = nn.TransformerEncoderLayer(width, 4, 128, dropout=0.1, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(width, classes)

    def forward(self, rows: Tensor) -> Tensor:
        """Logits [batch, classes] of rows [batch, 8, 8]."""
        encoded: Tensor = self.encoder(self.embedding(rows) + self.positions)
        logits: Tensor = self.head(encoded.mean(dim=1))
        return logits
