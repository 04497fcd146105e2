"""Names of the tags, and the commands that a worker sends: what both ends must agree on.

All state of a promotion is tags of the model version that somebody wanted to promote. Only the
server's plugin writes them. What people read are short tags that begin with `deepsigns.`; what
machines read are tags that begin with `mlflow.deepsigns.`: a version's page in MLflow shows no tag
of MLflow's own, and a search has them in its answer only when it asks as `WITH_HIDDEN_TAGS`. Once
both stood under `deepsigns.`; such requests are still read, and get their new names when they
change. A worker asks for a change with a *command*: JSON, signed, sent as the value of the tag
`deepsigns.command`. The plugin executes it in one database transaction.

Times are milliseconds since 1970 by the clock of the database.
"""

from typing import Annotated, ClassVar, Literal
from uuid import uuid4

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    ValidatorFunctionWrapHandler,
    field_validator,
)

from deepsigns_registry.attestation.statement import MOST_COUNT
from deepsigns_registry.errors import CouldNotCheckError
from deepsigns_registry.registry.progress import DataJudgement, Milliseconds, Progress

__all__ = [
    "ATTESTATION_TAG",
    "COMMAND_TAG",
    "EARLIER_LEASE_TAG",
    "FENCE_TAG",
    "LEASE_TAG",
    "LINE_TAG",
    "LONGEST_LEASE",
    "PERCENT_TAG",
    "PREFIXES",
    "REASON_TAG",
    "REQUESTED",
    "REQUESTER_TAG",
    "STATE_TAG",
    "WITH_HIDDEN_TAGS",
    "Attest",
    "Claim",
    "Command",
    "Lease",
    "Promote",
    "PromotionRequest",
    "Release",
    "Renew",
    "Report",
    "alias_of_tag",
    "earlier_request_tag",
    "is_hidden",
    "is_reserved",
    "parse_command",
    "request_tag",
]

_SHOWN, _HIDDEN = "deepsigns.", "mlflow.deepsigns."
PREFIXES = (_SHOWN, _HIDDEN)

STATE_TAG = f"{_SHOWN}state"
PERCENT_TAG = f"{_SHOWN}percent"
REASON_TAG = f"{_SHOWN}reason"
REQUESTER_TAG = f"{_SHOWN}requester"
REQUESTED = "requested"
COMMAND_TAG = f"{_SHOWN}command"

LEASE_TAG = f"{_HIDDEN}lease"
FENCE_TAG = f"{_HIDDEN}fence"
ATTESTATION_TAG = f"{_HIDDEN}attestation"
LINE_TAG = f"{_HIDDEN}line"
EARLIER_LEASE_TAG = f"{_SHOWN}lease"
_REQUEST = "request."
LONGEST_LEASE = 86_400

WITH_HIDDEN_TAGS = "name != 'deepsigns:'"
"""A condition of a search that holds for every version, as no name has a colon."""

RequestState = Literal["queued", "done", "failed", "superseded"]


def is_reserved(key: str) -> bool:
    """Whether a tag's name belongs to deepsigns; some databases compare without case.

    Examples:
        >>> is_reserved("DeepSigns.state"), is_reserved("mlflow.deepsigns.lease")
        (True, True)
        >>> is_reserved("team"), is_reserved("mlflow.source")
        (False, False)
    """
    return key.casefold().startswith(PREFIXES)


def is_hidden(key: str) -> bool:
    """Whether a tag is for machines alone.

    Examples:
        >>> is_hidden("mlflow.deepsigns.lease"), is_hidden("deepsigns.state")
        (True, False)
    """
    return key.startswith(_HIDDEN)


def request_tag(alias: str) -> str:
    """Name of the tag that holds the promotion request for an alias.

    Examples:
        >>> request_tag("champion")
        'mlflow.deepsigns.request.champion'
    """
    return f"{_HIDDEN}{_REQUEST}{alias}"


def earlier_request_tag(alias: str) -> str:
    """What that tag was called once."""
    return f"{_SHOWN}{_REQUEST}{alias}"


def alias_of_tag(key: str) -> str | None:
    """The alias whose request a tag holds, under its name of today or of before; else None.

    Examples:
        >>> alias_of_tag(request_tag("champion")), alias_of_tag(earlier_request_tag("blue"))
        ('champion', 'blue')
    """
    for prefix in PREFIXES:
        if key.startswith(f"{prefix}{_REQUEST}"):
            return key.removeprefix(f"{prefix}{_REQUEST}")
    return None


