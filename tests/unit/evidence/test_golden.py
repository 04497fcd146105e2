"""Evidence files of earlier formats are read for ever, and say what they do not state."""

from pathlib import Path

from deepsigns_registry.evidence.contents import parse, render
from deepsigns_registry.evidence.verify import verify_evidence

GOLDEN = Path(__file__).parents[2] / "golden" / "evidence"


def test_a_file_without_a_claim_counts_as_before_and_says_so() -> None:
    result = verify_evidence(
        GOLDEN / "v1.zip",
        GOLDEN / "suspect.onnx",
        GOLDEN / "signer.pub.pem",
        known_attestation=GOLDEN / "known.sigstore.json",
    )
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


def test_it_is_written_as_it_was() -> None:
    path = GOLDEN / "v1.zip"
    assert render(parse(path)) == path.read_bytes()
