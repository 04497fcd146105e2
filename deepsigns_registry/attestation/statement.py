"""What is said about a model: in-toto statements and this project's three predicates.

The predicates are specified in `docs/spec/`: watermark-v0, audit-v0 and claim-v0. They say
nothing about where the mark sits: no layer, no carrier classes, no number of one class.
"""

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from deepsigns_registry.bounded.documents import read_json
from deepsigns_registry.errors import ConfigurationError, TamperedError

__all__ = [
    "AUDIT_PREDICATE",
    "CLAIM_PREDICATE",
    "MOST_CHAINS",
    "MOST_COUNT",
    "MOST_OWNERS",
    "STATEMENT_TYPE",
    "WATERMARK_PREDICATE",
    "AuditPredicate",
    "AuditRow",
    "ChainHead",
    "ClaimPredicate",
    "Fidelity",
    "Parent",
    "WatermarkPredicate",
    "audit_statement",
    "claim_statement",
    "encode_statement",
    "parse_audit",
    "parse_claim",
    "parse_watermark",
    "watermark_statement",
]

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
WATERMARK_PREDICATE = "urn:deepsigns-registry:predicate:watermark:v0"
AUDIT_PREDICATE = "urn:deepsigns-registry:predicate:audit:v0"
CLAIM_PREDICATE = "urn:deepsigns-registry:predicate:claim:v0"

MOST_COUNT = 2**53
"""Most suspects, or commitments, that are counted: JSON has no larger whole numbers everywhere."""

MOST_CHAINS, MOST_OWNERS = 100, 1000
"""Most chains of commitments, and owner keys of one claimant, that one claim counts."""

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Name = Annotated[str, Field(min_length=1)]
Count = Annotated[int, Field(ge=1, le=MOST_COUNT)]


class _Predicate(BaseModel):
    # Unknown fields are ignored on read, so that a later v0 statement is still read.
    model_config = ConfigDict(
        frozen=True, extra="ignore", alias_generator=to_camel, populate_by_name=True
    )


class Parent(_Predicate):
    """The unmarked version that was promoted.

    Attributes:
        name: Registered model.
        version: Its version number.
        digest: Combined digest of its files (see `digests.combined_digest`).
    """

    name: Name
    version: Name
    digest: Sha256


class Fidelity(_Predicate):
    """What the mark costs, on the owner's validation samples.

    Attributes:
        parent_accuracy: Share in [0, 1] that the unmarked parent gets right; of a model that is
            no classifier its score, at least 0: R2, or the mean cosine to the parent's vectors.
        marked_accuracy: The same of the marked model.
        drop: Parent minus marked, before either is cut off at 0.
        interval: 95% interval of the paired drop.
    """

    parent_accuracy: Share
    marked_accuracy: Share
    drop: Finite
    interval: tuple[Finite, Finite]


class WatermarkPredicate(_Predicate):
    """That these files carry a watermark of this owner, committed to before any dispute.

    Attributes:
        owner: Identity of the owner, SHA-256 of the root public key (hex).
        marking: Name of the marking in the owner's key store.
        request_id: The promotion request it was made for.
        commitments: Scheme name -> commitment (hex).
        commitment_index: How many commitments this owner had made, this one included.
        commitment_entry: Digest (hex) of this commitment's entry in the owner's chain, by which
            everything before it in the chain is fixed; None in older statements.
        manifest_root: Merkle root of the training samples' digests and labels (hex).
        parent: The unmarked version.
        bits: Length of the white-box signature.
        queries: Number of black-box queries.
        fidelity: What the mark costs.
        tool: Who made the statement, `name/version`.
        created_at: When, with time zone.
    """

    owner: Sha256
    marking: Name
    request_id: Name
    commitments: Annotated[dict[str, Sha256], Field(min_length=1)]
    commitment_index: Count
    commitment_entry: Sha256 | None = None
    manifest_root: Sha256
    parent: Parent
    bits: Annotated[int, Field(ge=0)]
    queries: Annotated[int, Field(ge=0)]
    fidelity: Fidelity
    tool: Name
    created_at: AwareDatetime


class AuditRow(_Predicate):
    """One verification inside an audit.

    Attributes:
        attack: Name of the attack, or `none` for the deployed file itself.
        strength: Strength of the attack in its own unit.
        accuracy: Share of the owner's validation samples it gets right, when measured; of a model
            that is no classifier its task's score, at least 0.
        log10_p: Scheme name -> adjusted log10 p.
        verdict: The word.
    """

    attack: Name
    strength: Finite = 0.0
    accuracy: Share | None = None
    log10_p: dict[str, Finite] = Field(default_factory=dict)
    verdict: Literal["present", "absent", "undecided"]


class AuditPredicate(_Predicate):
    """What an audit of one deployment found.

    Attributes:
        deployment: Name of the deployment in `deepsigns.toml`.
        target: Where the file was fetched from, without credentials.
        model: Registered model it should be.
        onnx_digest: SHA-256 of the deployed ONNX file (hex).
        verdict: The word for the deployed file as it was found.
        rows: One entry a verification, the deployed file first.
        report_digest: SHA-256 of the HTML report (hex).
        passed: Whether every expectation of the audit held.
        started_at: When the audit began, with time zone.
        finished_at: When it ended.
        tool: Who made the statement, `name/version`.
    """

    deployment: Name
    target: Name
    model: Name
    onnx_digest: Sha256
    verdict: Literal["present", "absent", "undecided"]
    rows: tuple[AuditRow, ...] = ()
    report_digest: Sha256
    passed: bool
    started_at: AwareDatetime
    finished_at: AwareDatetime
    tool: Name

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.finished_at < self.started_at:
            raise ValueError("finishedAt is before startedAt")
        return self


