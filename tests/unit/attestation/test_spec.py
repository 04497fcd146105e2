"""The published examples are the golden statements, and every written field is specified."""

import base64
import json
import re
import zipfile
from pathlib import Path
from typing import Any

import pytest

from deepsigns_registry.attestation.statement import (
    AUDIT_PREDICATE,
    CLAIM_PREDICATE,
    WATERMARK_PREDICATE,
    ClaimPredicate,
    WatermarkPredicate,
)

ROOT = Path(__file__).parents[3]
GOLDEN = ROOT / "tests" / "golden" / "attestation"
PAGES = {
    "watermark": (WATERMARK_PREDICATE, GOLDEN / "model" / "deepsigns" / "watermark.sigstore.json"),
    "audit": (AUDIT_PREDICATE, GOLDEN / "audit.sigstore.json"),
    "claim": (CLAIM_PREDICATE, GOLDEN.with_name("evidence") / "v2" / "evidence.zip"),
}


def _page(name: str) -> str:
    return (ROOT / "docs" / "spec" / f"{name}-v0.md").read_text(encoding="utf-8")


def _signed(name: str) -> dict[str, Any]:
    path = PAGES[name][1]
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            content = archive.read(f"{name}.sigstore.json")
    else:
        content = path.read_bytes()
    bundle = json.loads(content)
    statement = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
    assert isinstance(statement, dict)
    return statement


@pytest.mark.parametrize("name", PAGES)
def test_the_example_is_what_is_really_signed(name: str) -> None:
    (example,) = re.findall(r"```json\n(.*?)```", _page(name), flags=re.DOTALL)
    assert json.loads(example) == _signed(name)


@pytest.mark.parametrize("name", PAGES)
def test_the_page_names_its_uri_and_every_field(name: str) -> None:
    page = _page(name)
    assert f"Type URI: `{PAGES[name][0]}`" in page
    table = "\n".join(line for line in page.splitlines() if line.startswith("| `"))
    for field in _signed(name)["predicate"]:
        assert re.search(rf"`{field}[`.]", table), field


@pytest.mark.parametrize(
    ("name", "predicate"), [("watermark", WatermarkPredicate), ("claim", ClaimPredicate)]
)
def test_the_page_names_what_the_example_lacks(
    name: str, predicate: type[WatermarkPredicate | ClaimPredicate]
) -> None:
    page = _page(name)
    for field in predicate.model_fields.values():
        assert f'"{field.alias}": ' in page
        assert re.search(rf"\| `{field.alias}[`.]", page), field.alias
