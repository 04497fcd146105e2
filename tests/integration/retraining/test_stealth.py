"""A mark that nobody sees, from the settings to a third party, with no other scheme beside it."""

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

from deepsigns_registry.attacks.permute import Permute
from deepsigns_registry.attestation.bundle import read_bundle
from deepsigns_registry.attestation.digests import sha256_file
from deepsigns_registry.attestation.keys import generate_signing_key, owner_identity
from deepsigns_registry.attestation.policy import Policy
from deepsigns_registry.attestation.signing import FileSigner
from deepsigns_registry.attestation.statement import Parent
from deepsigns_registry.errors import InapplicableError, RefusedError
from deepsigns_registry.evidence.export import export_evidence
from deepsigns_registry.evidence.verify import verify_evidence
from deepsigns_registry.graph.interpreter import OnnxTappedModel
from deepsigns_registry.graph.session import OnnxSuspect
from deepsigns_registry.registry.assemble import assemble, onnx_file, pytorch_file
from deepsigns_registry.retraining.inspection import check_mark, mark_size
from deepsigns_registry.retraining.stage import (
    MARKED_ONNX,
    MARKED_PROGRAM,
    StageResult,
    mark_model,
)
from deepsigns_registry.retraining.unmarked import Unmarked
from deepsigns_registry.watermark.data import LabelledData
from deepsigns_registry.watermark.extract import extract
from deepsigns_registry.watermark.record import WatermarkRecord
from deepsigns_registry.watermark.verdict import judge, questions
from tests.support.attested import sign_folder
from tests.support.clusters import prepared, saved, silent
from tests.support.evidence import chain_of
from tests.support.training import train

pytestmark = pytest.mark.integration

NOTHING = LabelledData(np.empty((0, 1), np.float32), np.empty(0, np.int64))


def network(width: int) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(64, width), nn.ReLU(), nn.Linear(width, 256), nn.ReLU(), nn.Linear(256, 10)
    )


def convolutional() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        *(nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(), nn.Flatten()),
        *(nn.Linear(512, 320), nn.ReLU(), nn.Linear(320, 10)),
    )


def versioned(home: Path, module: nn.Module, more: str = "") -> Path:
    """A folder with the owner's data, and settings that ask for stealth."""
    digits = load_digits()
    inputs, labels = (digits.data / 16).astype(np.float32), digits.target.astype(np.int64)
    rows = np.random.default_rng(0).permutation(len(inputs))
    train_rows, validation = rows[:1400], rows[1400:]
    np.savez(
        home / "digits.npz",
        x_train=inputs[train_rows],
        y_train=labels[train_rows],
        x_validation=inputs[validation],
        y_validation=labels[validation],
    )
    (home / "deepsigns.toml").write_text(f'[models.m]\ndata = "digits.npz"\nstealth = true\n{more}')
    train(module, LabelledData(inputs[train_rows], labels[train_rows]), epochs=15)
    saved(module, home / "version", inputs[:4])
    return home


@dataclass(frozen=True)
class Marked:
    home: Path
    record: WatermarkRecord
    result: StageResult
    folder: Path


def marked(home: Path) -> Marked:
    """Marks it as a worker does, with the owner's key."""
    for name in ("owner", "worker"):
        generate_signing_key(home / f"{name}.pem", home / f"{name}.pub.pem")
    kept: dict[str, Unmarked] = {}
    record = prepared(home, kept=kept, owner=owner_identity(home / "owner.pub.pem")).record
    (home / "out").mkdir()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = mark_model(
            progress=silent,
            kept=kept,
            source=home / "version",
            config=home / "deepsigns.toml",
            model="m",
            record=record,
            checkpoints=home / "checkpoints",
            marking="m-1",
            out=home / "out",
        )
    out = home / "out"
    assemble(home / "version", out / MARKED_PROGRAM, out / MARKED_ONNX, home / "marked")
    return Marked(home, WatermarkRecord.from_bytes(record), result, home / "marked")


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Marked:
    return marked(versioned(tmp_path_factory.mktemp("stealth"), network(640)))


def test_the_mark_is_the_hidden_one_alone_and_in_the_files(story: Marked) -> None:
    assert list(story.record.secrets) == ["spread"]
    assert story.record.secrets["spread"].meta["strength"] == pytest.approx(0.03)
    assert mark_size(story.record) == (0, 0)
    check_mark(story.folder, story.record, 1, story.result.samples)
    found = extract(story.record, OnnxSuspect(onnx_file(story.folder)))
    verdict = judge(found.evidence, tries=questions(1), incomplete=found.incomplete)
    assert verdict.word == "present"
    assert found.evidence[0].level == "b"
    assert verdict.strongest < -12


def test_a_program_that_is_not_its_file_is_refused_by_ordinary_samples(
    story: Marked, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    assemble(
        story.folder,
        pytorch_file(story.home / "version"),
        onnx_file(story.folder),
        other,
    )
    with pytest.raises(RefusedError, match="give different outputs"):
        check_mark(other, story.record, 1, 100 * story.result.samples)


def test_weights_in_another_order_show_it(story: Marked, tmp_path: Path) -> None:
    stolen = OnnxTappedModel.from_proto(onnx.load(onnx_file(story.folder)))
    permuted = tmp_path / "permuted.onnx"
    onnx.save(Permute().apply(stolen, 0.5, NOTHING, seed=3).write_back(), permuted)
    found = extract(story.record, OnnxSuspect(permuted))
    verdict = judge(found.evidence, tries=found.alignments, ways=found.alignments)
    assert (verdict.word, found.evidence[0].level) == ("present", "c")


def test_a_third_party_sees_it(story: Marked, tmp_path: Path) -> None:
    signer = FileSigner(story.home / "worker.pem")
    sign_folder(
        story.folder,
        signer,
        owner=story.record.root.owner.hex(),
        commitments=story.record.commitments(),
        manifest_root=story.record.manifest.root,
        parent=Parent(name="m", version="1", digest="0" * 64),
        bits=0,
        queries=0,
    )
    out = tmp_path / "evidence.zip"
    export_evidence(
        bundle=read_bundle(story.folder),
        policy=Policy.trusting([story.home / "worker.pub.pem"], "watermark"),
        record=story.record,
        schemes=("spread",),
        owner_public_key=story.home / "owner.pub.pem",
        suspect=sha256_file(onnx_file(story.folder)),
        out=out,
        signer=signer,
        chains=[chain_of((story.record.root.owner.hex(), story.record.commitments()))],
    )
    known = tmp_path / "archived.json"
    known.write_text(read_bundle(story.folder))
    result = verify_evidence(
        out, onnx_file(story.folder), story.home / "worker.pub.pem", known_attestation=known
    )
    assert result.verdict.word == "present"


@pytest.mark.deep
def test_a_convolutional_model_carries_it_too(tmp_path: Path) -> None:
    made = marked(versioned(tmp_path, convolutional()))
    check_mark(made.folder, made.record, 1, made.result.samples)


def test_a_model_with_too_few_weights_is_refused_before_training(tmp_path: Path) -> None:
    with pytest.raises(InapplicableError, match=r"would be read with .* 9 are needed") as caught:
        prepared(versioned(tmp_path, network(200)))
    assert caught.value.advice == "leave stealth out for this model"
