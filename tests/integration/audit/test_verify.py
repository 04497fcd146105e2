"""Which marks are looked for in a file, in which order, and what is counted for it."""

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from deepsigns_registry.attestation.keys import owner_identity
from deepsigns_registry.attestation.keystore import FileKeystore, Marking
from deepsigns_registry.attestation.sealing import load_recipient
from deepsigns_registry.audit.verify import Candidate, find_candidates, verify_onnx
from deepsigns_registry.config import Settings, load_settings
from deepsigns_registry.errors import CouldNotCheckError, NotFoundError, TamperedError
from deepsigns_registry.graph.interpreter import OnnxTappedModel
from deepsigns_registry.retraining.data import load_training_data
from deepsigns_registry.watermark.key import RootKey
from deepsigns_registry.watermark.prepare import prepare_record
from deepsigns_registry.watermark.record import WatermarkRecord
from deepsigns_registry.watermark.settings import MarkSettings

pytestmark = pytest.mark.integration

MakeSettings = Callable[..., Settings]


@pytest.fixture
def keystore(home: Path, tmp_path: Path) -> FileKeystore:
    """A copy of the owner's key store, to be changed."""
    return FileKeystore(shutil.copytree(home / "keystore", home / f"keystore-{tmp_path.name}"))


@pytest.fixture
def settings(home: Path, audited: MakeSettings, keystore: FileKeystore) -> Settings:
    return audited(
        home / "marked.onnx",
        changes=("[audit]", f'[keystore]\nuri = "file:{keystore.root.name}"\n[audit]'),
    )


@pytest.fixture(scope="module")
def second(home: Path) -> WatermarkRecord:
    """Another secret of the same owner, never embedded into anything."""
    (home / "second.toml").write_text('[models.digits]\ndata = "digits.npz"')
    data = load_training_data(load_settings(home / "second.toml"), "digits")
    parent = OnnxTappedModel.from_file(home / "unmarked.onnx", _hidden(home / "unmarked.onnx"))
    root = RootKey(os.urandom(32), owner_identity(home / "keys/owner.pub.pem"))
    return prepare_record(parent.eval(), data, root, MarkSettings())


def _hidden(path: Path) -> str:
    nodes = [node for node in onnx.load(path).graph.node if node.op_type == "Relu"]
    return str(nodes[-1].output[0])


def add(
    home: Path,
    keystore: FileKeystore,
    record: WatermarkRecord,
    *,
    recipient: str = "sealing",
    **changes: object,
) -> Marking:
    owner = record.root.owner
    marking = Marking(
        marking="m2",
        owner=owner.hex(),
        model="digits",
        source_version="2",
        marked_version="3",
        onnx_digest="0" * 64,
        commitments=record.commitments(),
        index=keystore.commitments.append(owner, record.commitments()),
        created_at=datetime.now(UTC),
    ).model_copy(update=changes)
    keystore.seal_record(
        marking.marking,
        record.to_bytes(),
        recipients=[load_recipient(home / f"keys/{recipient}.pub")],
        context={"owner": owner.hex(), "request": "r2"},
    )
    keystore.finish(marking)
    return marking


def test_one_marking(home: Path, settings: Settings) -> None:
    candidates = find_candidates(settings, "digits")
    # Three schemes, and all of them together.
    assert candidates.tries() == 4
    assert candidates.tries(suspects=10) == 40
    examination = verify_onnx(home / "marked.onnx", candidates)
    assert examination.verdict.word == "present"
    assert examination.marking == examination.exact
    assert examination.providers
    assert "Candidate(" not in repr(candidates), "records are never shown"


def test_every_candidate_and_commitment_is_counted(
    home: Path, settings: Settings, keystore: FileKeystore, second: WatermarkRecord
) -> None:
    alone = verify_onnx(home / "marked.onnx", find_candidates(settings))
    add(home, keystore, second.with_tap("output"))
    keystore.commitments.append(second.root.owner, {"whitebox": "3" * 64})
    candidates = find_candidates(settings)
    assert candidates.commitments == 3
    assert candidates.tries() == 3 * 2 * 4
    examination = verify_onnx(home / "marked.onnx", candidates)
    assert examination.marking is not None
    assert examination.marking.marking == "m1"
    growth = examination.verdict.log10_p_adjusted("whitebox") - alone.verdict.log10_p_adjusted(
        "whitebox"
    )
    assert growth == pytest.approx(np.log10(6))


