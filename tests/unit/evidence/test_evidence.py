import io
import json
import stat
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cryptography.hazmat.primitives.asymmetric import ec
from numpy.typing import NDArray
from torch import nn

from deepsigns_registry.attestation.keys import generate_signing_key, public_pem
from deepsigns_registry.attestation.policy import Policy
from deepsigns_registry.attestation.statement import WATERMARK_PREDICATE, watermark_statement
from deepsigns_registry.attestation.verification import verify_statement
from deepsigns_registry.errors import (
    ConfigurationError,
    CouldNotCheckError,
    NotFoundError,
    TamperedError,
)
from deepsigns_registry.evidence.contents import Evidence, parse, render
from deepsigns_registry.evidence.export import export_evidence
from deepsigns_registry.evidence.verify import Step, verify_evidence
from deepsigns_registry.graph.export import export_onnx
from deepsigns_registry.graph.session import OnnxSuspect
from deepsigns_registry.watermark import blackbox, verdict
from deepsigns_registry.watermark.adapters.eager import EagerTappedModel
from deepsigns_registry.watermark.blueprint import Blueprint
from deepsigns_registry.watermark.data import LabelledData
from deepsigns_registry.watermark.extract import Extraction
from deepsigns_registry.watermark.key import RootKey, commit, purpose_key, scheme_key
from deepsigns_registry.watermark.manifest import Manifest
from deepsigns_registry.watermark.queries import make_queries
from deepsigns_registry.watermark.record import WatermarkRecord, binding_nonce
from deepsigns_registry.watermark.scheme import SchemeSecret
from tests.support.attested import watermark_predicate
from tests.support.evidence import Story
from tests.support.unbound import unbound_labels

BOTH = ("whitebox", "blackbox")


def _attest_changed(story: Story, **changes: Any) -> str:
    """A good signature of the same signer under other claims."""
    verified = verify_statement(story.bundle, story.policy, "watermark")
    return story.signer.sign_statement(
        {
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{"name": "a", "digest": {"sha256": "0" * 64}}],
            "predicateType": WATERMARK_PREDICATE,
            "predicate": verified.predicate | changes,
        }
    )


def _export(story: Story, out: Path, **changes: Any) -> Path:
    given: dict[str, Any] = {
        "bundle": story.bundle,
        "policy": story.policy,
        "record": story.record,
        "schemes": BOTH,
        "owner_public_key": story.owner_key,
        "suspect": story.marked,
        "out": out,
    }
    export_evidence(**(given | changes))
    return out


@pytest.fixture(scope="session")
def exported(story: Story) -> Path:
    return _export(story, story.base / "evidence.zip")


@pytest.fixture
def known(story: Story, tmp_path: Path) -> Path:
    """The attestation as somebody archived it when the model was marked."""
    path = tmp_path / "archived.json"
    path.write_bytes((story.marked.parent / "deepsigns" / "watermark.sigstore.json").read_bytes())
    return path


@pytest.fixture
def evidence(exported: Path) -> Evidence:
    return parse(exported)


def test_a_third_party_sees_the_mark(story: Story, exported: Path, known: Path) -> None:
    seen: list[Step] = []
    result = verify_evidence(
        exported, story.marked, story.signer_key, known_attestation=known, report=seen.append
    )
    assert result.verdict.word == "present"
    assert result.owner == story.record.root.owner.hex()
    assert result.schemes == ("blackbox", "whitebox")
    assert tuple(seen) == result.steps
    assert [step.name for step in result.steps] == [
        "signature", "known attestation", "owner", "suspect", "manifest",
        "commitment: blackbox", "derivation: blackbox",
        "commitment: whitebox", "derivation: whitebox", "extraction",
    ]  # fmt: skip
    assert "a file of the marked version itself" in result.steps[3].detail
    document = json.loads(json.dumps(result.to_json()))
    assert document["verdict"] == "present"
    assert document["evidence"]["whitebox"]["level"] == "a"
    assert document["evidence"]["blackbox"]["log10_p_adjusted"] <= -20


