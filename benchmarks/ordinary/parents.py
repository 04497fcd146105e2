"""Training an ordinary model as its owner would, without a thought of a mark."""

import torch
from torch import nn
from torch.nn import functional

from benchmarks.ordinary.zoo import Entry
from deepsigns_registry.watermark.data import LabelledData

__all__ = ["train_parent"]


def train_parent(entry: Entry, data: LabelledData, seed: int) -> nn.Module:
    """The parent in evaluation mode; the same for the same seed.

    Args:
        entry: What it is, and how it is trained.
        data: The training samples.
        seed: Of its start and of the order of batches.
    """
    torch.manual_seed(seed)
    network = entry.build()
    inputs, targets = torch.from_numpy(data.inputs), torch.from_numpy(data.labels)
    optimizer = torch.optim.Adam(network.parameters(), lr=entry.learning_rate)
    network.train()
    for _ in range(entry.epochs):
        for rows in torch.randperm(len(data)).split(entry.batch_size):
            # Batch norm cannot train with a last batch of one sample.
            if len(rows) < 2:
                continue
            optimizer.zero_grad()
            outputs = network(inputs[rows])
            if data.task == "regression":
                loss = functional.mse_loss(outputs, targets[rows])
            elif entry.probabilities:
                loss = functional.nll_loss(outputs.clamp_min(1e-12).log(), targets[rows])
            else:
                loss = functional.cross_entropy(outputs, targets[rows])
            torch.autograd.backward(loss)
            optimizer.step()
    return network.eval()
