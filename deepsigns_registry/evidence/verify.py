"""Checking an evidence file: every step again, from the suspect and what the verifier knows.

The verifier brings a trusted key and the attestation as he knew it before the dispute. Without
the latter all steps can pass for a model that was never marked: the key does not determine
which candidates became queries, what the parent predicted there, or the training data. Whoever
has the suspect first chooses those to fit it, and signs afterwards.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVarTuple

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from deepsigns_registry.attestation.chain import Chain
from deepsigns_registry.attestation.files import read_small
from deepsigns_registry.attestation.keys import (
    key_hint,
    load_public_key,
    owner_identity,
    parse_public_key,
    public_pem,
)
from deepsigns_registry.attestation.policy import Policy
from deepsigns_registry.attestation.statement import (
    ClaimPredicate,
    WatermarkPredicate,
    parse_watermark,
)
from deepsigns_registry.attestation.verification import VerifiedStatement, verify_statement
from deepsigns_registry.errors import CouldNotCheckError, TamperedError
from deepsigns_registry.evidence.claim import check_claim, read_chains
from deepsigns_registry.evidence.contents import Evidence, Revealed, parse
from deepsigns_registry.evidence.price import place_of, price_of
from deepsigns_registry.evidence.result import EvidenceResult, Step
from deepsigns_registry.graph.order import possible_taps
from deepsigns_registry.graph.session import OnnxSuspect
from deepsigns_registry.graph.structure import read_file
from deepsigns_registry.guests import reading_schemes
from deepsigns_registry.watermark.blueprint import Blueprint
from deepsigns_registry.watermark.extract import extract
from deepsigns_registry.watermark.key import RootKey, commit, key_version, scheme_key
from deepsigns_registry.watermark.record import (
    WatermarkRecord,
    binding_nonce,
    check_blueprint,
    reads_hidden,
)
from deepsigns_registry.watermark.scheme import Scheme
from deepsigns_registry.watermark.verdict import Verdict, judge, questions

__all__ = ["verify_evidence"]

_NOT_OLDER = (
    "nothing shows that the commitment is older than the file in dispute; "
    "give the attestation as you knew it before"
)

Given = TypeVarTuple("Given")


def verify_evidence(
    path: Path,
    suspect: Path,
    public_key: Path,
    *,
    known_attestation: Path | None = None,
    archived: Sequence[Path] = (),
    owner_keys: Sequence[Path] = (),
    also_trusted: Sequence[Path] = (),
    report: Callable[[Step], None] | None = None,
) -> EvidenceResult:
    """Checks a claim from its evidence file, offline.

    A statement of version 0 carries no trusted time. An attestation that the verifier had
    before the suspect stands in for it: all that the owner could choose was fixed by then, so
    the usual 1e-6 is enough. Without one no p-value is: the choices may have been made to fit
    the suspect, and the p-value does not count them.

    Args:
        path: The evidence file; of unknown origin.
        suspect: The ONNX file in dispute; of unknown origin.
        public_key: The key that must have signed the statement, from a source of your own.
        known_attestation: The marked version's `deepsigns/watermark.sigstore.json` as it was
            known before the suspect, from a source of your own (an archive, the registry, a
            mirror); never the copy in the evidence file.
        archived: Other attestations of the claimant that were known before, likewise; each shows
            how many commitments there were, and has to fit the claimant's chains.
        owner_keys: Public keys of owners that are the claimant's too, as far as they are known.
        also_trusted: More keys that may have signed attestations.
        report: Called with each step as it passes.

    Returns:
        The verdict: `present` only with the known attestation and while the price is known;
        otherwise `undecided` at most.

    Raises:
        ConfigurationError: A key is no P-256 public key, or an archived attestation is of an
            owner that nobody names.
        NotFoundError: One of the files does not exist.
        TamperedError: A signature, a commitment, a derivation or a digest does not hold; the
            chains of commitments contradict the claim or an attestation; or the evidence's
            statement is not what was signed in the known attestation. A statement with a good
            signature over other bytes may have been signed for this dispute: that is no weaker
            evidence, it is evidence of something else.
        CouldNotCheckError: The suspect cannot be run, a scheme is not installed, or a secret is of
            a later version of the key.
    """
    steps: list[Step] = []

    def passed(name: str, detail: str) -> None:
        steps.append(Step(name, detail))
        if report is not None:
            report(steps[-1])

    policy = Policy.trusting([public_key, *also_trusted], "watermark")
    others = [owner_identity(key).hex() for key in owner_keys]
    evidence = parse(path)
    verified = verify_statement(evidence.bundle, policy, "watermark", what="evidence: statement")
    predicate = parse_watermark(verified.predicate)
    signed_by = _file_of(verified.key, [public_key, *also_trusted])
    passed("signature", f"the statement is signed by the key in {signed_by}")
    if known_attestation is not None:
        how = _check_known(evidence, verified, known_attestation, policy)
        passed("known attestation", f"the statement is {known_attestation}, {how}")
    owner_key = _check_owner(evidence, predicate)
    passed("owner", f"the owner's key has the identity {predicate.owner} of the statement")
    content = read_file(suspect)
    if hashlib.sha256(content).hexdigest() != evidence.suspect:
        raise TamperedError(
            f"{suspect}: is not the file that this evidence is about",
            advice=f"give the file with SHA-256 {evidence.suspect}",
        )
    same = evidence.suspect in verified.subjects.values()
    note = ", a file of the marked version itself" if same else ""
    passed("suspect", f"the file has the SHA-256 {evidence.suspect}{note}")
    chains = read_chains(evidence.chains)
    claim = None
    if evidence.claim:
        claim, said = _check_claim(evidence, chains, predicate, owner_key, verified.key)
        passed("claim", said)
        passed("chain of commitments", _place(predicate, chains))
    price = price_of(
        predicate, claim, chains, archived=_archived(archived, policy), owner_keys=others
    )
    _derive("manifest", _check_manifest, evidence, predicate)
    passed("manifest", f"its root is the one committed to, over {len(evidence.manifest)} samples")
    with reading_schemes(sorted(evidence.schemes)) as schemes:
        for scheme in schemes:
            given = (scheme, evidence.schemes[scheme.name], evidence, predicate)
            _derive(scheme.name, _check_commitment, *given)
            passed(f"commitment: {scheme.name}", "key and secret open the signed commitment")
            _derive(scheme.name, _check_secret, *given)
            passed(f"derivation: {scheme.name}", "the secret follows from the key and the manifest")
        _check_unread(evidence, schemes)
        with OnnxSuspect(suspect, content=content) as session:
            verdict = _read(evidence, predicate, session, price.tries, schemes)
    passed("extraction", "; ".join(verdict.reasons))
    open_points = (*(() if known_attestation else (_NOT_OLDER,)), *price.unknown)
    if verdict.word == "present" and open_points:
        verdict = replace(verdict, word="undecided", reasons=(*verdict.reasons, *open_points))
    return EvidenceResult(
        verdict=verdict,
        steps=tuple(steps),
        predicate=predicate,
        owner=predicate.owner,
        schemes=tuple(sorted(evidence.schemes)),
        price=price,
        claim=claim,
    )


def _check_known(
    evidence: Evidence, verified: VerifiedStatement, known: Path, policy: Policy
) -> str:
    """How much of it is the same, in a few words.

    What was signed is compared, and by whom; not the spelling of the signature, which anybody
    can change without a key, and which a copy from before the one form may have had changed.
    """
    content = read_small(known)
    if content == evidence.bundle.encode():
        return "byte for byte"
    try:
        text = content.decode()
        archived = verify_statement(text, policy, "watermark", what=str(known), either_form=True)
    except UnicodeDecodeError:
        raise TamperedError(f"{known}: is not JSON") from None
    if archived.payload != verified.payload or archived.key != verified.key:
        raise TamperedError(
            f"evidence: its statement is not the attestation in {known}",
            advice="what was signed later proves nothing; give the attestation of the version "
            "that the evidence names, or ask for evidence that opens the one you know",
        )
    return "the same signed bytes under another spelling of the signature"


def _check_owner(evidence: Evidence, predicate: WatermarkPredicate) -> ec.EllipticCurvePublicKey:
    try:
        key = parse_public_key(evidence.owner_key)
    except ValueError:
        key = None
    if key is not None:
        spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        # In the one spelling that it is written in, with nothing around it.
        known = hashlib.sha256(spki).hexdigest() == predicate.owner
        if known and evidence.owner_key == public_pem(key):
            return key
    raise TamperedError("evidence: the owner's key is not that of the statement")


def _file_of(key: ec.EllipticCurvePublicKey, paths: Sequence[Path]) -> Path:
    return next(path for path in paths if key_hint(load_public_key(path)) == key_hint(key))


def _check_claim(
    evidence: Evidence,
    chains: Sequence[Chain],
    predicate: WatermarkPredicate,
    owner_key: ec.EllipticCurvePublicKey,
    attested_by: ec.EllipticCurvePublicKey,
) -> tuple[ClaimPredicate, str]:
    """The claim, and who signed it when, in a few words."""
    claim, signer = check_claim(
        evidence.claim,
        (owner_key, attested_by),
        owner=predicate.owner,
        suspect=evidence.suspect,
        bundle=evidence.bundle,
        schemes=list(evidence.schemes),
        chains=chains,
    )
    own = key_hint(signer) == key_hint(owner_key)
    key = "the owner's own key" if own else "the key that signed the statement"
    return claim, f"signed with {key}, {claim.created_at.isoformat()} by the signer's clock"


def _place(predicate: WatermarkPredicate, chains: Sequence[Chain]) -> str:
    where = place_of(predicate, chains, "the statement")
    if where is None:
        raise TamperedError(
            "evidence: its chains do not hold the commitments of its statement",
            advice="ask for the evidence file again",
        )
    return where


def _archived(paths: Sequence[Path], policy: Policy) -> dict[Path, WatermarkPredicate]:
    found = {}
    for path in paths:
        try:
            bundle = read_small(path).decode()
        except UnicodeDecodeError:
            raise TamperedError(f"{path}: is not JSON") from None
        found[path] = parse_watermark(
            verify_statement(
                bundle, policy, "watermark", what=str(path), either_form=True
            ).predicate
        )
    return found


def _check_manifest(evidence: Evidence, predicate: WatermarkPredicate) -> None:
    if evidence.manifest.root != predicate.manifest_root:
        raise TamperedError("evidence: the manifest is not the one committed to")


def _check_unread(evidence: Evidence, schemes: Sequence[Scheme]) -> None:
    """What no revealed scheme reads is committed to by none, so it has to be empty."""
    if any(reads_hidden(scheme) for scheme in schemes):
        return
    if evidence.tap or evidence.blueprint.digest() != Blueprint.empty().digest():
        raise TamperedError(
            "evidence: it describes a hidden layer that none of its schemes reads",
            advice="ask for the evidence file again",
        )


def _check_commitment(
    scheme: Scheme, revealed: Revealed, evidence: Evidence, predicate: WatermarkPredicate
) -> None:
    opened = commit(revealed.subkey, scheme.name, revealed.nonce)
    if predicate.commitments.get(scheme.name) != opened:
        raise TamperedError(f"evidence: {scheme.name}: the key does not open the commitment")
    blueprint = evidence.blueprint if reads_hidden(scheme) else None
    if binding_nonce(revealed.salt, revealed.secret, blueprint) != revealed.nonce:
        raise TamperedError(f"evidence: {scheme.name}: the secret is not the one committed to")


def _check_secret(
    scheme: Scheme, revealed: Revealed, evidence: Evidence, predicate: WatermarkPredicate
) -> None:
    key_version(revealed.secret.meta)
    owner = bytes.fromhex(predicate.owner)
    key = scheme_key(revealed.subkey, owner, predicate.manifest_root)
    scheme.check(revealed.secret, key, evidence.manifest)
    check_blueprint(scheme, revealed.secret, evidence.blueprint)
    stated = {"whitebox": predicate.bits, "blackbox": predicate.queries}.get(scheme.name)
    held = {"whitebox": "bits", "blackbox": "kept"}.get(scheme.name)
    if held is not None and revealed.secret.arrays[held].size != stated:
        raise TamperedError(f"evidence: {scheme.name}: the statement names another size")


def _derive(what: str, check: Callable[[*Given], None], *given: *Given) -> None:
    try:
        check(*given)
    except (
        KeyError,
        ValueError,
        IndexError,
        AttributeError,
        TypeError,
        ArithmeticError,
        MemoryError,
    ) as error:
        raise TamperedError(
            f"evidence: {what}: incomplete or of the wrong shape ({type(error).__name__})"
        ) from None


def _read(
    evidence: Evidence,
    predicate: WatermarkPredicate,
    session: OnnxSuspect,
    price: int,
    schemes: Sequence[Scheme],
) -> Verdict:
    # Reading a mark needs neither the root key, which stays with its owner, nor the salts.
    record = WatermarkRecord(
        root=RootKey(bytes(32), bytes.fromhex(predicate.owner)),
        salts={},
        nonces={},
        secrets={name: revealed.secret for name, revealed in evidence.schemes.items()},
        manifest=evidence.manifest,
        tap=evidence.tap,
        blueprint=evidence.blueprint,
    )
    extraction = extract(record, session, schemes=schemes)
    if not extraction.evidence:
        raise CouldNotCheckError("; ".join(extraction.incomplete) or "no scheme could be read")
    # The tap's name is not committed to, so every tensor of the file counts as one that the
    # owner may have tried; all committed schemes count, revealed or not.
    taps = possible_taps(session.model) if evidence.tap else 1
    asked = questions(len(predicate.commitments))
    tries = price * asked * taps * extraction.alignments
    return judge(
        extraction.evidence,
        tries=tries,
        ways=taps * extraction.alignments,
        incomplete=extraction.incomplete,
        together=evidence.schemes.keys() == predicate.commitments.keys(),
    )
