"""Names, and commands as they travel."""

import json

import pytest
from mlflow.utils.validation import MAX_MODEL_REGISTRY_TAG_VALUE_LENGTH

from deepsigns_registry.attestation.keys import generate_signing_key
from deepsigns_registry.attestation.signing import FileSigner
from deepsigns_registry.errors import CouldNotCheckError
from deepsigns_registry.registry import protocol
from deepsigns_registry.registry.figures import LONGEST_NAME
from deepsigns_registry.registry.progress import (
    LONGEST_TEXT,
    LONGEST_WORDS,
    MOST_FINDINGS,
    DataFinding,
    DataJudgement,
    Progress,
)
from deepsigns_registry.registry.protocol import (
    Attest,
    Claim,
    Command,
    Promote,
    PromotionRequest,
    Release,
    Renew,
    Report,
    is_reserved,
    parse_command,
)

COMMANDS: list[Command] = [
    Claim(model="m", version="1", request="r", worker="w", fence=1, ttl=60),
    Renew(model="m", version="1", worker="w", fence=1, renewal=1, ttl=60),
    Release(model="m", version="1", worker="w", fence=1),
    Report(model="m", version="1", request="r", worker="w", fence=1, state="failed", detail="no"),
    Attest(model="m", version="2", bundle="{}"),
    Promote(
        model="m",
        version="1",
        request="r",
        worker="w",
        fence=1,
        alias="champion",
        marked_version="2",
        expected_previous=None,
    ),
]


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> FileSigner:
    folder = tmp_path_factory.mktemp("keys")
    generate_signing_key(folder / "worker.pem", folder / "worker.pub.pem")
    return FileSigner(folder / "worker.pem")


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.command)
def test_a_command_comes_back_as_it_was_sent(command: Command) -> None:
    assert parse_command(command.payload()) == command


def test_the_format_of_a_command_and_of_a_request_is_pinned() -> None:
    claim = Claim(id="c", model="m", version="1", request="r", worker="w", fence=1, ttl=60)
    assert json.loads(claim.payload()) == {
        "command": "claim",
        "id": "c",
        "model": "m",
        "version": "1",
        "request": "r",
        "worker": "w",
        "fence": 1,
        "ttl": 60.0,
    }
    request = PromotionRequest(
        id="r", alias="champion", model="m", version="1", requested_at=5, requested_by="ada"
    )
    assert json.loads(request.model_dump_json()) == {
        "id": "r",
        "alias": "champion",
        "model": "m",
        "version": "1",
        "previous_version": None,
        "requested_at": 5,
        "requested_by": "ada",
        "state": "queued",
        "detail": "",
        "marked_version": None,
        "command": "",
        "progress": None,
        "judgement": None,
        "ended_at": None,
    }


def fullest() -> tuple[Progress, DataJudgement]:
    """As much as a report may hold, in the characters that take most room."""
    wide = "\N{MUSICAL SYMBOL G CLEF}"
    progress = Progress(
        stage=wide * LONGEST_NAME,
        percent=99.9,
        seconds_left=1e308,
        figures={f"{number:02}{wide * (LONGEST_NAME - 2)}": -1e308 for number in range(32)},
        reason=wide * LONGEST_TEXT,
        updated_at=2**53,
    )
    finding = DataFinding(
        code=wide * LONGEST_NAME, message=wide * LONGEST_WORDS, advice=wide * LONGEST_WORDS
    )
    judgement = DataJudgement(
        score=-1e308,
        score_name=wide * LONGEST_NAME,
        findings=(finding,) * MOST_FINDINGS,
        figures=progress.figures,
    )
    return progress, judgement


