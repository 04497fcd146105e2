import json
import stat
from pathlib import Path

import pyrage
import pytest

from deepsigns_registry.attestation.sealing import (
    generate_identity,
    generate_sealing_key,
    load_identity,
    load_recipient,
    seal,
    unseal,
)
from deepsigns_registry.errors import (
    ConfigurationError,
    CouldNotCheckError,
    NotFoundError,
    TamperedError,
)

CONTEXT = {"owner": "0" * 64, "request": "r1"}


def test_every_recipient_opens_it_alone() -> None:
    pairs = [generate_identity() for _ in range(3)]
    sealed = seal(b"secret", [recipient for _, recipient in pairs], CONTEXT)
    for identity, _ in pairs:
        assert unseal(sealed, identity, CONTEXT) == b"secret"


def test_another_identity_does_not_open_it() -> None:
    sealed = seal(b"secret", [generate_identity()[1]], CONTEXT)
    with pytest.raises(CouldNotCheckError, match="not sealed to this identity"):
        unseal(sealed, generate_identity()[0], CONTEXT)


@pytest.mark.parametrize("context", [{}, CONTEXT | {"request": "r2"}, CONTEXT | {"more": "x"}])
def test_another_context_is_tampering(context: dict[str, str]) -> None:
    identity, recipient = generate_identity()
    sealed = seal(b"secret", [recipient], CONTEXT)
    with pytest.raises(TamperedError, match="another owner or request"):
        unseal(sealed, identity, context)


def test_an_age_file_without_a_context_is_tampering() -> None:
    identity, recipient = generate_identity()
    sealed = pyrage.encrypt(b"secret", [pyrage.x25519.Recipient.from_str(recipient)])
    with pytest.raises(TamperedError, match="another owner or request"):
        unseal(sealed, identity, CONTEXT)


def test_a_changed_body_is_tampering_not_a_wrong_key() -> None:
    identity, recipient = generate_identity()
    sealed = seal(b"secret", [recipient], CONTEXT)
    for changed in (sealed[:-1] + bytes([sealed[-1] ^ 1]), sealed[:-1], sealed + b"x"):
        with pytest.raises(TamperedError, match="the sealed file was changed"):
            unseal(changed, identity, CONTEXT)


def test_a_plain_age_reader_finds_the_context_in_front_of_the_secret() -> None:
    identity, recipient = generate_identity()
    opened = pyrage.decrypt(
        seal(b"secret", [recipient], CONTEXT), [pyrage.x25519.Identity.from_str(identity)]
    )
    header = json.dumps(CONTEXT, sort_keys=True, separators=(",", ":")).encode()
    size = len(header).to_bytes(4, "big")
    assert opened == b"deepsigns-registry/sealed/v0\n" + size + header + b"secret"


def test_nobody_to_seal_to_is_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError, match="no recipient"):
        seal(b"secret", [], CONTEXT)
    with pytest.raises(ConfigurationError, match="is not an age X25519 recipient"):
        seal(b"secret", ["age1nonsense"], CONTEXT)


def test_a_malformed_identity_is_not_repeated_in_the_message() -> None:
    identity, recipient = generate_identity()
    sealed = seal(b"secret", [recipient], CONTEXT)
    with pytest.raises(ConfigurationError, match="not an age X25519 identity") as caught:
        unseal(sealed, identity[:-1], CONTEXT)
    assert identity[:30] not in str(caught.value)


def test_a_key_pair_in_files(tmp_path: Path) -> None:
    private, public = tmp_path / "keys" / "sealing.key", tmp_path / "keys" / "sealing.pub"
    generate_sealing_key(private, public)
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    sealed = seal(b"secret", [load_recipient(public)], CONTEXT)
    assert unseal(sealed, load_identity(private), CONTEXT) == b"secret"
    with pytest.raises(ConfigurationError, match="exists already"):
        generate_sealing_key(private, tmp_path / "other.pub")


def test_half_a_pair_is_not_left_behind(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="cannot be written"):
        generate_sealing_key(tmp_path / "a.key", tmp_path / "file" / "a.pub")
    assert not (tmp_path / "a.key").exists()


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\xff\xff", b"a\nb\n"])
def test_a_file_that_holds_no_key_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "k").write_bytes(content)
    with pytest.raises(ConfigurationError, match="k: "):
        load_identity(tmp_path / "k")
    with pytest.raises(ConfigurationError, match="k: "):
        load_recipient(tmp_path / "k")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no such file"):
        load_identity(tmp_path / "k")
