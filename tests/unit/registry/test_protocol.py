"""Names, and commands as they travel."""

import json

import pytest

from deepsigns_registry.errors import CouldNotCheckError
from deepsigns_registry.registry import protocol
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
    }


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
