import hashlib

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from deepsigns_registry.errors import TamperedError
from deepsigns_registry.watermark.expand import DOMAIN, encode
from deepsigns_registry.watermark.key import RootKey, commit, purpose_key

OWNER = b"o" * 32


def test_subkey_is_hkdf_sha256_of_another_implementation() -> None:
    root = RootKey(b"r" * 32, OWNER)
    info = encode(DOMAIN, b"subkey", OWNER, b"whitebox")
    oracle = HKDF(SHA256(), length=32, salt=DOMAIN, info=info).derive(root.secret)
    assert root.subkey("whitebox") == oracle


def test_owner_scheme_and_secret_all_enter_the_subkey() -> None:
    keys = {
        RootKey(b"r" * 32, OWNER).subkey("whitebox"),
        RootKey(b"s" * 32, OWNER).subkey("whitebox"),
        RootKey(b"r" * 32, b"p" * 32).subkey("whitebox"),
        RootKey(b"r" * 32, OWNER).subkey("blackbox"),
    }
    assert len(keys) == 4


def test_purposes_are_separate() -> None:
    assert purpose_key(bytes(32), "triggers") != purpose_key(bytes(32), "signature")


def test_commitment_binds_subkey_scheme_and_nonce() -> None:
    given = commit(bytes(32), "whitebox", bytes(32))
    body = encode(DOMAIN, b"commitment", bytes(32), b"whitebox", bytes(32))
    assert given == hashlib.sha256(body).hexdigest()
    assert given != commit(b"\1" * 32, "whitebox", bytes(32))
    assert given != commit(bytes(32), "blackbox", bytes(32))
    assert given != commit(bytes(32), "whitebox", b"\1" * 32)


def test_generated_roots_differ_and_never_show_their_secret() -> None:
    first, second = RootKey.generate(OWNER), RootKey.generate(OWNER)
    assert first.secret != second.secret
    assert first.secret.hex() not in repr(first)
    assert str(first.secret) not in repr(first)


@pytest.mark.parametrize(("secret", "owner"), [(b"short", OWNER), (bytes(32), b"")])
def test_wrong_lengths_are_refused(secret: bytes, owner: bytes) -> None:
    with pytest.raises(TamperedError, match="instead of 32 each"):
        RootKey(secret, owner)
