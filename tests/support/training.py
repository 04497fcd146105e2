"""Training without a watermark, the same every time."""

import torch
from torch import nn

from deepsigns_registry.watermark.data import LabelledData
from deepsigns_registry.watermark.tapped import Tapped


def train(module: nn.Module, data: LabelledData, *, epochs: int, seed: int = 0) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)
    inputs, labels = torch.from_numpy(data.inputs), torch.from_numpy(data.labels)
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-3)
    for _ in range(epochs):
        for rows in torch.randperm(len(data), generator=generator).split(128):
            optimizer.zero_grad()
            given = module(inputs[rows])
            outputs = given.outputs if isinstance(given, Tapped) else given
            loss = nn.functional.cross_entropy(outputs, labels[rows])
            torch.autograd.backward(loss)
            optimizer.step()
    return module
