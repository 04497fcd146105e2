"""The server's memory of verified folders, and what it says of the others."""

import os
from pathlib import Path

import pytest
from mlflow_deepsigns import checker as module
from mlflow_deepsigns.checker import Checker, read_settings

from deepsigns_registry.attestation.keys import generate_signing_key
from deepsigns_registry.config import load_settings
from deepsigns_registry.errors import (
    ConfigurationError,
    CouldNotCheckError,
    NotFoundError,
    RefusedError,
    TamperedError,
)


def test_an_unchanged_folder_is_not_hashed_again_and_a_changed_one_is(
    config: Path, attested: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, checker = load_settings(config), Checker()
    first = checker.attested(str(attested), settings, what="m/1")
    # Files this young may change without their times changing: nothing is remembered yet.
    assert checker.attested(str(attested), settings, what="m/1") is not first

    monkeypatch.setattr(module, "SETTLED_NANOSECONDS", -1_000_000_000)
    second = checker.attested(str(attested), settings, what="m/1")
    assert checker.attested(str(attested), settings, what="m/1") is second

    weights = attested / "weights"
    times = weights.stat()
    weights.write_bytes(bytes(range(1, 101)))
    os.utime(weights, ns=(times.st_atime_ns, times.st_mtime_ns))
    with pytest.raises(TamperedError, match="m/1 has an attestation that does not hold"):
        checker.attested(str(attested), settings, what="m/1")


def test_the_memory_is_of_a_policy_and_not_of_the_files_alone(
    config: Path, attested: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SETTLED_NANOSECONDS", -1_000_000_000)
    checker = Checker()
    checker.attested(str(attested), load_settings(config), what="m/1")
    # The key is taken out of trust, and another one put in its place.
    generate_signing_key(config.with_name("new.pem"), config.with_name("new.pub.pem"))
    config.write_text(config.read_text().replace("worker.pub.pem", "new.pub.pem"))
    with pytest.raises(TamperedError, match="m/1"):
        checker.attested(str(attested), load_settings(config), what="m/1")


def test_the_memory_is_bounded(
    config: Path, attested: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SETTLED_NANOSECONDS", -1_000_000_000)
    monkeypatch.setattr(module, "REMEMBERED", 2)
    checker = Checker()
    for second in range(5):
        os.utime(attested / "weights", (second, second))
        checker.attested(str(attested), load_settings(config), what="m/1")
    assert len(checker._verified) == 2


def test_answers_name_the_version_and_not_the_servers_folders(
    config: Path, attested: Path, unmarked: Path
) -> None:
    settings, checker = load_settings(config), Checker()
    with pytest.raises(RefusedError, match=r"^m/1 has no watermark attestation$"):
        checker.attested(str(unmarked), settings, what="m/1")
    (attested / "extra").write_text("x")
    with pytest.raises(TamperedError, match="'extra' was added") as caught:
        checker.attested(str(attested), settings, what="m/1")
    assert str(attested) not in str(caught.value)
    with pytest.raises(CouldNotCheckError, match="cannot be read"):
        checker.attested(str(unmarked / "gone"), settings, what="m/1")


def test_a_link_instead_of_a_file_is_tampering(config: Path, attested: Path) -> None:
    (attested / "weights").rename(attested.with_name("weights"))
    (attested / "weights").symlink_to(attested.with_name("weights"))
    with pytest.raises(TamperedError, match="m/1"):
        Checker().attested(str(attested), load_settings(config), what="m/1")


def test_half_of_an_edit_is_waited_out(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = '[registry]\nprotected_aliases = ["champion", "blue"]\n'
    config.write_text("[registry]\n")

    def rest_follows(_seconds: float) -> None:
        config.write_text(whole)
        os.utime(config, (1, 1))

    monkeypatch.setenv("DEEPSIGNS_CONFIG", str(config))
    monkeypatch.setattr("time.sleep", rest_follows)
    assert read_settings().registry.protected_aliases == ("champion", "blue")


def test_a_server_without_settings_says_how_to_give_it_some(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("DEEPSIGNS_CONFIG", raising=False)
    with pytest.raises(ConfigurationError, match="does not know what is protected"):
        read_settings()
    monkeypatch.setenv("DEEPSIGNS_CONFIG", str(tmp_path / "gone.toml"))
    with pytest.raises(NotFoundError, match="no such file"):
        read_settings()
