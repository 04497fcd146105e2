"""From a stranger's file to an evidence file: which mark it carries, and what proves it."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from deepsigns_registry.attestation.chain import distinct
from deepsigns_registry.attestation.keystore import FileKeystore, Marking, open_keystore
from deepsigns_registry.attestation.policy import Policy
from deepsigns_registry.attestation.signing import FileSigner
from deepsigns_registry.audit.verify import find_candidates, verify_onnx
from deepsigns_registry.config import Settings
from deepsigns_registry.errors import ConfigurationError, RefusedError
from deepsigns_registry.evidence.claim import read_chains
from deepsigns_registry.evidence.export import export_evidence
from deepsigns_registry.graph.limits import limits_of
from deepsigns_registry.graph.order import possible_taps
from deepsigns_registry.graph.session import OnnxSuspect
from deepsigns_registry.guests import reading_schemes
from deepsigns_registry.registry.gate import gate
from deepsigns_registry.watermark.record import WatermarkRecord, reads_hidden
from deepsigns_registry.watermark.schemes import known_schemes
from deepsigns_registry.watermark.verdict import PRESENT_AT, Verdict

__all__ = ["Claim", "export_for_suspect", "sufficient_schemes"]


@dataclass(frozen=True)
class Claim:
    """What an evidence file claims.

    Attributes:
        marking: The mark that was found in the suspect.
        schemes: Names of the schemes whose keys the file reveals.
        samples: How many samples the file holds that these ask about; none for weights alone.
        scanned: How many suspects were looked at, as the file states.
        commitments: How many commitments the claimant made, as its chains show.
        owners: Identities (hex) of all owner keys that the file states.
    """

    marking: Marking
    schemes: tuple[str, ...]
    samples: int
    scanned: int
    commitments: int
    owners: tuple[str, ...]


def sufficient_schemes(verdict: Verdict, *, taps: int = 1) -> tuple[str, ...]:
    """What to reveal when nobody chose: the first scheme, in reporting order, that is enough.

    Another that proves more stays secret, for the next dispute. Where only all of them together
    are enough, all are revealed.

    Args:
        verdict: `present`.
        taps: By how much a verifier multiplies what a scheme finds in hidden layers or weights,
            beside what the verdict was adjusted for.

    Examples:
        >>> from deepsigns_registry.watermark.evidence import Matches

        >>> from deepsigns_registry.watermark.verdict import judge
        >>> weak = Matches("whitebox", trials=128, matches=70, chance=0.5, level="a")
        >>> strong = Matches("blackbox", trials=400, matches=300, chance=1 / 9)
        >>> sufficient_schemes(judge([weak, strong], tries=1))
        ('blackbox',)
    """
    names = [item.scheme for item in verdict.evidence]
    with reading_schemes(names) as schemes:
        hidden = {scheme.name for scheme in schemes if reads_hidden(scheme)}
    enough = {
        name
        for name in names
        if verdict.log10_p_adjusted(name) + (math.log10(taps) if name in hidden else 0)
        <= PRESENT_AT
    }
    if not enough:
        return tuple(item.scheme for item in verdict.evidence)
    return (min(enough, key=known_schemes().index),)


def export_for_suspect(
    settings: Settings,
    suspect: Path,
    *,
    out: Path,
    model: str | None = None,
    schemes: Sequence[str] = (),
    scanned: int = 1,
    sign_with: Path | None = None,
    other_keystores: Sequence[Path] = (),
    agree: Callable[[Marking, Sequence[str], int], None] | None = None,
) -> Claim:
    """Writes the evidence file about a suspect that carries one of the owner's marks.

    Args:
        settings: Key store, owner's keys, registry and policy.
        suspect: The ONNX file in dispute.
        out: The file to write; must not exist.
        model: Look for the marks of this registered model only.
        schemes: Schemes whose keys are revealed, and thereby spent; `sufficient_schemes` when
            there are none.
        scanned: How many suspects were looked at before this claim, this one included. Stated
            under a signature, and multiplies every p-value.
        sign_with: The private key that signs the claim; `[owner] signing_key` by default.
        other_keystores: Folders of the claimant's other key stores: their commitments count.
        agree: Told which mark, which schemes and how many samples, before a key is revealed and
            anything is written; stops the export by raising.

    Raises:
        ConfigurationError: `out` exists, a scheme is not part of the mark, the claim cannot be
            signed, or a key store has no commitments.
        RefusedError: None of the owner's marks is in the file.
        TamperedError: The marked version's files do not match its attestation.
        CouldNotCheckError: The suspect or the registry cannot be read.
    """
    if out.exists():
        raise ConfigurationError(f"{out}: exists already", advice="name a new file")
    signer = _signer(settings, sign_with)
    candidates = find_candidates(settings, model)
    chains = _chains(settings, other_keystores)
    counted = replace(candidates, commitments=distinct(read_chains(chains)))
    with OnnxSuspect(suspect, limits=limits_of(settings.sandbox)) as opened:
        examination = verify_onnx(suspect, counted, suspects=scanned, suspect=opened)
    marking = examination.marking
    if marking is None:
        raise RefusedError(
            f"{suspect}: {examination.verdict.word}: there is no mark to prove",
            advice="see what was read with: deepsigns verify",
        )
    (candidate,) = candidates.only(marking)
    taps = possible_taps(opened.model)
    chosen = tuple(schemes) or sufficient_schemes(examination.verdict, taps=taps)
    attested = gate(settings, f"{marking.model}/{marking.marked_version}")
    samples = _samples(candidate.record, chosen)
    if agree is not None:
        agree(marking, chosen, samples)
    claim = export_evidence(
        bundle=attested.attestation.bundle,
        policy=Policy.from_settings(settings),
        record=candidate.record,
        schemes=chosen,
        owner_public_key=settings.file(settings.owner.public_key),
        suspect=opened.digest,
        out=out,
        signer=signer,
        chains=chains,
        scanned=scanned,
    )
    return Claim(marking, chosen, samples, claim.scanned, claim.commitments, claim.owners)


def _samples(record: WatermarkRecord, schemes: Sequence[str]) -> int:
    """How many samples schemes ask about; an unknown name is refused by the export."""
    secrets = record.secrets
    with reading_schemes([name for name in schemes if name in secrets]) as known:
        return sum(len(scheme.probes(secrets[scheme.name]).inputs) for scheme in known)


def _signer(settings: Settings, path: Path | None) -> FileSigner:
    """Whoever signs the claim, known before a key is revealed for nothing."""
    try:
        return FileSigner(path or settings.file(settings.owner.signing_key))
    except ConfigurationError as error:
        raise ConfigurationError(
            f"a claim has to be signed: {error.message}",
            advice="name the owner's private key, or the one that signs marks, with --sign-with",
        ) from None


def _chains(settings: Settings, others: Sequence[Path]) -> list[bytes]:
    """The chains of commitments of all key stores, each once."""
    stores = [open_keystore(settings), *map(FileKeystore, others)]
    return list(dict.fromkeys(store.commitments.content() for store in stores))
