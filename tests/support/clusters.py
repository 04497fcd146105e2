"""Clusters of points, and a network that tells them apart."""

import warnings
from collections import OrderedDict
from pathlib import Path

import mlflow
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from deepsigns_registry.engine.jobs import Figures
from deepsigns_registry.retraining.stage import Prepared, prepare_mark
from deepsigns_registry.retraining.unmarked import Unmarked
from deepsigns_registry.watermark.data import LabelledData

FEATURES, CLASSES = 16, 4


def samples(rows: int, seed: int) -> LabelledData:
    """Clusters that a small network tells apart."""
    random = np.random.default_rng(seed)
    labels = np.arange(rows) % CLASSES
    centres = 4 * np.eye(CLASSES, FEATURES, dtype=np.float32)
    noise = random.normal(size=(rows, FEATURES)).astype(np.float32)
    return LabelledData(centres[labels] + noise, labels)


def silent(_fraction: float, _message: str, /, figures: Figures | None = None) -> None:
    del figures


def trained(train: LabelledData) -> nn.Sequential:
    """A network that has learned these samples."""
    torch.manual_seed(0)
    hideout = nn.Sequential(nn.Linear(FEATURES, 300), nn.ReLU())
    net = nn.Sequential(OrderedDict(hideout=hideout, head=nn.Linear(300, CLASSES)))
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        outputs = net(torch.from_numpy(train.inputs))
        torch.autograd.backward(
            nn.functional.cross_entropy(outputs, torch.from_numpy(train.labels))
        )
        optimizer.step()
    return net


def saved(net: nn.Module, folder: Path, example: NDArray[np.float32]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mlflow.pytorch.save_model(
            net.eval(), str(folder), input_example=example, pip_requirements=["torch"]
        )


def prepared(
    home: Path,
    version: str = "version",
    *,
    kept: dict[str, Unmarked] | None = None,
    owner: bytes = bytes(32),
) -> Prepared:
    """Prepares model `m` of a folder's settings, as a worker does."""
    with warnings.catch_warnings():
        # Great Expectations and MLflow warn of their own use of other packages.
        warnings.simplefilter("ignore")
        return prepare_mark(
            progress=silent,
            kept=kept,
            source=home / version,
            config=home / "deepsigns.toml",
            model="m",
            root=bytes(32),
            owner=owner,
            scratch=home,
        )