def test_an_unmarked_model_is_not_claimed(story: Story, tmp_path: Path, known: Path) -> None:
    path = _export(story, tmp_path / "e.zip", suspect=story.unmarked)
    result = verify_evidence(path, story.unmarked, story.signer_key, known_attestation=known)
    assert result.verdict.word in {"absent", "undecided"}


NOT_OLDER = (
    "nothing shows that the commitment is older than the file in dispute; "
    "give the attestation as you knew it before"
)


def test_what_nobody_knew_before_is_never_present(story: Story, exported: Path) -> None:
    # Real evidence of a real mark: nothing in it tells it from a forgery.
    found = verify_evidence(exported, story.marked, story.signer_key).verdict
    assert found.log10_p_adjusted("blackbox") <= -10
    assert found.word == "undecided"
    assert found.reasons[-1] == NOT_OLDER


@pytest.mark.parametrize(
    ("matches", "word", "unknown"), [(102, "present", "undecided"), (64, "absent", "absent")]
)
def test_the_usual_threshold_holds_with_the_known_attestation(
    story: Story,
    exported: Path,
    known: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    matches: int,
    word: str,
    unknown: str,
) -> None:
    # 102 of 128 is a p of 10**-11.
    read = verdict.Evidence("whitebox", trials=128, matches=matches, chance=0.5, level="a")
    monkeypatch.setattr(
        "deepsigns_registry.evidence.verify.extract", lambda *_: Extraction((read,), ())
    )
    given = exported, story.marked, story.signer_key
    assert verify_evidence(*given, known_attestation=known).verdict.word == word
    without = verify_evidence(*given).verdict
    assert without.word == unknown
    assert (NOT_OLDER in without.reasons) == (unknown == "undecided")


def _fit_to(suspect: Path, root: RootKey) -> tuple[SchemeSecret, Manifest]:
    """A black-box secret made for a model that is there already, as well as anybody can.

    The training data is made up; of the candidates those are called rare where the suspect's
    answer leads by most, and the parent's answer is named so that each label would be the
    suspect's, if only the labels did not follow from what was named.
    """
    classes, count = 10, 400
    generator = np.random.default_rng(0)
    inputs = generator.random((1000, 64), dtype=np.float32)
    manifest = Manifest.of(LabelledData(inputs, generator.integers(0, classes, len(inputs))))
    subkey = scheme_key(root.subkey("blackbox"), root.owner, manifest.root)
    sources = manifest.lowest(purpose_key(subkey, "sources"), count)
    key = purpose_key(subkey, "queries")
    candidates = make_queries("salt", key, np.arange(2 * count), inputs[sources])
    answers = OnnxSuspect(suspect).run(candidates, tap=None)[0]
    leads = answers - answers.mean(axis=0)
    sorted_leads = np.sort(leads, axis=1)
    kept = np.sort(np.argsort(sorted_leads[:, -2] - sorted_leads[:, -1], kind="stable")[:count])
    noise = generator.normal(size=(count, classes)).astype(np.float32)
    arrays: dict[str, NDArray[np.generic]] = {
        "sources": inputs[sources],
        "source_indices": sources,
        "kept": kept,
        "query_key": np.frombuffer(key, dtype=np.uint8),
        "parent_outputs": noise,
        "label_key": np.frombuffer(purpose_key(subkey, "labels"), dtype=np.uint8),
    }
    secret = SchemeSecret("blackbox", {"classes": classes, "family": "salt"}, arrays)
    # A label is a number of steps away from the parent's class.
    steps = blackbox._labels(secret) - noise.argmax(axis=1)
    named = (leads[kept].argmax(axis=1) - steps) % classes
    fitted = noise + 8 * np.eye(classes, dtype=np.float32)[named]
    return replace(secret, arrays={**arrays, "parent_outputs": fitted}), manifest


