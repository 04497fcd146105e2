"""An owner's whole estate, made with the real parts: a marked classifier, keys, a key store."""

import os
import warnings
from collections.abc import Callable, Sequence
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
from deepsigns_registry.graph.wiring import parent_blueprint
from deepsigns_registry.watermark.adapters.eager import EagerTappedModel
from deepsigns_registry.watermark.data import LabelledData, TrainingData
from deepsigns_registry.watermark.embed import embed
from deepsigns_registry.watermark.key import RootKey
from deepsigns_registry.watermark.prepare import prepare_record
from deepsigns_registry.watermark.schemes import named_schemes
from deepsigns_registry.watermark.settings import MarkSettings
from deepsigns_registry.watermark.targets import task_targets

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
    base = _empty_home(tmp_path_factory)
    data = _digits()
    _save(base / "digits.npz", data)
    model = _network(data)
    export_onnx(model, data.train.inputs[:16], base / "unmarked.onnx")
    _mark(base, model, data)
    return base


@pytest.fixture(scope="session")
def home_of_schemes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with two models: `three.onnx` carries white box, black box and the plugin's mark
    and is `digits`; `regressor.onnx` is `other`, on `numbers.npz`.
    """
    base = _empty_home(tmp_path_factory)
    data = _digits()
    _save(base / "digits.npz", data)
    model = _network(data, width=192)
    _mark(base, model, data, file="three", schemes=("whitebox", "blackbox", "uchida"))
    numbers = TrainingData(
        train=_regression(data.train), validation=_regression(data.validation), classes=4
    )
    _save(base / "numbers.npz", numbers)
    model = _network(numbers, width=192)
    _mark(base, model, numbers, file="regressor", marking="m2", of="other")
    return base


@pytest.fixture(scope="session")
def home_of_stealth(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with one model, `hidden.onnx`, whose mark nobody sees."""
    base = _empty_home(tmp_path_factory)
    data = _digits()
    _save(base / "digits.npz", data)
    settings = MarkSettings(stealth=True)
    model = _network(data, width=384)
    _mark(base, model, data, file="hidden", schemes=("spread",), settings=settings)
    return base


def _empty_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("owner")
    for name in ("owner", "worker", "stranger"):
        generate_signing_key(base / f"keys/{name}.pem", base / f"keys/{name}.pub.pem")
    generate_sealing_key(base / "keys/sealing.key", base / "keys/sealing.pub")
    generate_sealing_key(base / "keys/other.key", base / "keys/other.pub")
    # Opening it makes the database; our own client opens only one that is there.
    MlflowClient(f"sqlite:///{base / 'mlflow.db'}")
    return base


def _save(path: Path, data: TrainingData) -> None:
    np.savez(
        path,
        x_train=data.train.inputs,
        y_train=data.train.labels,
        x_validation=data.validation.inputs,
        y_validation=data.validation.labels,
    )


def _regression(data: LabelledData) -> LabelledData:
    """Numbers to learn: the mean brightness of each quarter of the image."""
    quarters = data.inputs.reshape(-1, 4, 16).mean(axis=2)
    return LabelledData(data.inputs, quarters.astype(np.float32))


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


def _network(data: TrainingData, width: int = 128) -> EagerTappedModel:
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Linear(64, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(),
        nn.Linear(width, data.classes),
    )  # fmt: skip
    model = EagerTappedModel(module, "3")
    # The parent of a mark has learned its labels.
    embed(model, data, None, MarkSettings(epochs=10), targets=task_targets(model, data.train))
    return model


def _mark(
    base: Path,
    model: EagerTappedModel,
    data: TrainingData,
    *,
    file: str = "marked",
    marking: str = "m1",
    of: str = "digits",
    schemes: Sequence[str] = (),
    settings: MarkSettings | None = None,
) -> None:
    settings = settings or MarkSettings()
    owner = owner_identity(base / "keys/owner.pub.pem")
    root = RootKey(os.urandom(32), owner)
    asked = named_schemes(schemes) if schemes else None
    blueprint = None
    if settings.stealth:
        # Weights are found in a file by their place in the parent's.
        parent = base / f"parent-of-{file}.onnx"
        blueprint = parent_blueprint(parent, export_onnx(model, data.train.inputs[:16], parent))
    record = prepare_record(model, data, root, settings, schemes=asked, blueprint=blueprint)
    record = record.with_tap("", blueprint)
    keystore = FileKeystore(base / "keystore")
    index = keystore.commitments.append(owner, record.commitments())
    embed(model, data, record, settings)
    marked = base / f"{file}.onnx"
    record = record.with_tap(export_onnx(model, data.train.inputs[:16], marked))
    keystore.seal_record(
        marking,
        record.to_bytes(),
        recipients=[load_recipient(base / "keys/sealing.pub")],
        context={"owner": owner.hex(), "request": "r1"},
    )
    keystore.finish(
        Marking(
            marking=marking,
            owner=owner.hex(),
            model=of,
            source_version="1",
            marked_version="2",
            onnx_digest=sha256_file(marked),
            commitments=record.commitments(),
            index=index,
            created_at=datetime.now(UTC),
        )
    )