def test_changed_file_still_carries_the_mark(
    home: Path, settings: Settings, tmp_path: Path
) -> None:
    # A field that no graph uses: other bytes, another digest, the same model.
    model = onnx.load(home / "marked.onnx")
    model.producer_version = "changed"
    onnx.save(model, tmp_path / "m.onnx")
    examination = verify_onnx(tmp_path / "m.onnx", find_candidates(settings))
    assert examination.verdict.word == "present"
    assert examination.exact is None
    assert examination.marking is not None


def test_candidate_that_cannot_be_read_forbids_absent(
    home: Path, settings: Settings, keystore: FileKeystore, second: WatermarkRecord
) -> None:
    add(home, keystore, second.with_tap("no-such-tensor"))
    examination = verify_onnx(home / "unmarked.onnx", find_candidates(settings))
    assert examination.verdict.word == "undecided"
    assert examination.marking is None
    assert "no-such-tensor" not in " ".join(examination.verdict.reasons)


def test_marking_sealed_to_a_former_key_forbids_absent_and_nothing_else(
    home: Path, settings: Settings, keystore: FileKeystore, second: WatermarkRecord
) -> None:
    add(home, keystore, second, recipient="other")
    candidates = find_candidates(settings)
    assert [entry.marking.marking for entry in candidates.candidates] == ["m1"]
    assert "marking 'm2'" in candidates.unopened[0]
    assert verify_onnx(home / "marked.onnx", candidates).verdict.word == "present"
    assert verify_onnx(home / "unmarked.onnx", candidates).verdict.word == "undecided"


@pytest.mark.parametrize("lost", ["record.age", "context.json"])
def test_marking_that_was_lost_forbids_absent_and_nothing_else(
    *,
    home: Path,
    settings: Settings,
    keystore: FileKeystore,
    second: WatermarkRecord,
    lost: str,
) -> None:
    add(home, keystore, second)
    (keystore.root / "m2" / lost).unlink()
    candidates = find_candidates(settings)
    assert [entry.marking.marking for entry in candidates.candidates] == ["m1"]
    assert "marking 'm2'" in candidates.unopened[0]
    assert verify_onnx(home / "marked.onnx", candidates).verdict.word == "present"
    assert verify_onnx(home / "unmarked.onnx", candidates).verdict.word == "undecided"
    (keystore.root / "m1" / lost).unlink()
    with pytest.raises(CouldNotCheckError, match="marking 'm1'") as caught:
        find_candidates(settings)
    assert type(caught.value) is CouldNotCheckError


def test_only_the_named_model_is_looked_for(
    home: Path, settings: Settings, keystore: FileKeystore, second: WatermarkRecord
) -> None:
    add(home, keystore, second, model="other")
    assert len(find_candidates(settings).candidates) == 2
    (candidate,) = find_candidates(settings, "other").candidates
    assert isinstance(candidate, Candidate)
    with pytest.raises(CouldNotCheckError, match="no finished marking of model 'nobody'"):
        find_candidates(settings, "nobody")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"commitments": {"whitebox": "4" * 64}}, "not the one that was committed"),
        ({"index": 9}, "is commitment 9, but the log holds only 2"),
    ],
)
def test_key_store_that_contradicts_itself(
    *,
    home: Path,
    settings: Settings,
    keystore: FileKeystore,
    second: WatermarkRecord,
    changes: dict[str, Any],
    message: str,
) -> None:
    add(home, keystore, second, **changes)
    with pytest.raises(TamperedError, match=message):
        find_candidates(settings)


def test_record_that_cannot_be_derived_again(
    home: Path, settings: Settings, keystore: FileKeystore, second: WatermarkRecord
) -> None:
    secret = second.secrets["whitebox"]
    name, array = next((n, a) for n, a in secret.arrays.items() if a.ndim > 1)
    forged = replace(secret, arrays={**secret.arrays, name: array[::-1].copy()})
    add(home, keystore, replace(second, secrets={**second.secrets, "whitebox": forged}))
    with pytest.raises(TamperedError, match="marking 'm2': white-box secret"):
        find_candidates(settings)


def test_what_is_no_onnx_file(home: Path, settings: Settings, tmp_path: Path) -> None:
    candidates = find_candidates(settings)
    with pytest.raises(CouldNotCheckError, match=r"digits\.npz"):
        verify_onnx(home / "digits.npz", candidates)
    with pytest.raises(NotFoundError, match="gone"):
        verify_onnx(tmp_path / "gone.onnx", candidates)