@pytest.mark.parametrize("bound", [True, False])
def test_choices_made_after_seeing_the_suspect_prove_nothing(
    story: Story, tmp_path: Path, known: Path, monkeypatch: pytest.MonkeyPatch, *, bound: bool
) -> None:
    # A signer who has an unmarked model first: every signature and derivation is good.
    if not bound:
        monkeypatch.setattr(blackbox, "_labels", unbound_labels)
    root, salt = RootKey.generate(story.record.root.owner), bytes(32)
    secret, manifest = _fit_to(story.unmarked, root)
    record = WatermarkRecord(
        root=root,
        salts={"blackbox": salt},
        nonces={"blackbox": binding_nonce(salt, secret)},
        secrets={"blackbox": secret},
        manifest=manifest,
        tap="",
        reference=story.record.reference,
    )
    said = watermark_predicate(
        owner=root.owner.hex(), commitments=record.commitments(), manifest_root=manifest.root
    )
    bundle = story.signer.sign_statement(watermark_statement({"model.onnx": "1" * 64}, said))
    path = _export(
        story,
        tmp_path / "forged.zip",
        bundle=bundle,
        record=record,
        schemes=["blackbox"],
        suspect=story.unmarked,
    )
    found = verify_evidence(path, story.unmarked, story.signer_key).verdict
    if bound:
        # Chance: one key in a million is below.
        assert found.log10_p_adjusted("blackbox") > -6
        assert found.word in {"absent", "undecided"}
    else:
        assert found.log10_p_adjusted("blackbox") <= -10
        assert found.word == "undecided"
        assert found.reasons[-1] == NOT_OLDER
    with pytest.raises(TamperedError, match="its statement is not the attestation in"):
        verify_evidence(path, story.unmarked, story.signer_key, known_attestation=known)


def test_the_same_claims_signed_again_are_not_the_known_attestation(
    story: Story, evidence: Evidence, tmp_path: Path, known: Path
) -> None:
    path = tmp_path / "again.zip"
    path.write_bytes(render(replace(evidence, bundle=_attest_changed(story))))
    with pytest.raises(TamperedError, match="its statement is not the attestation in"):
        verify_evidence(path, story.marked, story.signer_key, known_attestation=known)


def test_the_known_attestation_has_to_be_there(
    story: Story, exported: Path, tmp_path: Path
) -> None:
    nothing = tmp_path / "nothing.json"
    with pytest.raises(NotFoundError, match=r"nothing\.json: no such file"):
        verify_evidence(exported, story.marked, story.signer_key, known_attestation=nothing)


def test_every_tensor_counts_as_a_tap_that_was_tried(story: Story, tmp_path: Path) -> None:
    hidden = _export(story, tmp_path / "w.zip", schemes=["whitebox"])
    outputs = _export(story, tmp_path / "b.zip", schemes=["blackbox"])
    tries = [
        verify_evidence(path, story.marked, story.signer_key).verdict.tries
        for path in (hidden, outputs)
    ]
    assert tries[0] > tries[1] == 2


def test_the_root_key_is_never_in_the_file(story: Story, exported: Path) -> None:
    root = story.record.root.secret
    with zipfile.ZipFile(exported) as archive:
        for name in archive.namelist():
            content = archive.read(name)
            assert root not in content
            assert root.hex().encode() not in content


def test_what_is_not_revealed_stays_secret(story: Story, tmp_path: Path) -> None:
    path = _export(story, tmp_path / "b.zip", schemes=["blackbox"])
    with zipfile.ZipFile(path) as archive:
        content = b"".join(archive.read(name) for name in archive.namelist())
        names = archive.namelist()
    assert not [name for name in names if "whitebox" in name]
    for secret in (story.record.root.subkey("whitebox"), story.record.nonces["whitebox"]):
        assert secret.hex().encode() not in content
    assert story.record.reference.tobytes() not in content
    assert story.record.blueprint.rows.tobytes() not in content
    assert not parse(path).blueprint
    assert parse(path).tap == ""
    result = verify_evidence(path, story.marked, story.signer_key)
    assert [found.scheme for found in result.verdict.evidence] == ["blackbox"]


