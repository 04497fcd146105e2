"""What a claimant states is signed, shown and multiplied by; an edited number is tampering."""

import base64
import json
import math
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from deepsigns_registry.attestation.signing import FileSigner
from deepsigns_registry.attestation.statement import encode_statement
from deepsigns_registry.errors import ConfigurationError, NotFoundError, TamperedError
from deepsigns_registry.evidence.contents import Evidence, render
from deepsigns_registry.evidence.verify import verify_evidence
from deepsigns_registry.watermark.evidence import Matches
from deepsigns_registry.watermark.extract import Extraction
from tests.support.evidence import (
    Story,
    attest_changed,
    chain_of,
    claim_again,
    export,
)

ANOTHER = "b" * 64


def _other(number: int) -> dict[str, str]:
    return {"whitebox": f"{number:064x}"}


def _owner(story: Story) -> str:
    return story.record.root.owner.hex()


def test_what_was_scanned_is_stated_shown_and_multiplied(
    story: Story, tmp_path: Path, known: Path
) -> None:
    given = {"schemes": ["blackbox"]}
    one = export(story, tmp_path / "1.zip", **given)
    many = export(story, tmp_path / "1000.zip", **given, scanned=1000)
    alone, among = (
        verify_evidence(path, story.marked, story.signer_key, known_attestation=known)
        for path in (one, many)
    )
    assert (alone.price.scanned, among.price.scanned) == (1, 1000)
    assert among.verdict.tries == 1000 * alone.verdict.tries
    p = [each.verdict.log10_p_adjusted("blackbox") for each in (alone, among)]
    assert math.isclose(p[1] - p[0], 3, abs_tol=1e-9)
    document = json.loads(json.dumps(among.to_json()))
    assert document["claim"]["scanned"] == document["price"]["scanned"] == 1000
    assert document["price"]["owners"] == {_owner(story): 1}
    assert "1000 suspects scanned" in document["price"]["notes"][0]
    with zipfile.ZipFile(many) as archive:
        readme = archive.read("README.txt").decode()
    assert "this one included: 1000\n" in readme
    assert _owner(story) in readme


