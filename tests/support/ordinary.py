"""Ordinary modules, each with one peculiarity."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.export import ExportedProgram

Log = Callable[[nn.Module, NDArray[np.generic]], ExportedProgram]
ROW, IMAGE = (8,), (1, 8, 8)


def rows(*shape: int, kind: type[np.generic] = np.float32, seed: int = 0) -> NDArray[np.generic]:
    return np.random.default_rng(seed).standard_normal((4, *shape)).astype(kind)


class Base(nn.Module):
    """Two layers; what is peculiar about a model is in `hidden` or `ending`."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(8, 32), nn.Linear(32, 5)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.ending(self.last(self.hidden(inputs)))

    def hidden(self, inputs: Tensor) -> Tensor:
        return torch.relu(self.first(inputs))

    def ending(self, outputs: Tensor) -> Tensor:
        return outputs


def layers(*middle: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Linear(8, 32), *middle, nn.Linear(32, 5))


def images(norm: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, 8, 3), norm, nn.ReLU(), nn.Flatten(), nn.Linear(288, 5))


class Counting(Base):
    """Counts its calls, or keeps a mean of what it saw, in a buffer."""

    calls: Tensor

    def __init__(self, way: str) -> None:
        super().__init__()
        self.way = way
        self.register_buffer("calls", torch.tensor(93.0))

    def hidden(self, inputs: Tensor) -> Tensor:
        if self.way == "in place":
            self.calls.add_(1)
        elif self.way == "assigned":
            self.calls = self.calls + 1
        elif self.way == "copied":
            self.calls.copy_(0.9 * self.calls + inputs.mean())
        elif self.way == "read":
            self.calls.mul_(0.9).add_(inputs.mean())
            return torch.relu(self.first(inputs - self.calls))
        elif self.way == "added":
            hidden = self.first(inputs)
            hidden.view(-1).add_(self.calls.add_(1))
            return torch.relu(hidden)
        return torch.relu(self.first(inputs))
