"""An owner's whole estate, made with the real parts: a marked classifier, keys, a key store."""

import os
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import torch
from mlflow import MlflowClient
from torch import nn

from deepsigns_registry.attestation.digests import sha256_file
from deepsigns_registry.attestation.keys import generate_signing_key, owner_identity
from deepsigns_registry.attestation.keystore import FileKeystore, Marking
from deepsigns_registry.attestation.sealing import generate_sealing_key, load_recipient
from deepsigns_registry.config import Settings, load_settings
from deepsigns_registry.graph.export import export_onnx
from deepsigns_registry.watermark.adapters.eager import EagerTappedModel
from deepsigns_registry.watermark.data import LabelledData, TrainingData
from deepsigns_registry.watermark.embed import embed
from deepsigns_registry.watermark.key import RootKey
from deepsigns_registry.watermark.prepare import prepare_record
from deepsigns_registry.watermark.settings import MarkSettings

with warnings.catch_warnings():
    # It warns about its own use of another library, once, when it is imported.
    warnings.simplefilter("ignore")
    import mlflow.store.tracking.sqlalchemy_store  # noqa: F401

_CONFIG = """
[registry]
tracking_uri = "sqlite:///mlflow.db"
[owner]
name = "Example Ltd"
[[policy.keys]]
public_key = "file:keys/worker.pub.pem"
may_sign = ["watermark", "audit"]
[models.digits]
data = "{data}"
[models.other]
data = "digits.npz"
[audit]
reports = "{folder}/audits"
min_accuracy = {min_accuracy}
[engine]
jobs = {jobs}
[[deployments]]
name = "app"
model = "{model}"
target = "{target}"
schedule = "0 3 * * *"
attacks = [{attacks}]
"""
_numbers = count()


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The owner's folder: keys, key store, `digits.npz`, `marked.onnx` and `unmarked.onnx`.

    The unmarked file is the same network before it was marked.
    """
    base = tmp_path_factory.mktemp("owner")
    data = _digits()
    np.savez(
        base / "digits.npz",
        x_train=data.train.inputs,
        y_train=data.train.labels,
        x_validation=data.validation.inputs,
        y_validation=data.validation.labels,
    )
    for name in ("owner", "worker", "stranger"):
        generate_signing_key(base / f"keys/{name}.pem", base / f"keys/{name}.pub.pem")
    generate_sealing_key(base / "keys/sealing.key", base / "keys/sealing.pub")
    generate_sealing_key(base / "keys/other.key", base / "keys/other.pub")
    model = _network(data)
    export_onnx(model, data.train.inputs[:16], base / "unmarked.onnx")
    _mark(base, model, data)
    # Opening it makes the database; our own client opens only one that is there.
    MlflowClient(f"sqlite:///{base / 'mlflow.db'}")
    return base


@pytest.fixture
def audited(home: Path, tmp_path: Path) -> Callable[..., Settings]:
    """Makes settings with one deployment, `app`; reports and runs go to the test's folder."""

    def make(
        target: Path | str,
        *attacks: str,
        model: str = "digits",
        data: str = "digits.npz",
        min_accuracy: float = 0.5,
        jobs: int = 1,
        changes: tuple[str, str] = ("", ""),
    ) -> Settings:
        text = _CONFIG.format(
            folder=tmp_path,
            target=target,
            attacks=", ".join(f'"{attack}"' for attack in attacks),
            model=model,
            data=data,
            min_accuracy=min_accuracy,
            jobs=jobs,
        )
        path = home / f"settings-{next(_numbers)}.toml"
        path.write_text(text.replace(*changes) if changes[0] else text)
        return load_settings(path)

    return make


def _digits() -> TrainingData:
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(images))
    inputs = np.asarray(images[order] / 16, np.float32)
    classes = np.asarray(labels[order], np.int64)
    return TrainingData(
        train=LabelledData(inputs[:1437], classes[:1437]),
        validation=LabelledData(inputs[1437:], classes[1437:]),
        classes=10,
    )


def _network(data: TrainingData) -> EagerTappedModel:
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10)
    )
    model = EagerTappedModel(module, "3")
    embed(model, data, None, MarkSettings(epochs=10))
    return model


def _mark(base: Path, model: EagerTappedModel, data: TrainingData) -> None:
    owner = owner_identity(base / "keys/owner.pub.pem")
    record = prepare_record(model, data, RootKey(os.urandom(32), owner), MarkSettings())
    keystore = FileKeystore(base / "keystore")
    index = keystore.commitments.append(owner, record.commitments())
    embed(model, data, record, MarkSettings())
    marked = base / "marked.onnx"
    record = record.with_tap(export_onnx(model, data.train.inputs[:16], marked))
    keystore.seal_record(
        "m1",
        record.to_bytes(),
        recipients=[load_recipient(base / "keys/sealing.pub")],
        context={"owner": owner.hex(), "request": "r1"},
    )
    keystore.finish(
        Marking(
            marking="m1",
            owner=owner.hex(),
            model="digits",
            source_version="1",
            marked_version="2",
            onnx_digest=sha256_file(marked),
            commitments=record.commitments(),
            index=index,
            created_at=datetime.now(UTC),
        )
    )
