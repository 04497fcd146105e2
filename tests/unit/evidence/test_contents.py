"""The file itself: the same evidence gives the same bytes, and a damaged file is never believed."""

import hashlib
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepsigns_registry.errors import CouldNotCheckError, TamperedError
from deepsigns_registry.evidence.contents import Evidence, parse, render
from tests.support.evidence import Story


def test_the_same_evidence_gives_the_same_bytes(exported: Path, evidence: Evidence) -> None:
    assert render(evidence) == exported.read_bytes()


def _rewrite(path: Path, change: Callable[[dict[str, bytes]], object]) -> bytes:
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    change(entries)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def _header(entries: dict[str, bytes], **changes: Any) -> None:
    header = json.loads(entries["evidence.json"]) | changes
    entries["evidence.json"] = json.dumps(header).encode()


DAMAGE: dict[str, tuple[Callable[[dict[str, bytes]], object], str]] = {
    "readme": (lambda e: e.update({"README.txt": b"all is well"}), "was changed, added or removed"),
    "extra": (lambda e: e.update({"extra": b""}), "was changed, added or removed"),
    "removed": (lambda e: e.pop("owner.pub.pem"), "was changed, added or removed"),
    "no header": (lambda e: e.pop("evidence.json"), "evidence.json"),
    "format": (lambda e: _header(e, format="v9"), "is not of format"),
    "unknown": (lambda e: _header(e, root="00"), "evidence.json: root"),
    "nothing": (lambda e: _header(e, schemes={}), "evidence.json: schemes"),
    "tap": (lambda e: _header(e, tap=""), "README.txt does not say"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_tampering(exported: Path, tmp_path: Path, damage: str) -> None:
    change, message = DAMAGE[damage]
    path = tmp_path / "e.zip"
    path.write_bytes(_rewrite(exported, change))
    with pytest.raises(TamperedError, match=message):
        parse(path)


@pytest.mark.parametrize("content", [b"", b"PK", b"{}", b"\x00" * 100])
def test_what_is_no_zip_file_is_tampering(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "e.zip"
    path.write_bytes(content)
    with pytest.raises(TamperedError, match="is no zip file"):
        parse(path)


def test_no_changed_byte_gives_another_answer(story: Story, exported: Path, tmp_path: Path) -> None:
    # A changed byte that is accepted may only be one that says nothing, such as a date.
    original = exported.read_bytes()
    honest = parse(exported)
    path = tmp_path / "e.zip"
    generator = np.random.default_rng(0)
    positions = {*range(64), *range(len(original) - 64, len(original))}
    positions |= {int(n) for n in generator.integers(0, len(original), 150)}
    for position in sorted(positions):
        changed = bytearray(original)
        changed[position] ^= 0xFF
        path.write_bytes(changed)
        try:
            found = parse(path)
        except TamperedError:
            continue
        assert render(found) == render(honest), position
    assert story.bundle == honest.bundle


def test_an_entry_that_would_fill_the_memory_is_not_inflated(
    exported: Path, tmp_path: Path
) -> None:
    path = tmp_path / "e.zip"
    with zipfile.ZipFile(exported) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    entries["manifest.digests.npy"] = bytes(2**28)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    with pytest.raises(CouldNotCheckError, match=r"would inflate to .* times its own size"):
        parse(path)


def test_a_pickle_is_not_opened(exported: Path, tmp_path: Path) -> None:
    content = io.BytesIO()
    np.save(content, np.array([{"a": 1}], dtype=object), allow_pickle=True)

    def change(entries: dict[str, bytes]) -> None:
        entries["manifest.digests.npy"] = content.getvalue()
        header = json.loads(entries["evidence.json"])
        header["entries"]["manifest.digests.npy"] = hashlib.sha256(content.getvalue()).hexdigest()
        entries["evidence.json"] = json.dumps(header).encode()

    path = tmp_path / "e.zip"
    path.write_bytes(_rewrite(exported, change))
    with pytest.raises(TamperedError, match="malformed"):
        parse(path)
