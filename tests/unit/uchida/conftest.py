"""One network on handwritten digits with three marks, embedded jointly: ours and the plugin's."""

import copy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from cryptography.hazmat.primitives.asymmetric import ec
from sklearn.datasets import load_digits
from torch import nn

from deepsigns_registry.attestation.keys import owner_identity, public_pem
from deepsigns_registry.watermark.adapters.eager import EagerTappedModel
from deepsigns_registry.watermark.data import LabelledData, TrainingData
from deepsigns_registry.watermark.embed import embed
from deepsigns_registry.watermark.key import RootKey
from deepsigns_registry.watermark.prepare import prepare_record
from deepsigns_registry.watermark.record import WatermarkRecord
from deepsigns_registry.watermark.schemes import named_schemes
from deepsigns_registry.watermark.settings import MarkSettings
from deepsigns_registry.watermark.targets import task_targets

SCHEMES = ["whitebox", "blackbox", "uchida"]


@dataclass(frozen=True)
class Joint:
    parent: EagerTappedModel
    model: EagerTappedModel
    data: TrainingData
    settings: MarkSettings
    record: WatermarkRecord
    owner_key: Path


@pytest.fixture(scope="session")
def joint(tmp_path_factory: pytest.TempPathFactory) -> Joint:
    # The same owner in every run, so that the same marks are embedded.
    owner_key = tmp_path_factory.mktemp("owner") / "owner.pub.pem"
    owner_key.write_bytes(public_pem(ec.derive_private_key(1, ec.SECP256R1()).public_key()))
    digits = load_digits()
    inputs = (digits.data / 16).astype(np.float32)
    labels = digits.target.astype(np.int64)
    data = TrainingData(
        LabelledData(inputs[:1437], labels[:1437]), LabelledData(inputs[1437:], labels[1437:]), 10
    )
    torch.manual_seed(0)
    layers = [nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10)]
    parent = EagerTappedModel(nn.Sequential(*layers), "3")
    settings = MarkSettings(bits=128, queries=100, epochs=2, minimum_steps=400, repeats=100)
    embed(parent, data, None, settings, targets=task_targets(parent, data.train))
    root = RootKey(bytes(32), owner_identity(owner_key))
    record = prepare_record(parent, data, root, settings, schemes=named_schemes(SCHEMES))
    model = copy.deepcopy(parent)
    embed(model, data, record, settings)
    return Joint(parent, model, data, settings, record, owner_key)
