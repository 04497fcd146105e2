"""Whatever is edited in an evidence file with a claim, it is tampering, and nothing worse."""

import hashlib
import io
import json
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepsigns_registry.attestation.chain import (
    START,
    Chain,
    Entry,
    distinct,
    read_chain,
)
from deepsigns_registry.attestation.keys import generate_signing_key, load_public_key
from deepsigns_registry.attestation.signing import FileSigner
from deepsigns_registry.attestation.statement import (
    ChainHead,
    ClaimPredicate,
    claim_statement,
)
from deepsigns_registry.errors import TamperedError
from deepsigns_registry.evidence.claim import check_claim, read_chains, sign_claim, stated
from deepsigns_registry.evidence.price import price_of
from deepsigns_registry.evidence.verify import verify_evidence
from tests.support.attested import watermark_predicate
from tests.support.evidence import chain_of

GOLDEN = Path(__file__).parents[1] / "golden" / "evidence" / "v2"
EDITED = ("claim.sigstore.json", "chain.0.jsonl", "README.txt", "owner.pub.pem")
OWNERS = ("a" * 64, "b" * 64, "c" * 64)


def _entries() -> dict[str, bytes]:
    with zipfile.ZipFile(GOLDEN / "evidence.zip") as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _verify(entries: Mapping[str, bytes]) -> None:
    """Verifies a file of these entries, whose header has their digests."""
    header = json.loads(entries["evidence.json"])
    rest = {name: content for name, content in entries.items() if name != "evidence.json"}
    header["entries"] = {n: hashlib.sha256(content).hexdigest() for n, content in rest.items()}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in {**rest, "evidence.json": json.dumps(header).encode()}.items():
            archive.writestr(name, content)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "e.zip"
        path.write_bytes(buffer.getvalue())
        verify_evidence(path, GOLDEN / "suspect.onnx", GOLDEN / "signer.pub.pem")


@given(
    name=st.sampled_from(EDITED),
    where=st.integers(0, 2**16),
    length=st.integers(0, 60),
    inserted=st.binary(max_size=60),
)
@settings(max_examples=120)
def test_an_edited_entry_is_tampering(name: str, where: int, length: int, inserted: bytes) -> None:
    entries = _entries()
    original = entries[name]
    start = where % (len(original) + 1)
    entries[name] = original[:start] + inserted + original[start + length :]
    if entries[name] == original:
        return
    with pytest.raises(TamperedError):
        _verify(entries)


@given(where=st.integers(0, 2**16), sign=st.sampled_from("ABCZabcz0123456789+/"))
@settings(max_examples=120)
def test_every_sign_of_a_claim_counts(where: int, sign: str) -> None:
    # Of the signature, the payload and everything else: the file stays a bundle in most cases.
    entries = _entries()
    original = entries["claim.sigstore.json"]
    start = where % len(original)
    changed = original[:start] + sign.encode() + original[start + 1 :]
    if changed == original:
        return
    with pytest.raises(TamperedError):
        _verify(entries | {"claim.sigstore.json": changed})


@given(chains=st.none() | st.integers(-1, 2**70) | st.text(max_size=3) | st.booleans())
def test_another_number_of_chains_is_tampering(chains: object) -> None:
    entries = _entries()
    header = json.loads(entries["evidence.json"])
    if chains is True or chains == header["chains"] or chains == "1":
        return  # the same number, in another spelling
    entries["evidence.json"] = json.dumps(header | {"chains": chains}).encode()
    with pytest.raises(TamperedError):
        _verify(entries)


def test_a_claim_cannot_be_taken_out_of_its_format() -> None:
    entries = _entries()
    for missing in ("claim.sigstore.json", "chain.0.jsonl"):
        with pytest.raises(TamperedError):
            _verify({name: content for name, content in entries.items() if name != missing})
    header = json.loads(entries["evidence.json"])
    old = json.dumps(header | {"format": "deepsigns-registry/evidence/v1"}).encode()
    with pytest.raises(TamperedError, match="is not of format"):
        _verify(entries | {"evidence.json": old})


@pytest.fixture(scope="module")
def signer() -> Iterator[FileSigner]:
    with tempfile.TemporaryDirectory() as folder:
        generate_signing_key(Path(folder) / "key.pem", Path(folder) / "key.pub.pem")
        yield FileSigner(Path(folder) / "key.pem")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 2**70) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)