def test_the_file_says_what_it_gives_away(story: Story, exported: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(exported) as archive:
        text = archive.read("README.txt").decode()
    for phrase in ("Training records", "Where the mark sits", "root", "whitebox", "--attestation"):
        assert phrase in text
    path = _export(story, tmp_path / "b.zip", schemes=["blackbox"])
    with zipfile.ZipFile(path) as archive:
        assert "Where the mark sits" not in archive.read("README.txt").decode()


def test_the_file_is_for_this_user_and_never_replaced(story: Story, exported: Path) -> None:
    assert stat.S_IMODE(exported.stat().st_mode) == 0o600
    before = exported.read_bytes()
    with pytest.raises(ConfigurationError, match="exists already"):
        _export(story, exported)
    assert exported.read_bytes() == before


def test_the_same_evidence_gives_the_same_bytes(exported: Path, evidence: Evidence) -> None:
    assert render(evidence) == exported.read_bytes()


def _another(tmp_path: Path) -> tuple[Path, Path]:
    pair = tmp_path / "other.pem", tmp_path / "other.pub.pem"
    generate_signing_key(*pair)
    return pair


def test_exporting_checks_what_it_is_given(story: Story, tmp_path: Path) -> None:
    private, public = _another(tmp_path)
    out = tmp_path / "e.zip"
    with pytest.raises(ConfigurationError, match="no scheme 'nonsense'"):
        _export(story, out, schemes=["nonsense"])
    with pytest.raises(ConfigurationError, match="nothing to reveal"):
        _export(story, out, schemes=[])
    with pytest.raises(ConfigurationError, match="another owner"):
        _export(story, out, owner_public_key=public)
    with pytest.raises(NotFoundError, match="no such file"):
        _export(story, out, suspect=tmp_path / "nothing.onnx")
    with pytest.raises(TamperedError, match="not signed by"):
        _export(story, out, policy=Policy.trusting([public], "watermark"))
    other = replace(story.record, root=RootKey.generate(story.record.root.owner))
    with pytest.raises(TamperedError, match="secret"):
        _export(story, out, record=other)
    assert private.exists()
    assert not out.exists()


def test_a_bundle_of_another_marking_does_not_go_with_the_record(
    story: Story, tmp_path: Path
) -> None:
    with pytest.raises(TamperedError, match="do not belong together"):
        _export(
            story,
            tmp_path / "e.zip",
            bundle=_attest_changed(story, commitments={"whitebox": "0" * 64}),
        )


def test_a_place_that_cannot_be_written(story: Story, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CouldNotCheckError, match="cannot be written"):
        _export(story, tmp_path / "file" / "e.zip")


def test_another_signer_is_not_believed(story: Story, exported: Path, tmp_path: Path) -> None:
    _, public = _another(tmp_path)
    with pytest.raises(TamperedError, match="not signed by"):
        verify_evidence(exported, story.marked, public)


def test_the_evidence_is_about_one_file(story: Story, exported: Path) -> None:
    with pytest.raises(TamperedError, match="not the file that this evidence is about"):
        verify_evidence(exported, story.unmarked, story.signer_key)


def _arrays(
    evidence: Evidence, scheme: str, change: Callable[[dict[str, NDArray[np.generic]]], object]
) -> Evidence:
    revealed = evidence.schemes[scheme]
    arrays = {name: array.copy() for name, array in revealed.secret.arrays.items()}
    change(arrays)
    changed = replace(revealed, secret=replace(revealed.secret, arrays=arrays))
    return replace(evidence, schemes={**evidence.schemes, scheme: changed})


def _scheme(evidence: Evidence, name: str, **changes: Any) -> Evidence:
    revealed = replace(evidence.schemes[name], **changes)
    return replace(evidence, schemes={**evidence.schemes, name: revealed})


def _other_label(arrays: dict[str, NDArray[np.generic]]) -> None:
    arrays["label_key"] = np.roll(arrays["label_key"], 1)


STRANGER = public_pem(ec.generate_private_key(ec.SECP256R1()).public_key())

FORGERIES: dict[str, tuple[Callable[[Evidence], Evidence], str]] = {
    "subkey": (lambda e: _scheme(e, "whitebox", subkey=bytes(32)), "does not open the commitment"),
    "nonce": (lambda e: _scheme(e, "blackbox", nonce=bytes(32)), "does not open the commitment"),
    "salt": (lambda e: _scheme(e, "whitebox", salt=bytes(32)), "not the one committed to"),
    "labels": (lambda e: _arrays(e, "blackbox", _other_label), "not the one committed to"),
    "missing": (lambda e: _arrays(e, "whitebox", lambda a: a.pop("bits")), "not the one committed"),
    "owner key": (lambda e: replace(e, owner_key=b"nonsense"), "owner's key is not that"),
    "another owner": (lambda e: replace(e, owner_key=STRANGER), "owner's key is not that"),
    "manifest": (
        lambda e: replace(
            e, manifest=replace(e.manifest, labels=np.roll(e.manifest.labels, 1))
        ),
        "manifest is not the one committed to",
    ),
    "blueprint": (
        lambda e: replace(
            e, blueprint=replace(e.blueprint, norms=np.roll(e.blueprint.norms, 1))
        ),
        "not the one committed to",
    ),
    "no blueprint": (
        lambda e: replace(e, blueprint=Blueprint.empty()), "not the one committed to"
    ),
    "bundle": (lambda e: replace(e, bundle="{}"), "is not a Sigstore bundle"),
    "suspect": (lambda e: replace(e, suspect="0" * 64), "not the file"),
}  # fmt: skip


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_consistent_forgery_is_tampering(
    story: Story, evidence: Evidence, tmp_path: Path, forgery: str
) -> None:
    # The file is written again with good checksums: only the cryptography can tell.
    change, message = FORGERIES[forgery]
    path = tmp_path / "forged.zip"
    path.write_bytes(render(change(evidence)))
    with pytest.raises(TamperedError, match=message):
        verify_evidence(path, story.marked, story.signer_key)


def test_a_statement_about_another_size_is_tampering(
    story: Story, evidence: Evidence, tmp_path: Path
) -> None:
    path = tmp_path / "forged.zip"
    path.write_bytes(render(replace(evidence, bundle=_attest_changed(story, queries=4000))))
    with pytest.raises(TamperedError, match="names another size"):
        verify_evidence(path, story.marked, story.signer_key)


def test_a_secret_that_was_committed_but_not_derived_is_tampering(
    story: Story, evidence: Evidence, tmp_path: Path
) -> None:
    # A dishonest owner with a signing key commits to labels of free choice.
    chosen = _arrays(evidence, "blackbox", _other_label).schemes["blackbox"]
    chosen = replace(chosen, nonce=binding_nonce(chosen.salt, chosen.secret))
    verified = verify_statement(story.bundle, story.policy, "watermark")
    commitments = {"blackbox": commit(chosen.subkey, "blackbox", chosen.nonce)}
    statement = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "a", "digest": {"sha256": "0" * 64}}],
        "predicateType": WATERMARK_PREDICATE,
        "predicate": verified.predicate | {"commitments": commitments},
    }
    path = tmp_path / "forged.zip"
    bundle = story.signer.sign_statement(statement)
    path.write_bytes(render(replace(evidence, bundle=bundle, schemes={"blackbox": chosen})))
    with pytest.raises(TamperedError, match="the labels are not those of the key"):
        verify_evidence(path, story.marked, story.signer_key)


