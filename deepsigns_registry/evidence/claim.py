"""The claim: what a claimant states about a file in dispute, signed, and is held to.

How many files were looked at before this one was found nobody else can know, and with which
other keys the claimant tried as well. Both multiply every p-value, so both are stated under a
signature: of the owner's root key, or of the key that signed the attestation.
"""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime

from cryptography.hazmat.primitives.asymmetric import ec

from deepsigns_registry import __version__
from deepsigns_registry.attestation.chain import Chain, distinct, read_chain
from deepsigns_registry.attestation.envelope import open_bundle
from deepsigns_registry.attestation.policy import Policy, Purpose, TrustedKey
from deepsigns_registry.attestation.signing import FileSigner
from deepsigns_registry.attestation.statement import (
    CLAIM_PREDICATE,
    MOST_CHAINS,
    MOST_COUNT,
    MOST_OWNERS,
    ChainHead,
    ClaimPredicate,
    claim_statement,
    parse_claim,
)
from deepsigns_registry.attestation.verification import verify_statement
from deepsigns_registry.bounded.documents import read_json
from deepsigns_registry.errors import ConfigurationError, TamperedError

__all__ = ["check_claim", "read_chains", "sign_claim", "stated"]

_MOST_CHAIN_BYTES = 64 * 2**20
_WHAT = "evidence: claim"
_ASK = "ask for the evidence file again"


def sign_claim(
    signer: FileSigner,
    *,
    owner: str,
    suspect: str,
    bundle: str,
    schemes: Sequence[str],
    scanned: int,
    chains: Sequence[bytes],
) -> str:
    """Signs a claim.

    Args:
        signer: The owner's root key, or the key that signed `bundle`.
        owner: Identity of the owner (hex).
        suspect: SHA-256 of the file in dispute (hex).
        bundle: Text of the marked version's attestation.
        schemes: Whose commitments are opened.
        scanned: How many suspects were looked at, this one included.
        chains: The claimant's chains of commitments; all owners in them are the claimant's.

    Returns:
        A Sigstore v0.3 bundle, JSON text.

    Raises:
        ConfigurationError: `scanned` is below 1 or beyond what can be stated.
        TamperedError: A chain is broken.
    """
    if not 1 <= scanned <= MOST_COUNT:
        raise ConfigurationError(
            f"evidence: {scanned} suspects scanned: this one counts, and no more than "
            f"{MOST_COUNT} can be stated",
            advice="give the number of files and services that were looked at, this one included",
        )
    read = read_chains(chains)
    owners = _owners(owner, read)
    if len(read) > MOST_CHAINS or len(owners) > MOST_OWNERS:
        raise ConfigurationError(
            f"evidence: {len(read)} chains of commitments of {len(owners)} owners are more than "
            f"one claim may count, which is {MOST_CHAINS} and {MOST_OWNERS}",
            advice="leave out the key stores that are not the claimant's",
        )
    predicate = ClaimPredicate(
        owner=owner,
        owners=owners,
        attestation=_attestation(bundle),
        schemes=tuple(sorted(schemes)),
        scanned=scanned,
        commitments=distinct(read),
        chains=tuple(map(_head, read)),
        tool=f"deepsigns-registry/{__version__}",
        created_at=datetime.now(UTC).replace(microsecond=0),
    )
    return signer.sign_statement(claim_statement(suspect, predicate))


def read_chains(contents: Sequence[bytes]) -> tuple[Chain, ...]:
    """Reads the chains of an evidence file; entries may be missing before the first of each.

    Raises:
        TamperedError: A chain is broken, or they are longer than any real ones.
    """
    if sum(map(len, contents)) > _MOST_CHAIN_BYTES:
        raise TamperedError("evidence: its chains of commitments are longer than any real ones")
    return tuple(
        read_chain(content, f"evidence: chain {number}", advice=_ASK, partial=True)
        for number, content in enumerate(contents)
    )


def stated(claim: str) -> ClaimPredicate:
    """What a claim says, whoever signed it; for the README, before the signature is checked.

    Raises:
        TamperedError: It is no claim.
    """
    try:
        document = read_json(open_bundle(claim, _WHAT).payload)
        if document["predicateType"] == CLAIM_PREDICATE:
            return parse_claim(document["predicate"])
    except (ValueError, KeyError, TypeError):
        pass
    raise TamperedError(f"{_WHAT}: is not a claim", advice=_ASK)


def check_claim(
    claim: str,
    keys: Sequence[ec.EllipticCurvePublicKey],
    *,
    owner: str,
    suspect: str,
    bundle: str,
    schemes: Sequence[str],
    chains: Sequence[Chain],
) -> tuple[ClaimPredicate, ec.EllipticCurvePublicKey]:
    """Checks a claim's signature, and that it is about what it came with.

    Args:
        claim: Text of its bundle.
        keys: Who may have signed it.
        owner: Identity of the owner (hex).
        suspect: SHA-256 of the file in dispute (hex).
        bundle: Text of the marked version's attestation.
        schemes: Whose commitments are opened.
        chains: The chains of commitments that came with it.

    Returns:
        What is claimed, and the key that signed it.

    Raises:
        TamperedError: None of the keys signed it, or it is about something else.
    """
    may_sign = frozenset[Purpose]({"claim"})
    policy = Policy(tuple(TrustedKey(key, may_sign) for key in keys))
    verified = verify_statement(claim, policy, "claim", what=_WHAT)
    found = parse_claim(verified.predicate)
    for what, same in (
        ("another file in dispute", verified.subjects == {"suspect": suspect}),
        ("another attestation", found.attestation == _attestation(bundle)),
        ("another owner's mark", found.owner == owner),
        ("other schemes than are revealed", found.schemes == tuple(sorted(schemes))),
        ("other chains of commitments", found.chains == tuple(map(_head, chains))),
        ("another number of commitments", found.commitments == distinct(chains)),
        (
            "other owner keys than those of its chains",
            found.owners == _owners(owner, chains),
        ),
    ):
        if not same:
            raise TamperedError(f"{_WHAT}: was signed about {what}", advice=_ASK)
    return found, verified.key


def _owners(owner: str, chains: Sequence[Chain]) -> tuple[str, ...]:
    return tuple(sorted({owner}.union(*(chain.spans for chain in chains))))


def _attestation(bundle: str) -> str:
    return hashlib.sha256(bundle.encode()).hexdigest()


def _head(chain: Chain) -> ChainHead:
    return ChainHead(head=chain.head, entries=chain.entries[-1].number)
