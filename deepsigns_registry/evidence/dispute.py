"""From a stranger's file to an evidence file: which mark it carries, and what proves it."""

from collections.abc import Sequence
from pathlib import Path

from deepsigns_registry.attestation.keystore import Marking
from deepsigns_registry.attestation.policy import Policy
from deepsigns_registry.audit.verify import find_candidates, verify_onnx
from deepsigns_registry.config import Settings
from deepsigns_registry.errors import ConfigurationError, RefusedError
from deepsigns_registry.evidence.export import export_evidence
from deepsigns_registry.registry.gate import gate

__all__ = ["export_for_suspect"]


def export_for_suspect(
    settings: Settings, suspect: Path, *, model: str | None, schemes: Sequence[str], out: Path
) -> Marking:
    """Writes the evidence file about a suspect that carries one of the owner's marks.

    Args:
        settings: Key store, owner's keys, registry and policy.
        suspect: The ONNX file in dispute.
        model: Look for the marks of this registered model only.
        schemes: Schemes whose keys are revealed, and thereby spent.
        out: The file to write; must not exist.

    Returns:
        The marking that was found.

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
    attested = gate(settings, f"{marking.model}/{marking.marked_version}")
    export_evidence(
        bundle=attested.attestation.bundle,
        policy=Policy.from_settings(settings),
        record=candidate.record,
        schemes=schemes,
        owner_public_key=settings.file(settings.owner.public_key),
        suspect=suspect,
        out=out,
    )
    return marking
