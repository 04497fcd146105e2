import hashlib
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_public_key,
)

from deepsigns_registry.attestation.keys import (
    generate_signing_key,
    key_hint,
    load_private_key,
    load_public_key,
    owner_identity,
)
from deepsigns_registry.errors import ConfigurationError, NotFoundError

NewKey = Callable[[str], tuple[Path, Path]]


def test_a_generated_pair_loads_and_belongs_together(new_key: NewKey) -> None:
    private, public = new_key("owner")
    assert load_private_key(private).public_key() == load_public_key(public)
    assert private.read_text().startswith("-----BEGIN PRIVATE KEY-----")
    assert public.read_text().startswith("-----BEGIN PUBLIC KEY-----")


def test_a_private_key_is_for_this_user_only(new_key: NewKey) -> None:
    private, _ = new_key("owner")
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert stat.S_IMODE(private.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("existing", ["a.pem", "a.pub.pem"])
def test_no_key_is_overwritten_and_no_half_pair_left(tmp_path: Path, existing: str) -> None:
    (tmp_path / existing).write_text("precious")
    with pytest.raises(ConfigurationError, match="exists already"):
        generate_signing_key(tmp_path / "a.pem", tmp_path / "a.pub.pem")
    assert (tmp_path / existing).read_text() == "precious"
    assert [path.name for path in tmp_path.iterdir()] == [existing]


def test_a_public_half_that_cannot_be_written_takes_the_private_one_back(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="cannot be written"):
        generate_signing_key(tmp_path / "a.pem", tmp_path / "file" / "a.pub.pem")
    assert not (tmp_path / "a.pem").exists()


def test_identity_is_the_digest_of_the_der_key(new_key: NewKey) -> None:
    _, public = new_key("owner")
    key = load_pem_public_key(public.read_bytes())
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert owner_identity(public) == hashlib.sha256(der).digest()


def test_hint_is_the_digest_of_the_pem_file(new_key: NewKey) -> None:
    _, public = new_key("owner")
    assert key_hint(load_public_key(public)) == hashlib.sha256(public.read_bytes()).hexdigest()


def _pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


WRONG_PRIVATE = {
    "garbage": (b"no key at all", "is not a PEM private key"),
    "empty": (b"", "is not a PEM private key"),
    "p384": (_pem(ec.generate_private_key(ec.SECP384R1())), "is not an ECDSA P-256 private key"),
    "rsa": (_pem(rsa.generate_private_key(65537, 2048)), "is not an ECDSA P-256 private key"),
    "ed25519": (_pem(ed25519.Ed25519PrivateKey.generate()), "is not an ECDSA P-256 private key"),
    "encrypted": (
        ec.generate_private_key(ec.SECP256R1()).private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"password")
        ),
        "encrypted with a password",
    ),
    "huge": (b"x" * 100_000, "too long"),
}


@pytest.mark.parametrize("kind", WRONG_PRIVATE)
def test_anything_but_a_p256_private_key_is_refused(tmp_path: Path, kind: str) -> None:
    content, message = WRONG_PRIVATE[kind]
    path = tmp_path / "key.pem"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=message) as caught:
        load_private_key(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "x" * 50 not in str(caught.value)


def test_a_public_key_is_no_private_key_and_the_reverse(new_key: NewKey) -> None:
    private, public = new_key("owner")
    with pytest.raises(ConfigurationError, match="is not a PEM private key"):
        load_private_key(public)
    with pytest.raises(ConfigurationError, match="is not a PEM public key"):
        load_public_key(private)


def test_another_curve_is_no_public_key(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP384R1()).public_key()
    (tmp_path / "p").write_bytes(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    with pytest.raises(ConfigurationError, match="is not an ECDSA P-256 public key"):
        load_public_key(tmp_path / "p")


@pytest.mark.parametrize("load", [load_private_key, load_public_key, owner_identity])
def test_a_missing_key_is_named(tmp_path: Path, load: Callable[[Path], object]) -> None:
    with pytest.raises(NotFoundError, match=r"owner\.pem: no such file"):
        load(tmp_path / "owner.pem")


def test_a_folder_is_no_key(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load_private_key(tmp_path)
