"""Stores: who may write and look, and what a backup has to hold."""

import os
from pathlib import Path

import pytest

from deepsigns_registry.attestation.commitment import CommitmentLog
from deepsigns_registry.config import Settings, load_settings
from deepsigns_registry.doctor.checks.stores import check, nearest_folder
from tests.support.installation import installed


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return installed(tmp_path)


def test_nothing_is_made(settings: Settings) -> None:
    before = sorted(settings.base.rglob("*"))
    assert [line.standing for line in check(settings)] == ["ok", "ok", "ok"]
    assert sorted(settings.base.rglob("*")) == before


def test_a_backup_is_told_what_it_must_hold(settings: Settings) -> None:
    log = CommitmentLog(settings.base / "keystore" / "commitments.jsonl")
    log.append(b"o" * 32, {"whitebox": "ab" * 32})
    *_, line = check(settings)
    assert line.standing == "ok"
    assert "1 commitments, chained without a gap, the newest of 20" in line.message
    assert str(settings.base / "keystore") in line.advice
    log.path.write_text(log.path.read_text().replace("ab", "ba"))
    *_, line = check(settings)
    assert line.standing == "wrong"


def test_a_store_that_everybody_looks_into(settings: Settings) -> None:
    (settings.base / "keystore").mkdir()
    (settings.base / "keystore").chmod(0o755)
    line = next(check(settings))
    assert (line.standing, line.advice.split()[:3]) == ("wrong", ["run:", "chmod", "700"])


def test_a_store_that_is_a_file(settings: Settings) -> None:
    (settings.base / "checkpoints").write_text("")
    _, line, _ = check(settings)
    assert (line.standing, "is no folder" in line.message) == ("wrong", True)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_store_that_cannot_be_written(settings: Settings) -> None:
    (settings.base / "keystore").mkdir(mode=0o500)
    assert next(check(settings)).standing == "wrong"


def test_an_unsealing_key_beside_what_it_opens(settings: Settings) -> None:
    (settings.base / "keystore").mkdir(mode=0o700)
    (settings.base / "keys" / "sealing.key").rename(settings.base / "keystore" / "sealing.key")
    text = settings.path.read_text().replace("keys/sealing.key", "keystore/sealing.key")
    settings.path.write_text(text)
    *_, line = check(load_settings(settings.path))
    assert line.standing == "attention"


def test_the_nearest_folder(tmp_path: Path) -> None:
    assert nearest_folder(tmp_path) == tmp_path
    assert nearest_folder(tmp_path / "a" / "b") == tmp_path
