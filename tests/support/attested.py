"""Signed folders of models that were never marked: only what is said of them is made up."""

import base64
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)

from deepsigns_registry.attestation.bundle import write_bundles
from deepsigns_registry.attestation.digests import digest_folder
from deepsigns_registry.attestation.signing import FileSigner
from deepsigns_registry.attestation.statement import (
    Fidelity,
    Parent,
    WatermarkPredicate,
    watermark_statement,
)

ORDER = 115792089210356248762697446949407573529996955224135760342422259061068512044369
"""Of P-256, as SP 800-186 has it."""


def watermark_predicate(**changes: Any) -> WatermarkPredicate:
    """What a worker could say of a marking, with some fields of the caller's own."""
    said: dict[str, Any] = {
        "owner": "0" * 64,
        "marking": "m1",
        "request_id": "r1",
        "commitments": {"whitebox": "1" * 64},
        "commitment_index": 1,
        "commitment_entry": None,
        "manifest_root": "2" * 64,
        "parent": Parent(name="fraud", version="1", digest="3" * 64),
        "bits": 128,
        "queries": 400,
        "fidelity": Fidelity(parent_accuracy=1, marked_accuracy=1, drop=0, interval=(0, 0)),
        "tool": "deepsigns-registry/0.1.0",
        "created_at": datetime(2026, 1, 2, tzinfo=UTC),
    }
    assert changes.keys() <= said.keys()
    return WatermarkPredicate(**said | changes)


def sign_folder(folder: Path, signer: FileSigner, **changes: Any) -> None:
    """Signs a finished folder; every signature is real."""
    statement = watermark_statement(digest_folder(folder), watermark_predicate(**changes))
    write_bundles(folder, statement, signer)


def other_form(signature: bytes) -> bytes:
    """The other signature over the same bytes, which needs no key."""
    r, s = decode_dss_signature(signature)
    return encode_dss_signature(r, ORDER - s)


def respelled(text: str) -> str:
    """A bundle, or an envelope, with the other form of its signature."""
    document = json.loads(text)
    envelope = document.get("dsseEnvelope", document)
    signature = base64.b64decode(envelope["signatures"][0]["sig"])
    envelope["signatures"][0]["sig"] = base64.b64encode(other_form(signature)).decode()
    return json.dumps(document, separators=(",", ":"))
