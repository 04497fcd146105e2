import json
from typing import Any

import pytest
from in_toto_attestation.v1.statement import STATEMENT_TYPE_URI

from deepsigns_registry.attestation.statement import (
    AUDIT_PREDICATE,
    STATEMENT_TYPE,
    WATERMARK_PREDICATE,
    AuditPredicate,
    WatermarkPredicate,
    audit_statement,
    encode_statement,
    parse_audit,
    parse_watermark,
    watermark_statement,
)
from deepsigns_registry.errors import ConfigurationError, TamperedError

DIGESTS = {"MLmodel": "a" * 64, "data/model.pt2": "b" * 64}


def test_the_statement_type_is_in_totos_own() -> None:
    assert STATEMENT_TYPE == STATEMENT_TYPE_URI


def test_a_watermark_statement_lists_every_file(predicate: WatermarkPredicate) -> None:
    statement = watermark_statement(DIGESTS, predicate)
    assert statement["predicateType"] == WATERMARK_PREDICATE
    assert {s["name"]: s["digest"]["sha256"] for s in statement["subject"]} == DIGESTS


def test_the_predicate_has_exactly_the_specified_fields(predicate: WatermarkPredicate) -> None:
    written = watermark_statement(DIGESTS, predicate)["predicate"]
    assert set(written) == {
        "owner", "marking", "requestId", "commitments", "commitmentIndex", "manifestRoot",
        "parent", "bits", "queries", "fidelity", "tool", "createdAt",
    }  # fmt: skip
    assert set(written["fidelity"]) == {"parentAccuracy", "markedAccuracy", "drop", "interval"}


def test_nothing_says_where_the_mark_sits(
    predicate: WatermarkPredicate, audit: AuditPredicate
) -> None:
    text = encode_statement(watermark_statement(DIGESTS, predicate)).decode()
    text += encode_statement(audit_statement(DIGESTS, audit)).decode()
    for secret in ("tap", "layer", "carrier", "trigger", "perClass"):
        assert secret.lower() not in text.lower()


def test_both_predicates_survive_writing_and_reading(
    predicate: WatermarkPredicate, audit: AuditPredicate
) -> None:
    watermark = json.loads(encode_statement(watermark_statement(DIGESTS, predicate)))
    assert parse_watermark(watermark["predicate"]) == predicate
    audited = json.loads(encode_statement(audit_statement(DIGESTS, audit)))
    assert audited["predicateType"] == AUDIT_PREDICATE
    assert parse_audit(audited["predicate"]) == audit


def test_unknown_fields_are_ignored_on_read(predicate: WatermarkPredicate) -> None:
    written = watermark_statement(DIGESTS, predicate)["predicate"]
    written["fromTheFuture"] = {"a": 1}
    written["parent"]["also"] = True
    assert parse_watermark(written) == predicate


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("owner", "A" * 64),
        ("owner", "short"),
        ("commitments", {}),
        ("commitments", {"whitebox": "x"}),
        ("commitmentIndex", 0),
        ("createdAt", "2026-01-02T03:04:05"),
        ("fidelity", None),
        ("marking", ""),
        ("bits", -1),
    ],
)
def test_a_malformed_field_is_tampering_and_named(
    predicate: WatermarkPredicate, field: str, value: Any
) -> None:
    written = watermark_statement(DIGESTS, predicate)["predicate"] | {field: value}
    with pytest.raises(TamperedError, match=f"predicate field '{field}"):
        parse_watermark(written)


def test_a_missing_field_is_tampering(audit: AuditPredicate) -> None:
    written = audit_statement(DIGESTS, audit)["predicate"]
    del written["passed"]
    with pytest.raises(TamperedError, match="predicate field 'passed'"):
        parse_audit(written)


def test_an_audit_does_not_end_before_it_begins(audit: AuditPredicate) -> None:
    written = audit_statement(DIGESTS, audit)["predicate"]
    written["finishedAt"] = "2020-01-01T00:00:00Z"
    with pytest.raises(TamperedError, match="finishedAt is before startedAt"):
        parse_audit(written)


def test_no_files_no_statement(predicate: WatermarkPredicate) -> None:
    with pytest.raises(ConfigurationError, match="no files to attest"):
        watermark_statement({}, predicate)


@pytest.mark.parametrize(
    "change",
    [
        {"_type": "https://in-toto.io/Statement/v0.1"},
        {"subject": []},
        {"subject": [{"name": "a"}]},
        {"subject": "a"},
        {"predicateType": ""},
        {"predicate": {}},
        {"predicate": {"x": float("nan")}},
        {"predicate": {"x": 10**400}},
        {"predicate": {"\ud800": 1}},
        {"extra": 1},
    ],
)
def test_what_is_no_in_toto_statement_is_not_signed(
    predicate: WatermarkPredicate, change: dict[str, Any]
) -> None:
    with pytest.raises(ConfigurationError, match="is not an in-toto Statement v1"):
        encode_statement(watermark_statement(DIGESTS, predicate) | change)