def test_enough_suspects_take_the_claim_away(
    story: Story, tmp_path: Path, known: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 102 of 128 is a p of 10**-11: for one file in a million it is none.
    read = Matches("whitebox", trials=128, matches=102, chance=0.5, level="a")
    monkeypatch.setattr(
        "deepsigns_registry.evidence.verify.extract", lambda *_, **__: Extraction((read,), ())
    )
    words = []
    for scanned in (1, 10**6):
        path = export(story, tmp_path / f"{scanned}.zip", scanned=scanned)
        result = verify_evidence(path, story.marked, story.signer_key, known_attestation=known)
        words.append(result.verdict.word)
    assert words == ["present", "undecided"]


def test_the_owners_own_key_may_sign(story: Story, tmp_path: Path) -> None:
    path = export(story, tmp_path / "e.zip", signer=FileSigner(story.base / "owner.pem"))
    result = verify_evidence(path, story.marked, story.signer_key)
    (said,) = (step.detail for step in result.steps if step.name == "claim")
    assert said.startswith("signed with the owner's own key, ")


def test_who_signs_must_be_believed_before_anything_is_revealed(
    story: Story, tmp_path: Path, another_pair: tuple[Path, Path]
) -> None:
    out = tmp_path / "e.zip"
    with pytest.raises(ConfigurationError, match=r"neither the owner's key nor .*--sign-with"):
        export(story, out, signer=FileSigner(another_pair[0]))
    for scanned in (0, -1, 2**53 + 1):
        with pytest.raises(ConfigurationError, match=f"{scanned} suspects scanned"):
            export(story, out, scanned=scanned)
    for chains in ([], [chain_of((_owner(story), _other(1)))]):
        with pytest.raises(TamperedError, match="commitment"):
            export(story, out, chains=chains)
    owners = [(f"{number:064x}", _other(number)) for number in range(1001)]
    with pytest.raises(ConfigurationError, match="of 1002 owners are more than"):
        export(story, out, chains=[story.chain, chain_of(*owners)])
    assert not out.exists()


def test_more_commitments_than_the_attestation_counts_are_counted(
    story: Story, tmp_path: Path
) -> None:
    own = (_owner(story), story.record.commitments())
    chain = chain_of(own, (ANOTHER, _other(1)), (_owner(story), _other(2)))
    kept = chain_of((ANOTHER, _other(3)))
    bundle = attest_changed(story, commitmentEntry=None)
    given = {"schemes": ["blackbox"], "bundle": bundle}
    path = export(story, tmp_path / "e.zip", **given, chains=[chain, kept], scanned=2)
    result = verify_evidence(path, story.marked, story.signer_key)
    assert result.price.owners == {_owner(story): 2, ANOTHER: 2}
    # Two suspects, four commitments, three schemes one by one and together.
    assert result.verdict.tries == 2 * 4 * 4
    assert result.claim is not None
    assert result.claim.owners == tuple(sorted((_owner(story), ANOTHER)))


def _edited(evidence: Evidence, change: Callable[[dict[str, object]], object]) -> Evidence:
    """The claim says something else under its old signature."""
    bundle = json.loads(evidence.claim)
    envelope = bundle["dsseEnvelope"]
    statement = json.loads(base64.b64decode(envelope["payload"]))
    change(statement["predicate"])
    envelope["payload"] = base64.b64encode(encode_statement(statement)).decode()
    return replace(evidence, claim=json.dumps(bundle, separators=(",", ":")))


def _without_head(story: Story, evidence: Evidence) -> Evidence:
    """The claim is about a longer chain than the file holds."""
    longer = chain_of((_owner(story), story.record.commitments()), (_owner(story), _other(1)))
    return replace(claim_again(story, replace(evidence, chains=(longer,))), chains=evidence.chains)


FORGERIES: dict[str, tuple[Callable[[Story, Evidence], Evidence], str]] = {
    "scanned": (
        lambda s, e: _edited(claim_again(s, e, scanned=7), lambda p: p.update(scanned=1)),
        "not signed by",
    ),
    "owners": (lambda _, e: _edited(e, lambda p: p.update(owners=[ANOTHER])), "not signed by"),
    "date": (
        lambda _, e: _edited(e, lambda p: p.update(createdAt="2020-01-01T00:00:00Z")),
        "not signed by",
    ),
    "no number": (lambda _, e: _edited(e, lambda p: p.pop("scanned")), "field 'scanned'"),
    "below one": (lambda _, e: _edited(e, lambda p: p.update(scanned=0)), "field 'scanned'"),
    "endless": (lambda _, e: _edited(e, lambda p: p.update(scanned=10**300)), "field 'scanned'"),
    "nonsense": (lambda _, e: replace(e, claim="nonsense"), "claim: is not JSON"),
    "an attestation": (lambda _, e: replace(e, claim=e.bundle), "is not a claim"),
    "another suspect": (
        lambda s, e: replace(claim_again(s, replace(e, suspect="0" * 64)), suspect=e.suspect),
        "about another file",
    ),
    "another attestation": (
        lambda s, e: replace(
            claim_again(s, replace(e, bundle=attest_changed(s))), bundle=e.bundle
        ),
        "about another attestation",
    ),
    "fewer schemes": (
        lambda _, e: replace(e, schemes={"blackbox": e.schemes["blackbox"]}),
        "about other schemes",
    ),
    "shorter chain": (_without_head, "about other chains"),
    "no link": (lambda _, e: replace(e, chains=(b"{}\n",)), "chain 0: the chain .* is broken"),
    "one more chain": (
        lambda _, e: replace(e, chains=(*e.chains, *e.chains)), "about other chains"
    ),
    "a chain of others": (
        lambda s, e: claim_again(
            s, replace(e, chains=(chain_of((_owner(s), _other(1)), (ANOTHER, _other(2))),))
        ),
        "commitment 1 of its owner, is not in the chain",
    ),
    "a chain without the owner": (
        lambda s, e: claim_again(s, replace(e, chains=(chain_of((ANOTHER, _other(2))),))),
        "do not hold the commitments",
    ),
    "a chain with more before": (
        lambda s, e: claim_again(
            s,
            replace(
                e,
                chains=(chain_of((_owner(s), _other(1)), (_owner(s), s.record.commitments())),),
            ),
        ),
        "says that it is commitment 1 of its owner; the chain of commitments says 2",
    ),
    "a chain with another before": (
        lambda s, e: claim_again(
            s,
            replace(
                e, chains=(chain_of((ANOTHER, _other(1)), (_owner(s), s.record.commitments())),)
            ),
        ),
        "names another entry",
    ),
    "a lower number": (
        lambda s, e: claim_again(
            s,
            replace(
                e,
                bundle=attest_changed(s, commitmentIndex=1, commitmentEntry=None),
                chains=(chain_of((_owner(s), _other(1)), (_owner(s), s.record.commitments())),),
            ),
        ),
        "says 2",
    ),
}  # fmt: skip


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_forged_claim_is_tampering(
    story: Story, evidence: Evidence, tmp_path: Path, forgery: str
) -> None:
    change, message = FORGERIES[forgery]
    with pytest.raises(TamperedError, match=message):
        _verify_again(story, change(story, evidence), tmp_path / "forged.zip")


def _verify_again(story: Story, evidence: Evidence, path: Path) -> None:
    """Verifies evidence that is written with good checksums; where it says nonsense, it is not."""
    path.write_bytes(render(evidence))
    verify_evidence(path, story.marked, story.signer_key)


def test_a_claim_that_a_stranger_signed_is_tampering(
    story: Story, evidence: Evidence, tmp_path: Path, another_pair: tuple[Path, Path]
) -> None:
    path = tmp_path / "forged.zip"
    stranger = replace(story, signer=FileSigner(another_pair[0]))
    path.write_bytes(render(claim_again(stranger, evidence, scanned=1)))
    with pytest.raises(TamperedError, match="evidence: claim: not signed by"):
        verify_evidence(path, story.marked, story.signer_key)


def _archive(story: Story, path: Path, **changes: object) -> Path:
    path.write_text(attest_changed(story, **changes))
    return path


def test_an_archived_attestation_has_to_fit(
    story: Story, exported: Path, known: Path, tmp_path: Path, another_pair: tuple[Path, Path]
) -> None:
    given = exported, story.marked, story.signer_key
    honest = verify_evidence(*given, known_attestation=known, archived=[known])
    later = _archive(story, tmp_path / "9.json", commitments=_other(9), commitmentIndex=9)
    more = verify_evidence(*given, known_attestation=known, archived=[later])
    assert (honest.price.tries, more.price.tries) == (1, 9)
    hidden = _archive(story, tmp_path / "1.json", commitments=_other(9), commitmentIndex=1)
    with pytest.raises(TamperedError, match=r"1\.json, commitment 1 .* is not in the chain"):
        verify_evidence(*given, archived=[hidden])
    strange = _archive(story, tmp_path / "o.json", owner=ANOTHER)
    with pytest.raises(ConfigurationError, match="another owner"):
        verify_evidence(*given, archived=[strange])
    with pytest.raises(NotFoundError, match="no such file"):
        verify_evidence(*given, archived=[tmp_path / "nothing.json"])
    signer = FileSigner(another_pair[0])
    replaced = _archive(
        replace(story, signer=signer),
        tmp_path / "5.json",
        commitments=_other(5),
        commitmentIndex=5,
    )
    with pytest.raises(TamperedError, match=r"5\.json: not signed by"):
        verify_evidence(*given, archived=[replaced])
    rotated = verify_evidence(*given, archived=[replaced], also_trusted=[another_pair[1]])
    assert rotated.price.tries == 5
    for content in (b"", b"\xff", b"[]", b"{}"):
        hidden.write_bytes(content)
        with pytest.raises(TamperedError):
            verify_evidence(*given, archived=[hidden])


def test_a_key_of_the_claimant_that_is_not_stated_leaves_the_answer_open(
    story: Story, exported: Path, known: Path, another_pair: tuple[Path, Path]
) -> None:
    given = exported, story.marked, story.signer_key

    def word(*keys: Path) -> tuple[str, Sequence[str]]:
        result = verify_evidence(*given, known_attestation=known, owner_keys=keys)
        return result.verdict.word, result.verdict.reasons

    assert word(story.owner_key)[0] == "present"
    found, reasons = word(story.owner_key, another_pair[1])
    assert found == "undecided"
    assert "nothing shows how many commitments it made" in reasons[-1]
    with pytest.raises(ConfigurationError, match="is not a PEM public key"):
        word(known)
