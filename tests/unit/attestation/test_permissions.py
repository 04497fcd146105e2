"""A secret that everybody on the machine can read is not used as it comes."""

import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from deepsigns_registry.attestation.keys import load_private_key
from deepsigns_registry.attestation.permissions import warn_of_open_folder
from deepsigns_registry.attestation.sealing import generate_sealing_key, load_own_identity
from deepsigns_registry.attestation.signing import FileSigner
from deepsigns_registry.errors import ConfigurationError

NewKey = Callable[[str], tuple[Path, Path]]


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o602, 0o666])
def test_an_open_private_key_is_refused_with_what_to_do(new_key: NewKey, mode: int) -> None:
    private, _ = new_key("worker")
    private.chmod(mode)
    with pytest.raises(ConfigurationError, match=rf"mode {mode:04o}.*chmod 600 .*worker\.pem"):
        FileSigner(private)


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o440, 0o640])
def test_a_private_key_for_its_owner_or_group_is_used(new_key: NewKey, mode: int) -> None:
    private, _ = new_key("worker")
    private.chmod(mode)
    FileSigner(private)


def test_the_file_behind_a_link_counts(new_key: NewKey, tmp_path: Path) -> None:
    private, _ = new_key("worker")
    link = tmp_path / "mounted"
    link.symlink_to(private)
    load_private_key(link)
    private.chmod(0o644)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        load_private_key(link)


def test_an_open_unsealing_key_is_refused(tmp_path: Path) -> None:
    private = tmp_path / "sealing.key"
    generate_sealing_key(private, tmp_path / "sealing.pub")
    assert load_own_identity(private).startswith("AGE-SECRET-KEY-1")
    private.chmod(0o644)
    with pytest.raises(ConfigurationError, match=r"chmod 600 .*sealing\.key"):
        load_own_identity(private)


def test_an_open_key_store_is_used_with_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tmp_path.chmod(0o755)
    with caplog.at_level(logging.WARNING):
        warn_of_open_folder(tmp_path)
        warn_of_open_folder(tmp_path)
        warn_of_open_folder(tmp_path / "missing")
    (record,) = caplog.records
    assert record.getMessage() == (
        f"{tmp_path}: every user of this machine can look into the key store (mode 0755); "
        f"run: chmod 700 {tmp_path}"
    )
