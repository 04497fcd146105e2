"""From a stranger's file to an evidence file: which mark it carries, and what proves it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from deepsigns_registry.attestation.keystore import Marking
from deepsigns_registry.attestation.policy import Policy
from deepsigns_registry.audit.verify import find_candidates, verify_onnx
from deepsigns_registry.config import Settings
from deepsigns_registry.errors import ConfigurationError, RefusedError
from deepsigns_registry.evidence.export import export_evidence
from deepsigns_registry.registry.gate import gate
from deepsigns_registry.watermark.schemes import known_schemes
from deepsigns_registry.watermark.verdict import PRESENT_AT, Verdict

__all__ = ["Claim", "export_for_suspect", "sufficient_schemes"]


@dataclass(frozen=True)
class Claim:
    """What an evidence file claims.

    Attributes:
        marking: The mark that was found in the suspect.
        schemes: Names of the schemes whose keys the file reveals.
    """

    marking: Marking
    schemes: tuple[str, ...]


def sufficient_schemes(verdict: Verdict) -> tuple[str, ...]:
    """What to reveal when nobody chose: the first scheme, in reporting order, that is enough.

    Another that proves more stays secret, for the next dispute. Where only all of them together
    are enough, all are revealed.

    Args:
        verdict: `present`.

    Examples:
        >>> from deepsigns_registry.watermark.evidence import Matches

        >>> from deepsigns_registry.watermark.verdict import judge
        >>> weak = Matches("whitebox", trials=128, matches=70, chance=0.5, level="a")
        >>> strong = Matches("blackbox", trials=400, matches=300, chance=1 / 9)
        >>> sufficient_schemes(judge([weak, strong], tries=1))
        ('blackbox',)
    """
    enough = {
        item.scheme
        for item in verdict.evidence
        if verdict.log10_p_adjusted(item.scheme) <= PRESENT_AT
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
) -> Claim:
    """Writes the evidence file about a suspect that carries one of the owner's marks.

    Args:
        settings: Key store, owner's keys, registry and policy.
        suspect: The ONNX file in dispute.
        out: The file to write; must not exist.
        model: Look for the marks of this registered model only.
        schemes: Schemes whose keys are revealed, and thereby spent; `sufficient_schemes` when
            there are none.

    Raises:
        ConfigurationError: `out` exists, or a scheme is not part of the mark.
        RefusedError: None of the owner's marks is in the file.
        TamperedError: The marked version's files do not match its attestation.
        CouldNotCheckError: The suspect or the registry cannot be read.
    """
    if out.exists():
        raise ConfigurationError(f"{out}: exists already", advice="name a new file")
    candidates = find_candidates(settings, model)
    examination = verify_onnx(suspect, candidates)
    marking = examination.marking
    if marking is None:
        raise RefusedError(
            f"{suspect}: {examination.verdict.word}: there is no mark to prove",
            advice="see what was read with: deepsigns verify",
        )
    (candidate,) = candidates.only(marking)
    chosen = tuple(schemes) or sufficient_schemes(examination.verdict)
    attested = gate(settings, f"{marking.model}/{marking.marked_version}")
    export_evidence(
        bundle=attested.attestation.bundle,
        policy=Policy.from_settings(settings),
        record=candidate.record,
        schemes=chosen,
        owner_public_key=settings.file(settings.owner.public_key),
        suspect=suspect,
        out=out,
    )
    return Claim(marking, chosen)