def test_a_wrong_tap_is_found_by_its_layers(
    story: Story, evidence: Evidence, tmp_path: Path
) -> None:
    revealed = {"whitebox": evidence.schemes["whitebox"]}
    path = tmp_path / "e.zip"
    path.write_bytes(render(replace(evidence, schemes=revealed, tap="no such tensor")))
    found = verify_evidence(path, story.marked, story.signer_key).verdict
    (read,) = found.evidence
    assert read.level == "c"
    # The parent's lengths of rows take the place of the marked model's: a bit may be lost.
    assert read.log10_p < -30
    by_name = replace(evidence, schemes=revealed)
    path.write_bytes(render(by_name))
    assert verify_evidence(path, story.marked, story.signer_key).verdict.tries < found.tries


def test_a_wrong_tap_of_an_unmarked_model_is_never_absent(story: Story, tmp_path: Path) -> None:
    """A network with other layers, which resemble the parent's in nothing."""
    flat = tmp_path / "flat.onnx"
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 9), nn.ReLU())
    stranger = EagerTappedModel(nn.Sequential(*layers, nn.Linear(9, 10)), tap="3")
    export_onnx(stranger, np.eye(4, 64, dtype=np.float32), flat)
    record = replace(story.record, tap="no such tensor")
    path = _export(story, tmp_path / "e.zip", record=record, schemes=["whitebox"], suspect=flat)
    found = verify_evidence(path, flat, story.signer_key).verdict
    assert found.word == "undecided"
    assert [read.level for read in found.evidence] == [""]
    assert "tap not verified" in found.reasons[-1]


