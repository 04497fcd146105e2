"""Signed folders of models that were never marked: only what is said of them is made up."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from deepsigns_registry.attestation.bundle import write_bundles
from deepsigns_registry.attestation.digests import digest_folder
from deepsigns_registry.attestation.signing import FileSigner
from deepsigns_registry.attestation.statement import (
    Fidelity,
    Parent,
    WatermarkPredicate,
    watermark_statement,
)


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
