"""Evidence files of every format are read for ever, and say what they do not state."""

from dataclasses import replace
from pathlib import Path

import pytest

from deepsigns_registry.evidence.contents import parse, render
from deepsigns_registry.evidence.result import EvidenceResult
from deepsigns_registry.evidence.verify import verify_evidence

GOLDEN = Path(__file__).parents[2] / "golden" / "evidence"


def _verified(folder: Path) -> EvidenceResult:
    return verify_evidence(
        folder / "evidence.zip",
        folder / "suspect.onnx",
        folder / "signer.pub.pem",
        known_attestation=folder / "known.sigstore.json",
    )


def test_a_file_without_a_claim_counts_as_before_and_says_so() -> None:
    result = _verified(GOLDEN / "v1")
    assert result.verdict.word == "present"
    assert result.schemes == ("blackbox", "spread", "whitebox")
    # Commitment 7, three schemes one by one and together, three tensors.
    assert result.verdict.tries == 7 * 4 * 3
    assert result.claim is None
    assert (result.price.scanned, result.price.stated) == (1, False)
    assert result.price.owners == {result.owner: 7}
    assert result.price.notes == (
        "how many suspects were scanned is not stated: counted as 1",
        "7 commitments, as the attestation states; no chain of them shows it",
    )
    assert {step.name for step in result.steps}.isdisjoint({"claim", "chain of commitments"})


def test_a_file_with_a_claim_is_priced_by_what_it_states_and_shows() -> None:
    result = _verified(GOLDEN / "v2")
    assert result.verdict.word == "present"
    # Five suspects, four commitments, two schemes one by one and together.
    assert result.verdict.tries == 5 * 4 * 3
    another = bytes(range(32)).hex()
    assert result.price.owners == {result.owner: 3, another: 1}
    assert result.claim is not None
    assert set(result.claim.owners) == {result.owner, another}
    said = {step.name: step.detail for step in result.steps}
    assert said["claim"].startswith("signed with the owner's own key, 2026-")
    assert said["chain of commitments"] == (
        "the statement is commitment 3 of its owner, and names its entry in the chain"
    )


def test_a_file_whose_claim_was_left_out_is_no_older_one(tmp_path: Path) -> None:
    """It would be cheaper by all that the claim states."""
    folder = GOLDEN / "v2"
    cheap = replace(parse(folder / "evidence.zip"), claim="", chains=())
    (tmp_path / "evidence.zip").write_bytes(render(cheap))
    result = verify_evidence(
        tmp_path / "evidence.zip",
        folder / "suspect.onnx",
        folder / "signer.pub.pem",
        known_attestation=folder / "known.sigstore.json",
    )
    assert result.verdict.word == "undecided"
    assert result.price.unknown


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_each_is_written_as_it_was(version: str) -> None:
    path = GOLDEN / version / "evidence.zip"
    assert render(parse(path)) == path.read_bytes()