def _rewrite(path: Path, change: Callable[[dict[str, bytes]], object]) -> bytes:
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    change(entries)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def _header(entries: dict[str, bytes], **changes: Any) -> None:
    header = json.loads(entries["evidence.json"]) | changes
    entries["evidence.json"] = json.dumps(header).encode()


DAMAGE: dict[str, tuple[Callable[[dict[str, bytes]], object], str]] = {
    "readme": (lambda e: e.update({"README.txt": b"all is well"}), "was changed, added or removed"),
    "extra": (lambda e: e.update({"extra": b""}), "was changed, added or removed"),
    "removed": (lambda e: e.pop("owner.pub.pem"), "was changed, added or removed"),
    "no header": (lambda e: e.pop("evidence.json"), "evidence.json"),
    "format": (lambda e: _header(e, format="v9"), "is not of format"),
    "unknown": (lambda e: _header(e, root="00"), "evidence.json: root"),
    "nothing": (lambda e: _header(e, schemes={}), "evidence.json: schemes"),
    "tap": (lambda e: _header(e, tap=""), "README.txt does not say"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_tampering(exported: Path, tmp_path: Path, damage: str) -> None:
    change, message = DAMAGE[damage]
    path = tmp_path / "e.zip"
    path.write_bytes(_rewrite(exported, change))
    with pytest.raises(TamperedError, match=message):
        parse(path)


@pytest.mark.parametrize("content", [b"", b"PK", b"{}", b"\x00" * 100])
def test_what_is_no_zip_file_is_tampering(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "e.zip"
    path.write_bytes(content)
    with pytest.raises(TamperedError, match="is no zip file"):
        parse(path)


def test_a_missing_file_is_named(story: Story, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no such file"):
        verify_evidence(tmp_path / "nothing.zip", story.marked, story.signer_key)


def test_no_changed_byte_gives_another_answer(story: Story, exported: Path, tmp_path: Path) -> None:
    # A changed byte that is accepted may only be one that says nothing, such as a date.
    original = exported.read_bytes()
    honest = parse(exported)
    path = tmp_path / "e.zip"
    generator = np.random.default_rng(0)
    positions = {*range(64), *range(len(original) - 64, len(original))}
    positions |= {int(n) for n in generator.integers(0, len(original), 150)}
    for position in sorted(positions):
        changed = bytearray(original)
        changed[position] ^= 0xFF
        path.write_bytes(changed)
        try:
            found = parse(path)
        except TamperedError:
            continue
        assert render(found) == render(honest), position
    assert story.bundle == honest.bundle


def test_a_pickle_is_not_opened(exported: Path, tmp_path: Path) -> None:
    content = io.BytesIO()
    np.save(content, np.array([{"a": 1}], dtype=object), allow_pickle=True)

    def change(entries: dict[str, bytes]) -> None:
        import hashlib

        entries["reference.npy"] = content.getvalue()
        header = json.loads(entries["evidence.json"])
        header["entries"]["reference.npy"] = hashlib.sha256(content.getvalue()).hexdigest()
        entries["evidence.json"] = json.dumps(header).encode()

    path = tmp_path / "e.zip"
    path.write_bytes(_rewrite(exported, change))
    with pytest.raises(TamperedError, match="malformed"):
        parse(path)
