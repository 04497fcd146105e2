"""One real watermark in a small network on handwritten digits, made once for all tests here."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

from deepsigns_registry.attestation.bundle import read_bundle
from deepsigns_registry.attestation.keys import generate_signing_key, owner_identity
from deepsigns_registry.attestation.policy import Policy
from deepsigns_registry.attestation.signing import FileSigner
from deepsigns_registry.attestation.statement import Parent
from deepsigns_registry.evidence.contents import Evidence, parse
from deepsigns_registry.graph.export import export_onnx
from deepsigns_registry.graph.wiring import parent_blueprint
from deepsigns_registry.watermark.adapters.eager import EagerTappedModel
from deepsigns_registry.watermark.data import LabelledData, TrainingData
from deepsigns_registry.watermark.embed import embed
from deepsigns_registry.watermark.key import RootKey
from deepsigns_registry.watermark.prepare import prepare_record
from deepsigns_registry.watermark.record import WatermarkRecord
from deepsigns_registry.watermark.settings import MarkSettings
from deepsigns_registry.watermark.targets import task_targets
from tests.support.attested import sign_folder
from tests.support.evidence import Story, chain_of, export, newest


def attest(record: WatermarkRecord, folder: Path, signer: FileSigner, chain: bytes) -> str:
    """Signs a folder for a record, and gives the bundle's text."""
    sign_folder(
        folder,
        signer,
        owner=record.root.owner.hex(),
        commitments=record.commitments(),
        commitment_entry=newest(chain),
        manifest_root=record.manifest.root,
        parent=Parent(name="digits", version="1", digest="0" * 64),
        queries=record.secrets["blackbox"].arrays["kept"].size,
    )
    return read_bundle(folder)


@pytest.fixture(scope="session")
def story() -> Iterator[Story]:
    # Small tensors and a shared machine: one thread is the fastest.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    digits = load_digits()
    inputs = (digits.data / 16).astype(np.float32)
    labels = digits.target.astype(np.int64)
    data = TrainingData(
        LabelledData(inputs[:1437], labels[:1437]), LabelledData(inputs[1437:], labels[1437:]), 10
    )
    model = EagerTappedModel(
        nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 10)), tap="1"
    )
    # Fidelity does not matter here, a strong mark after a short training does.
    settings = MarkSettings(queries=100)
    embed(model, data, None, settings, targets=task_targets(model, data.train))
    with TemporaryDirectory() as name:
        base = Path(name)
        generate_signing_key(base / "owner.pem", base / "owner.pub.pem")
        generate_signing_key(base / "worker.pem", base / "worker.pub.pem")
        unmarked = base / "unmarked.onnx"
        blueprint = parent_blueprint(unmarked, export_onnx(model, inputs[:8], unmarked))
        owner = owner_identity(base / "owner.pub.pem")
        record = prepare_record(model, data, RootKey.generate(owner), settings, blueprint=blueprint)
        embed(model, data, record, settings)
        folder = base / "model"
        folder.mkdir()
        tap = export_onnx(model, inputs[:8], folder / "model.onnx")
        record = record.with_tap(tap, blueprint)
        signer = FileSigner(base / "worker.pem")
        chain = chain_of((owner.hex(), record.commitments()))
        yield Story(
            base=base,
            record=record,
            bundle=attest(record, folder, signer, chain),
            policy=Policy.trusting([base / "worker.pub.pem"], "watermark"),
            signer=signer,
            marked=folder / "model.onnx",
            unmarked=unmarked,
            chain=chain,
        )
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def exported(story: Story) -> Path:
    return export(story, story.base / "evidence.zip")


@pytest.fixture
def known(story: Story, tmp_path: Path) -> Path:
    """The attestation as somebody archived it when the model was marked."""
    path = tmp_path / "archived.json"
    path.write_bytes((story.marked.parent / "deepsigns" / "watermark.sigstore.json").read_bytes())
    return path


@pytest.fixture
def evidence(exported: Path) -> Evidence:
    return parse(exported)


@pytest.fixture
def another_pair(tmp_path: Path) -> tuple[Path, Path]:
    """Private and public key of somebody else."""
    pair = tmp_path / "other.pem", tmp_path / "other.pub.pem"
    generate_signing_key(*pair)
    return pair
