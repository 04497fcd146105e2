"""Whatever byte is changed, verification fails, and with no other error than the documented."""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepsigns_registry.attestation.bundle import (
    MODEL_BUNDLE,
    WATERMARK_BUNDLE,
    verify_folder,
)
from deepsigns_registry.attestation.keys import generate_signing_key
from deepsigns_registry.attestation.policy import Policy
from deepsigns_registry.attestation.signing import FileSigner
from deepsigns_registry.attestation.verification import verify_command, verify_statement
from deepsigns_registry.errors import TamperedError
from tests.support.attested import sign_folder

PLACES = (
    "MLmodel",
    "data/weights.bin",
    f"deepsigns/{WATERMARK_BUNDLE}",
    f"deepsigns/{MODEL_BUNDLE}",
)


@pytest.fixture(scope="module")
def attested() -> Iterator[tuple[Path, FileSigner, Policy]]:
    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
        generate_signing_key(base / "key.pem", base / "key.pub.pem")
        model = base / "model"
        (model / "data").mkdir(parents=True)
        (model / "MLmodel").write_text("flavors: {}\n")
        (model / "data" / "weights.bin").write_bytes(bytes(range(256)))
        signer = FileSigner(base / "key.pem")
        sign_folder(model, signer)
        policy = Policy.trusting([base / "key.pub.pem"], "watermark", "command")
        verify_folder(model, policy)
        yield model, signer, policy


@given(place=st.sampled_from(PLACES), where=st.integers(0, 2**16), flip=st.integers(1, 255))
@settings(max_examples=200, deadline=None)
def test_a_changed_byte_of_any_file_is_tampering(
    attested: tuple[Path, FileSigner, Policy], place: str, where: int, flip: int
) -> None:
    model, _, policy = attested
    path = model / place
    original = path.read_bytes()
    changed = bytearray(original)
    changed[where % len(changed)] ^= flip
    path.write_bytes(changed)
    try:
        with pytest.raises(TamperedError):
            verify_folder(model, policy)
    finally:
        path.write_bytes(original)


@given(
    place=st.sampled_from(PLACES),
    where=st.integers(0, 2**16),
    length=st.integers(0, 40),
    inserted=st.binary(max_size=40),
)
@settings(max_examples=150, deadline=None)
def test_a_changed_stretch_of_any_file_is_tampering(
    attested: tuple[Path, FileSigner, Policy],
    place: str,
    where: int,
    length: int,
    inserted: bytes,
) -> None:
    model, _, policy = attested
    path = model / place
    original = path.read_bytes()
    start = where % (len(original) + 1)
    changed = original[:start] + inserted + original[start + length :]
    path.write_bytes(changed)
    try:
        if changed == original:
            verify_folder(model, policy)
        else:
            with pytest.raises(TamperedError):
                verify_folder(model, policy)
    finally:
        path.write_bytes(original)


def test_every_single_byte_of_a_bundle_counts(
    attested: tuple[Path, FileSigner, Policy],
) -> None:
    model, _, policy = attested
    bundle = (model / "deepsigns" / WATERMARK_BUNDLE).read_text()
    for position, character in enumerate(bundle):
        other = "A" if character != "A" else "B"
        changed = bundle[:position] + other + bundle[position + 1 :]
        with pytest.raises(TamperedError):
            verify_statement(changed, policy, "watermark")


@given(payload=st.binary(max_size=200))
@settings(max_examples=50, deadline=None)
def test_any_command_comes_back(attested: tuple[Path, FileSigner, Policy], payload: bytes) -> None:
    _, signer, policy = attested
    assert verify_command(signer.sign_command(payload), policy) == payload


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner),
    max_leaves=8,
)
KEYS = ("mediaType", "verificationMaterial", "dsseEnvelope", "publicKey", "payload", "signatures")


@given(document=JSON | st.dictionaries(st.sampled_from(KEYS), JSON))
@settings(max_examples=150, deadline=None)
def test_any_json_that_is_no_bundle_is_tampering(
    attested: tuple[Path, FileSigner, Policy], document: object
) -> None:
    _, _, policy = attested
    with pytest.raises(TamperedError):
        verify_statement(json.dumps(document), policy, "watermark")
    with pytest.raises(TamperedError):
        verify_command(json.dumps(document), policy)


@given(text=st.text(max_size=200))
@settings(max_examples=100, deadline=None)
def test_any_text_that_is_no_bundle_is_tampering(
    attested: tuple[Path, FileSigner, Policy], text: str
) -> None:
    _, _, policy = attested
    with pytest.raises(TamperedError):
        verify_statement(text, policy, "watermark")
