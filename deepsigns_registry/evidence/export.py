"""Writing an evidence file: opens the commitments that the owner chooses to spend."""

from collections.abc import Sequence
from pathlib import Path

from deepsigns_registry.attestation import files
from deepsigns_registry.attestation.keys import (
    key_hint,
    load_public_key,
    owner_identity,
    public_pem,
)
from deepsigns_registry.attestation.policy import Policy
from deepsigns_registry.attestation.signing import FileSigner
from deepsigns_registry.attestation.statement import ClaimPredicate, parse_watermark
from deepsigns_registry.attestation.verification import verify_statement
from deepsigns_registry.errors import ConfigurationError, CouldNotCheckError, TamperedError
from deepsigns_registry.evidence.claim import read_chains, sign_claim, stated
from deepsigns_registry.evidence.contents import Evidence, Revealed, render
from deepsigns_registry.evidence.price import place_of
from deepsigns_registry.guests import reading_schemes
from deepsigns_registry.watermark.blueprint import Blueprint
from deepsigns_registry.watermark.record import WatermarkRecord, reads_hidden

__all__ = ["export_evidence"]


def export_evidence(
    *,
    bundle: str,
    policy: Policy,
    record: WatermarkRecord,
    schemes: Sequence[str],
    owner_public_key: Path,
    suspect: str,
    out: Path,
    signer: FileSigner,
    chains: Sequence[bytes],
    scanned: int = 1,
) -> ClaimPredicate:
    """Writes one file with which a third party checks a claim.

    The file holds training records and the keys of the revealed schemes: they are spent from
    then on. What is not revealed stays secret, the root key always.

    Args:
        bundle: Text of the marked model's watermark bundle, see `attestation.bundle.read_bundle`.
        policy: Trusted keys; the bundle is verified before anything is revealed.
        record: The opened watermark record.
        schemes: Names of the schemes to reveal.
        owner_public_key: The owner's root public key.
        suspect: SHA-256 (hex) of the ONNX file in dispute, of the bytes that the mark was read in.
        out: The file to write, mode 0600; must not exist.
        signer: Signs the claim: the owner's root key, or the key that signed the bundle.
        chains: The claimant's chains of commitments; one of them holds this record's.
        scanned: How many suspects were looked at before this claim, this one included.

    Returns:
        What the file claims, as it was signed.

    Raises:
        ConfigurationError: `out` exists, the owner's key is another one, a scheme is not in the
            record, `scanned` is below 1, or nobody would believe the signer.
        TamperedError: The bundle is not good, or does not belong to the record or the chains.
        CouldNotCheckError: The file cannot be written.
    """
    unknown = sorted(set(schemes) - record.secrets.keys())
    if unknown or not schemes:
        what = f"no scheme '{unknown[0]}' in the record" if unknown else "nothing to reveal"
        raise ConfigurationError(
            f"evidence: {what}", advice=f"reveal one or more of: {', '.join(record.secrets)}"
        )
    if out.exists() or out.is_symlink():
        raise _exists(out)
    owner = owner_identity(owner_public_key)
    if owner != record.root.owner:
        raise ConfigurationError(
            f"{owner_public_key}: the watermark belongs to another owner",
            advice="name the public key that the mark was made with",
        )
    verified = verify_statement(bundle, policy, "watermark", what="attestation")
    predicate = parse_watermark(verified.predicate)
    with reading_schemes(record.secrets) as known:
        record.check(known)
        hidden = any(reads_hidden(scheme) for scheme in known if scheme.name in schemes)
    if predicate.owner != owner.hex() or predicate.commitments != record.commitments():
        raise TamperedError(
            "evidence: the attestation and the record do not belong together",
            advice="name the bundle of the version that this record marked",
        )
    public = load_public_key(owner_public_key)
    if signer.hint not in {key_hint(public), key_hint(verified.key)}:
        raise ConfigurationError(
            f"{signer.path}: is neither the owner's key nor the one that signed the attestation, "
            "so nobody would believe a claim that it signs",
            advice=f"name the private half of {owner_public_key} with --sign-with",
        )
    if place_of(predicate, read_chains(chains), "the attestation") is None:
        raise TamperedError(
            "evidence: the chain of commitments does not hold those of the attestation",
            advice="restore commitments.jsonl from a backup",
        )
    chosen = sorted(set(schemes))
    claim = sign_claim(
        signer,
        owner=predicate.owner,
        suspect=suspect,
        bundle=bundle,
        schemes=chosen,
        scanned=scanned,
        chains=chains,
    )
    evidence = Evidence(
        bundle=bundle,
        owner_key=public_pem(public),
        suspect=suspect,
        manifest=record.manifest,
        schemes={
            name: Revealed(
                subkey=record.root.subkey(name),
                salt=record.salts[name],
                nonce=record.nonces[name],
                secret=record.secrets[name],
            )
            for name in chosen
        },
        # Where the mark sits is nobody's business while only outputs are asked for.
        tap=record.tap if hidden else "",
        blueprint=record.blueprint if hidden else Blueprint.empty(),
        claim=claim,
        chains=tuple(chains),
    )
    try:
        files.private_folder(out.parent)
        files.create(out, render(evidence))
    except FileExistsError:
        raise _exists(out) from None
    except OSError as error:
        raise CouldNotCheckError(f"{out}: cannot be written: {error.strerror}") from None
    return stated(claim)


def _exists(out: Path) -> ConfigurationError:
    return ConfigurationError(f"{out}: exists already", advice="name a new file")
