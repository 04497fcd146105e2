"""The owner whose mark is looked for: a parent that was never marked, and its secret."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from deepsigns_registry.attestation.keystore import Marking
from deepsigns_registry.audit.verify import Candidate, Candidates
from deepsigns_registry.graph.export import export_onnx
from deepsigns_registry.graph.wiring import parent_blueprint
from deepsigns_registry.watermark.adapters.eager import EagerTappedModel
from deepsigns_registry.watermark.data import LabelledData, TrainingData
from deepsigns_registry.watermark.key import RootKey
from deepsigns_registry.watermark.prepare import prepare_record
from deepsigns_registry.watermark.record import WatermarkRecord
from deepsigns_registry.watermark.settings import MarkSettings

__all__ = ["CLASSES", "PARENT", "RECORD", "candidates_of", "convolutional", "write_owner"]

CLASSES, EDGE = 6, 8
PARENT, CONVOLUTIONAL, RECORD = "perceptron.onnx", "convolutional.onnx", "record.zip"
_OWNER = bytes(range(32))


def _images(samples: int, seed: int) -> LabelledData:
    centres = np.random.default_rng(0).normal(size=(CLASSES, 1, EDGE, EDGE))
    random = np.random.default_rng(seed)
    labels: NDArray[np.int64] = random.permutation(np.arange(samples) % CLASSES)
    inputs = centres[labels] + random.normal(size=(samples, 1, EDGE, EDGE))
    return LabelledData(inputs.astype(np.float32), labels.astype(np.int64))


def perceptron() -> nn.Module:
    """The parent, [batch, 1, 8, 8] to [batch, 6]."""
    return nn.Sequential(
        *(nn.Flatten(), nn.Linear(EDGE * EDGE, 96), nn.ReLU()),
        *(nn.Linear(96, 96), nn.ReLU(), nn.Linear(96, CLASSES)),
    )


def convolutional() -> nn.Module:
    """Another model for the same images, with batch norm."""
    return nn.Sequential(
        *(nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(8, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(256, 32), nn.ReLU(), nn.Linear(32, CLASSES)),
    )


def write_owner(folder: Path) -> None:
    """Writes the parent's file, another model's, and the record of a mark that nobody embedded."""
    data = TrainingData(_images(900, 1), _images(300, 2), CLASSES).validated()
    parent = EagerTappedModel(_trained(perceptron(), data.train, 0), "4")
    tap = export_onnx(parent, data.validation.inputs[:16], folder / PARENT)
    other = EagerTappedModel(_trained(convolutional(), data.train, 1), "9")
    export_onnx(other, data.validation.inputs[:16], folder / CONVOLUTIONAL)
    blueprint = parent_blueprint(folder / PARENT, tap)
    settings = MarkSettings(bits=64, queries=100, sources=60)
    record = prepare_record(
        parent, data, RootKey(bytes(32), _OWNER), settings, blueprint=blueprint
    ).with_tap(tap, blueprint)
    (folder / RECORD).write_bytes(record.to_bytes())


def candidates_of(folder: Path) -> Candidates:
    """What `deepsigns verify` would look for, from what `write_owner` wrote."""
    record = WatermarkRecord.from_bytes((folder / RECORD).read_bytes())
    record.check()
    marking = Marking(
        marking="m1",
        owner=_OWNER.hex(),
        model="model",
        source_version="1",
        marked_version="2",
        onnx_digest="0" * 64,
        commitments=record.commitments(),
        index=1,
        created_at=datetime(2026, 1, 2, tzinfo=UTC),
    )
    return Candidates(_OWNER.hex(), 1, (Candidate(marking, record),))


def _trained(module: nn.Module, data: LabelledData, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    for layer in module.modules():
        if isinstance(layer, (nn.Linear, nn.Conv2d)):
            layer.reset_parameters()
    inputs, labels = torch.from_numpy(data.inputs), torch.from_numpy(data.labels)
    optimizer = torch.optim.Adam(module.parameters(), lr=3e-3)
    module.train()
    for _ in range(10):
        for rows in torch.randperm(len(data)).split(64):
            optimizer.zero_grad()
            torch.autograd.backward(nn.functional.cross_entropy(module(inputs[rows]), labels[rows]))
            optimizer.step()
    return module.eval()