class _Record(BaseModel):
    # Unknown fields are ignored on read, so that an older reader understands a newer writer.
    model_config = ConfigDict(frozen=True, extra="ignore")


class PromotionRequest(_Record):
    """Somebody wanted `alias` to point at `version` of `model`; kept in a tag of that version.

    Attributes:
        id: Random, new for every request.
        previous_version: Where the alias pointed when the request was made.
        requested_at: Milliseconds since 1970.
        requested_by: The authenticated user, or empty.
        state: `queued` until it is done, failed or superseded by a later decision.
        detail: Progress, or why it ended as it did.
        marked_version: The version that the alias was moved to.
        command: Id of the command that ended it, so that sending it twice is harmless.
        progress: How far the work is; None before the first report, or from an older worker.
        judgement: What was found in the owner's data; None before it was looked at.
        ended_at: Milliseconds since 1970 when it was done or failed; None before.
    """

    id: str
    alias: str
    model: str
    version: str
    previous_version: str | None = None
    requested_at: Milliseconds
    requested_by: str = ""
    state: RequestState = "queued"
    detail: str = ""
    marked_version: str | None = None
    command: str = ""
    progress: Progress | None = None
    judgement: DataJudgement | None = None
    ended_at: Milliseconds | None = None

    @field_validator("progress", "judgement", mode="wrap")
    @classmethod
    def _readable(cls, value: object, read: ValidatorFunctionWrapHandler) -> object:
        # A request is one even when a later release says more about it than can be read here.
        try:
            return read(value)
        except ValidationError:
            return None


class Lease(_Record):
    """The right of one worker to act on one version for a while; removed when it is given back.

    Attributes:
        fence: Grows by one with each claim; an older fence may do nothing any more.
        command: Id of the command that claimed it.
        expires_at: Milliseconds since 1970 by the database's clock.
        renewals: How often it was renewed; each renewal names the next number.
    """

    fence: int = Field(ge=1, le=MOST_COUNT)
    worker: str
    command: str
    expires_at: Milliseconds
    renewals: int = Field(default=0, ge=0, le=MOST_COUNT)
    renewed_by: str = ""


def _new_id() -> str:
    return uuid4().hex


class _Command(_Record):
    id: str = Field(default_factory=_new_id)
    model: str
    version: str

    def payload(self) -> bytes:
        """The bytes that are signed."""
        return self.model_dump_json().encode()


Seconds = Annotated[float, Field(gt=0, le=LONGEST_LEASE)]


class Claim(_Command):
    """Take the lease of a version that has this request queued.

    `fence` must be one more than the last one, so an old claim sent again takes nothing.
    """

    command: Literal["claim"] = "claim"
    request: str
    worker: str
    fence: int
    ttl: Seconds


class Renew(_Command):
    """Keep the lease for `ttl` seconds from now; `renewal` is one more than the last."""

    command: Literal["renew"] = "renew"
    worker: str
    fence: int
    renewal: int
    ttl: Seconds


class Release(_Command):
    """Give the lease back before it expires; requests stay queued."""

    command: Literal["release"] = "release"
    worker: str
    fence: int


class Report(_Command):
    """Say how a queued request is getting on (`queued`), or that it cannot be done (`failed`)."""

    command: Literal["report"] = "report"
    request: str
    worker: str
    fence: int
    state: Literal["queued", "failed"]
    detail: str = Field(max_length=2000)
    progress: Progress | None = None
    judgement: DataJudgement | None = None


class Attest(_Command):
    """Show the attestation of a version in its tags; the server verifies the bytes first."""

    command: Literal["attest"] = "attest"
    bundle: str


class Promote(_Command):
    """Move the alias of a request to the marked version."""

    command: Literal["promote"] = "promote"
    request: str
    worker: str
    fence: int
    alias: str
    marked_version: str
    expected_previous: str | None


Command = Claim | Renew | Release | Report | Attest | Promote


class _AnyCommand:
    adapter: ClassVar[TypeAdapter[Command]] = TypeAdapter(
        Annotated[Command, Field(discriminator="command")]
    )


def parse_command(payload: bytes) -> Command:
    """Reads the payload of a command whose signature has been verified.

    Raises:
        CouldNotCheckError: It is no command that this version knows.

    Examples:
        >>> sent = Release(model="fraud", version="7", worker="w", fence=3)
        >>> parse_command(sent.payload()) == sent
        True
    """
    try:
        return _AnyCommand.adapter.validate_json(payload)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "payload"
        raise CouldNotCheckError(
            f"the command cannot be read: {where}: {first['msg']}",
            advice="use the same release on the worker and on the server",
        ) from None