DIGESTS = st.sampled_from([*OWNERS, "0" * 64, "1" * 64])
NUMBERS = st.integers(1, 5)
# What has the form of a claim and says something else, or has not even that.
FIELDS: dict[str, st.SearchStrategy[object]] = {
    "owner": DIGESTS | JSON,
    "owners": st.lists(DIGESTS, min_size=1, max_size=3) | JSON,
    "attestation": DIGESTS | JSON,
    "schemes": st.lists(st.sampled_from(["spread", "whitebox"]), min_size=1, max_size=2) | JSON,
    "scanned": NUMBERS | JSON,
    "commitments": NUMBERS | JSON,
    "chains": st.lists(st.fixed_dictionaries({"head": DIGESTS, "entries": NUMBERS}), max_size=2)
    | JSON,
    "tool": st.text(max_size=4) | JSON,
    "createdAt": st.datetimes().map(lambda at: at.isoformat() + "Z") | JSON,
}


@given(
    changes=st.sampled_from(sorted(FIELDS)).flatmap(
        lambda name: st.fixed_dictionaries({name: FIELDS[name]})
    )
)
@settings(max_examples=150)
def test_a_signed_claim_of_any_other_content_is_tampering(
    signer: FileSigner, changes: dict[str, object]
) -> None:
    """A dishonest claimant signs what is no claim, or not about this file."""
    chain = chain_of((OWNERS[0], {"spread": "1" * 64}))
    honest = stated(
        sign_claim(
            signer,
            owner=OWNERS[0],
            suspect="0" * 64,
            bundle="bundle",
            schemes=["spread"],
            scanned=3,
            chains=[chain],
        )
    )
    statement = claim_statement("0" * 64, honest)
    statement["predicate"] |= changes
    claim = signer.sign_statement(statement)
    key = load_public_key(signer.path.with_name("key.pub.pem"))
    try:
        found, _ = check_claim(
            claim,
            [key],
            owner=OWNERS[0],
            suspect="0" * 64,
            bundle="bundle",
            schemes=["spread"],
            chains=read_chains([chain]),
        )
    except TamperedError:
        return
    # Only what nothing else in the file tells may say something else.
    free = {"scanned": 3, "tool": honest.tool, "created_at": honest.created_at}
    assert found.model_copy(update=free) == honest
    assert found.scanned >= 1


@given(lines=st.lists(JSON.map(json.dumps) | st.text(max_size=20), max_size=4))
def test_any_text_that_is_no_chain_is_tampering(lines: list[str]) -> None:
    content = "".join(line + "\n" for line in lines).encode("utf-8", "surrogatepass")
    with pytest.raises(TamperedError):
        read_chain(content, "chain", advice="", partial=True)


def _chain(owners: list[str], salt: str) -> Chain:
    entries: list[Entry] = []
    for number, owner in enumerate(owners, start=1):
        index = sum(entry.owner == owner for entry in entries) + 1
        previous = entries[-1].digest if entries else START
        entries.append(Entry(number, owner, index, {"spread": f"{number:064x}"}, salt, previous))
    return Chain(tuple(entries))


CHAINS = st.lists(
    st.tuples(st.lists(st.sampled_from(OWNERS), min_size=1, max_size=8), st.booleans()),
    min_size=1,
    max_size=3,
)


@given(given_chains=CHAINS, cut=st.integers(1, 8), hide=st.integers(0, 7))
@settings(max_examples=150)
def test_the_price_is_that_of_a_plain_count(
    given_chains: list[tuple[list[str], bool]], cut: int, hide: int
) -> None:
    """Chains of several key stores, older copies of them, and one whose start is not shown."""
    chains: list[Chain] = []
    for number, (owners, copied) in enumerate(given_chains):
        whole = _chain(owners, str(number))
        chains.append(whole)
        if copied:
            chains.append(Chain(whole.entries[:cut]))
    counted = {entry.digest: entry.owner for chain in chains for entry in chain.entries}
    shown = Chain(chains[0].entries[min(hide, len(chains[0].entries) - 1) :])
    for each in (*chains, shown):
        content = "".join(entry.line for entry in each.entries).encode()
        assert read_chain(content, "chain", advice="", partial=True) == each
    claimed = chains[0].entries[-1]
    predicate = watermark_predicate(
        owner=claimed.owner,
        commitments=dict(claimed.commitments),
        commitment_index=claimed.index,
        commitment_entry=claimed.digest,
    )
    claim = ClaimPredicate(
        owner=claimed.owner,
        owners=tuple(sorted(set(counted.values()))),
        attestation="0" * 64,
        schemes=("spread",),
        scanned=5,
        commitments=len(counted),
        chains=(ChainHead(head=claimed.digest, entries=claimed.number),),
        tool="t/1",
        created_at="2026-01-01T00:00:00Z",
    )
    price = price_of(predicate, claim, chains)
    assert price.commitments == len(counted) == distinct(chains)
    assert price.owners == {
        owner: list(counted.values()).count(owner) for owner in set(counted.values())
    }
    assert price.tries == 5 * len(counted)
    # What is not shown counts as if it were.
    assert distinct([shown]) == len(chains[0].entries)