class ChainHead(_Predicate):
    """How far a chain of commitments reaches.

    Attributes:
        head: Digest (hex) of its newest entry.
        entries: Number of that entry.
    """

    head: Sha256
    entries: Count


class ClaimPredicate(_Predicate):
    """What a claimant states about a file in dispute, and is held to.

    Attributes:
        owner: Identity (hex) of the owner whose mark is claimed.
        owners: Identities of all owner keys of the claimant, that one included.
        attestation: SHA-256 (hex) of the attestation whose commitments are opened.
        schemes: Whose commitments are opened.
        scanned: How many suspects were looked at before this claim, this one included.
        commitments: How many commitments all owner keys of the claimant made, by `chains`.
        chains: The claimant's chains of commitments, as they were when this was signed.
        tool: Who made the statement, `name/version`.
        created_at: When, with time zone.
    """

    owner: Sha256
    owners: Annotated[tuple[Sha256, ...], Field(min_length=1, max_length=MOST_OWNERS)]
    attestation: Sha256
    schemes: Annotated[tuple[Name, ...], Field(min_length=1, max_length=100)]
    scanned: Count
    commitments: Count
    chains: Annotated[tuple[ChainHead, ...], Field(min_length=1, max_length=MOST_CHAINS)]
    tool: Name
    created_at: AwareDatetime


_Kind = TypeVar("_Kind", bound=_Predicate)


def watermark_statement(
    digests: Mapping[str, str], predicate: WatermarkPredicate
) -> dict[str, Any]:
    """The statement about a marked model's files.

    Args:
        digests: Path -> SHA-256 of every file, see `digests.digest_folder`.
        predicate: What is said about them.

    Raises:
        ConfigurationError: There are no files.
    """
    return _statement(digests, WATERMARK_PREDICATE, predicate)


def audit_statement(digests: Mapping[str, str], predicate: AuditPredicate) -> dict[str, Any]:
    """The statement about an audited file and its report.

    Args:
        digests: Name -> SHA-256 of the ONNX file and of the report's files.
        predicate: What was found.

    Raises:
        ConfigurationError: There are no files.
    """
    return _statement(digests, AUDIT_PREDICATE, predicate)


def claim_statement(suspect: str, predicate: ClaimPredicate) -> dict[str, Any]:
    """The statement about a file in dispute.

    Args:
        suspect: SHA-256 (hex) of the file.
        predicate: What is claimed.
    """
    return _statement({"suspect": suspect}, CLAIM_PREDICATE, predicate)


def parse_watermark(predicate: Mapping[str, Any]) -> WatermarkPredicate:
    """Reads the predicate of a verified watermark statement; ignores unknown fields.

    Raises:
        TamperedError: A field is missing or has the wrong form.
    """
    return _parse(WatermarkPredicate, predicate)


def parse_audit(predicate: Mapping[str, Any]) -> AuditPredicate:
    """Reads the predicate of a verified audit statement; ignores unknown fields.

    Raises:
        TamperedError: A field is missing or has the wrong form.
    """
    return _parse(AuditPredicate, predicate)


def parse_claim(predicate: Mapping[str, Any]) -> ClaimPredicate:
    """Reads the predicate of a claim; ignores unknown fields.

    Raises:
        TamperedError: A field is missing or has the wrong form.
    """
    return _parse(ClaimPredicate, predicate)


def encode_statement(statement: Mapping[str, Any]) -> bytes:
    """The bytes to sign: checked against in-toto's schema, sorted, compact.

    Raises:
        ConfigurationError: It is no in-toto Statement v1.
    """
    from google.protobuf import json_format
    from in_toto_attestation.v1 import statement_pb2
    from in_toto_attestation.v1.statement import Statement

    message = statement_pb2.Statement()
    try:
        text = json.dumps(statement, sort_keys=True, separators=(",", ":"), allow_nan=False)
        # What nobody would read must not be signed either.
        read_json(text)
        json_format.ParseDict(dict(statement), message)
        Statement.copy_from_pb(message).validate()
    except (json_format.ParseError, ValueError, TypeError, AttributeError) as error:
        raise ConfigurationError(f"statement: is not an in-toto Statement v1: {error}") from None
    return text.encode()


def _statement(digests: Mapping[str, str], kind: str, predicate: _Predicate) -> dict[str, Any]:
    if not digests:
        raise ConfigurationError("statement: there are no files to attest")
    return {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": name, "digest": {"sha256": digests[name]}} for name in digests],
        "predicateType": kind,
        # A field that may lack is left out, not written as null.
        "predicate": predicate.model_dump(mode="json", by_alias=True, exclude_none=True),
    }


def _parse(kind: type[_Kind], predicate: Mapping[str, Any]) -> _Kind:
    try:
        return kind.model_validate(dict(predicate))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise TamperedError(
            f"signed statement: predicate field '{where}': {first['msg']}"
        ) from None
