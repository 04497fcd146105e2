"""What is signed about this exact file, in one sentence for the report."""

from deepsigns_registry.attestation.keystore import Marking
from deepsigns_registry.attestation.policy import Policy
from deepsigns_registry.attestation.statement import parse_watermark
from deepsigns_registry.attestation.verification import verify_statement
from deepsigns_registry.audit.verify import Examination
from deepsigns_registry.config import Settings
from deepsigns_registry.errors import ConfigurationError, CouldNotCheckError, TamperedError

__all__ = ["attestation_of"]


def attestation_of(settings: Settings, examination: Examination, policy: Policy) -> str:
    """Looks the file's digest up in the signed attestation of its version.

    The verdict does not depend on it: a converted or quantised deployment is no longer the
    file that was signed and still carries the mark. An unreachable registry is therefore
    only said, while a bad signature is an error.

    Raises:
        TamperedError: The version's attestation is forged, or contradicts the key store.
    """
    marking = examination.exact
    if marking is None:
        other = examination.marking
        return "This exact file is not one that was attested" + (
            f"; the mark is that of {other.model} version {other.marked_version}, so the file "
            "was changed or converted after it was signed."
            if other
            else "."
        )
    version = f"{marking.model} version {marking.marked_version}"
    try:
        bundle = _stored_bundle(settings, marking)
    except (ConfigurationError, CouldNotCheckError) as error:
        return f"The key store knows this exact file as {version}; not confirmed: {error.message}."
    if not bundle:
        return f"The key store knows this exact file as {version}; the registry shows no bundle."
    try:
        verified = verify_statement(bundle, policy, "watermark", what=f"attestation of {version}")
    except ConfigurationError as error:
        return f"The key store knows this exact file as {version}; not confirmed: {error.message}."
    predicate = parse_watermark(verified.predicate)
    signed = examination.digest in verified.subjects.values()
    if not signed or predicate.commitments != marking.commitments:
        raise TamperedError(
            f"attestation of {version}: it was signed for other files or another secret",
            advice="compare the key store and the registry with their backups",
        )
    return f"This exact file is attested, with a good signature, as {version}."


def _stored_bundle(settings: Settings, marking: Marking) -> str:
    from deepsigns_registry.registry.client import make_client, translated
    from deepsigns_registry.registry.protocol import ATTESTATION_TAG

    with translated(f"registry: {marking.model} version {marking.marked_version}"):
        client = make_client(settings.tracking_uri)
        version = client.get_model_version(marking.model, marking.marked_version)
    # The tag is only where the bundle is looked for; its signature is what convinces.
    return str(version.tags.get(ATTESTATION_TAG, ""))
