"""Evidence is only as good as what was known before: without it no mark is ever present."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from deepsigns_registry.attestation.statement import watermark_statement
from deepsigns_registry.errors import NotFoundError, TamperedError
from deepsigns_registry.evidence.contents import Evidence, render
from deepsigns_registry.evidence.verify import verify_evidence
from deepsigns_registry.graph.session import OnnxSuspect
from deepsigns_registry.watermark import blackbox
from deepsigns_registry.watermark.data import LabelledData
from deepsigns_registry.watermark.evidence import Matches
from deepsigns_registry.watermark.extract import Extraction
from deepsigns_registry.watermark.key import RootKey, purpose_key, scheme_key
from deepsigns_registry.watermark.manifest import Manifest
from deepsigns_registry.watermark.queries import make_queries
from deepsigns_registry.watermark.record import WatermarkRecord, binding_nonce
from deepsigns_registry.watermark.scheme import SchemeSecret
from tests.support.attested import respelled, watermark_predicate
from tests.support.evidence import Story, attest_changed, chain_of, export
from tests.support.unbound import unbound_labels

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
    read = Matches("whitebox", trials=128, matches=matches, chance=0.5, level="a")
    monkeypatch.setattr(
        "deepsigns_registry.evidence.verify.extract", lambda *_, **__: Extraction((read,), ())
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
    )
    said = watermark_predicate(
        owner=root.owner.hex(), commitments=record.commitments(), manifest_root=manifest.root
    )
    bundle = story.signer.sign_statement(watermark_statement({"model.onnx": "1" * 64}, said))
    path = export(
        story,
        tmp_path / "forged.zip",
        bundle=bundle,
        record=record,
        schemes=["blackbox"],
        suspect=story.unmarked,
        chains=[chain_of((root.owner.hex(), record.commitments()))],
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
    path.write_bytes(render(replace(evidence, bundle=attest_changed(story))))
    with pytest.raises(TamperedError, match="its statement is not the attestation in"):
        verify_evidence(path, story.marked, story.signer_key, known_attestation=known)


def test_the_known_attestation_may_be_spelled_in_another_way(
    story: Story, exported: Path, tmp_path: Path
) -> None:
    """Who can write to the registry can respell a signature, and must not spoil the evidence."""
    copy = tmp_path / "copy.json"
    copy.write_text(respelled(story.bundle))
    result = verify_evidence(exported, story.marked, story.signer_key, known_attestation=copy)
    assert result.verdict.word == "present"
    assert "the same signed bytes under another spelling" in result.steps[1].detail
    archived = verify_evidence(exported, story.marked, story.signer_key, archived=[copy])
    assert archived.price == result.price


@pytest.mark.parametrize("content", [b"\xff", b"", b"{}", b"[" * 5000, b'{"dsseEnvelope": 1}'])
def test_a_known_attestation_that_is_none_is_tampering(
    story: Story, exported: Path, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "copy.json").write_bytes(content)
    with pytest.raises(TamperedError, match=r"copy\.json"):
        verify_evidence(
            exported,
            story.marked,
            story.signer_key,
            known_attestation=tmp_path / "copy.json",
        )


def test_the_known_attestation_has_to_be_there(
    story: Story, exported: Path, tmp_path: Path
) -> None:
    nothing = tmp_path / "nothing.json"
    with pytest.raises(NotFoundError, match=r"nothing\.json: no such file"):
        verify_evidence(exported, story.marked, story.signer_key, known_attestation=nothing)
