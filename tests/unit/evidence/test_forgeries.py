"""Forged evidence with good checksums, even under good signatures, is tampering."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from numpy.typing import NDArray

from deepsigns_registry.attestation.keys import public_pem
from deepsigns_registry.errors import TamperedError
from deepsigns_registry.evidence.contents import Evidence, parse, render
from deepsigns_registry.evidence.verify import verify_evidence
from deepsigns_registry.watermark.blueprint import Blueprint
from deepsigns_registry.watermark.key import commit
from deepsigns_registry.watermark.record import binding_nonce
from tests.support.evidence import Story, attest_changed, claim_again, export


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
}  # fmt: skip  # fmt: skip


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


@pytest.mark.parametrize("part", ["blueprint", "tap"])
def test_a_hidden_layer_that_nothing_reads_is_tampering(
    story: Story, evidence: Evidence, tmp_path: Path, part: str
) -> None:
    # Queries alone are revealed: nothing commits to a layer then.
    path = export(story, tmp_path / "queries.zip", schemes=["blackbox"])
    alone = parse(path)
    path.write_bytes(render(replace(alone, **{part: getattr(evidence, part)})))
    with pytest.raises(TamperedError, match="a hidden layer that none of its schemes reads"):
        verify_evidence(path, story.marked, story.signer_key)


def test_a_statement_about_another_size_is_tampering(
    story: Story, evidence: Evidence, tmp_path: Path
) -> None:
    path = tmp_path / "forged.zip"
    forged = replace(evidence, bundle=attest_changed(story, queries=4000))
    path.write_bytes(render(claim_again(story, forged)))
    with pytest.raises(TamperedError, match="names another size"):
        verify_evidence(path, story.marked, story.signer_key)


def test_a_secret_that_was_committed_but_not_derived_is_tampering(
    story: Story, evidence: Evidence, tmp_path: Path
) -> None:
    # A dishonest owner with a signing key commits to labels of free choice.
    chosen = _arrays(evidence, "blackbox", _other_label).schemes["blackbox"]
    chosen = replace(chosen, nonce=binding_nonce(chosen.salt, chosen.secret))
    commitments = {"blackbox": commit(chosen.subkey, "blackbox", chosen.nonce)}
    bundle = attest_changed(story, commitments=commitments, commitmentEntry=None)
    path = tmp_path / "forged.zip"
    forged = replace(evidence, bundle=bundle, schemes={"blackbox": chosen})
    path.write_bytes(render(claim_again(story, forged, commitments=commitments)))
    with pytest.raises(TamperedError, match="the labels are not those of the key"):
        verify_evidence(path, story.marked, story.signer_key)