def test_what_a_request_can_carry_fits_into_a_tag(signer: FileSigner) -> None:
    progress, judgement = fullest()
    command = Report(
        model="m" * 256,
        version="1",
        request="r" * 32,
        worker="w" * 100,
        fence=1,
        state="queued",
        detail="\N{MUSICAL SYMBOL G CLEF}" * 2000,
        progress=progress,
        judgement=judgement,
    )
    assert parse_command(command.payload()) == command
    assert len(signer.sign_command(command.payload())) < MAX_MODEL_REGISTRY_TAG_VALUE_LENGTH
    request = PromotionRequest(
        id="r",
        alias="champion",
        model="m" * 256,
        version="1",
        requested_at=0,
        detail='"' * 2000,
        progress=progress,
        judgement=judgement,
    )
    text = request.model_dump_json()
    # A backslash or a quote takes two characters in JSON, and no other sign takes more.
    assert 2 * len(text) < MAX_MODEL_REGISTRY_TAG_VALUE_LENGTH
    assert PromotionRequest.model_validate_json(text) == request


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("progress", {"percent": 101}),
        ("progress", {"figures": {"accuracy": "high"}}),
        ("progress", {"figures": {f"f{number}": 1 for number in range(33)}}),
        ("progress", {"reason": "x" * 1001}),
        ("progress", {"seconds_left": -1}),
        ("judgement", {"findings": [{"code": "x"}] * 13}),
        ("judgement", {"findings": [{"message": "no code"}]}),
    ],
)
def test_a_report_that_says_too_much_is_not_taken(field: str, value: object) -> None:
    good = json.loads(COMMANDS[3].payload())
    with pytest.raises(CouldNotCheckError, match=rf"the command cannot be read: report\.{field}"):
        parse_command(json.dumps({**good, field: value}).encode())


OLD_REQUEST = (
    '{"id":"r","alias":"champion","model":"m","version":"1","previous_version":null,'
    '"requested_at":5,"requested_by":"ada","state":"queued","detail":"training: 40%",'
    '"marked_version":null,"command":""}'
)


def test_a_request_of_an_older_release_is_read() -> None:
    request = PromotionRequest.model_validate_json(OLD_REQUEST)
    assert (request.detail, request.progress, request.judgement) == ("training: 40%", None, None)


@pytest.mark.parametrize("progress", ["half", {"percent": 400}, [], {"figures": {"x": None}}])
def test_a_request_stands_though_its_progress_cannot_be_read(progress: object) -> None:
    newer = {**json.loads(OLD_REQUEST), "progress": progress, "judgement": {"findings": 3}, "x": 1}
    request = PromotionRequest.model_validate_json(json.dumps(newer))
    assert (request.id, request.progress, request.judgement) == ("r", None, None)


def test_a_report_of_an_older_worker_and_of_a_newer_one_are_read() -> None:
    sent = json.loads(COMMANDS[3].payload())
    older = {name: value for name, value in sent.items() if name not in {"progress", "judgement"}}
    for payload in (older, {**sent, "carbon": 5, "progress": {"percent": 5, "carbon": 5}}):
        command = parse_command(json.dumps(payload).encode())
        assert isinstance(command, Report)
        assert command.progress == (Progress(percent=5) if "progress" in payload else None)


@pytest.mark.parametrize(
    "payload",
    [b"", b"[]", b"{}", b"\xff", b'{"command": "format"}', b'{"command": "claim", "model": 1}'],
)
def test_what_is_no_command_is_could_not_check(payload: bytes) -> None:
    with pytest.raises(CouldNotCheckError, match="the command cannot be read"):
        parse_command(payload)


@pytest.mark.parametrize("ttl", [0, -1, 1e9, float("inf"), float("nan")])
def test_a_lease_has_a_sane_length(ttl: float) -> None:
    good = json.loads(COMMANDS[0].payload())
    with pytest.raises(CouldNotCheckError, match="ttl"):
        parse_command(json.dumps({**good, "ttl": ttl}).encode())


def test_every_tag_of_ours_is_reserved() -> None:
    tags = [protocol.STATE_TAG, protocol.LEASE_TAG, protocol.COMMAND_TAG, protocol.ATTESTATION_TAG]
    assert all(map(is_reserved, [*tags, protocol.request_tag("champion")]))
    assert not is_reserved("deepsign.state")
