"""Checkpoints on disk: private, for one marking, and gone when they are of no use."""

import logging
import os
from pathlib import Path

import pytest

from deepsigns_registry.config import load_settings
from deepsigns_registry.errors import (
    CouldNotCheckError,
    DeepSignsError,
    RefusedError,
    UnmarkableError,
)
from deepsigns_registry.retraining import checkpoints
from deepsigns_registry.retraining.checkpoints import Checkpoints, discard, discarded_when_done

ROOT = bytes(range(32))
STATE = b"half of a marked model" * 100


def path_of(folder: Path) -> Path:
    (path,) = folder.iterdir()
    return path


def test_what_was_saved_is_loaded_and_the_last_one_counts(tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path / "kept", "m-1", ROOT)
    assert kept.load() is None
    for step, state in [(1, b""), (2, STATE), (3, STATE[::-1])]:
        kept.save(step, state)
        assert Checkpoints(tmp_path / "kept", "m-1", ROOT).load() == state
    path_of(tmp_path / "kept")


def test_nobody_else_can_read_it(tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path / "kept", "m-1", ROOT)
    kept.save(1, STATE)
    path = path_of(tmp_path / "kept")
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    first = path.read_bytes()
    assert b"half of" not in first
    assert ROOT not in first
    kept.save(1, STATE)
    # Another salt each time, so another key: the same state never looks the same.
    assert path.read_bytes()[100:] != first[100:]


def test_a_long_state_is_several_segments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "_SEGMENT", 100)
    kept = Checkpoints(tmp_path, "m-1", ROOT)
    for length in (99, 100, 101, 200, 750):
        state = os.urandom(length)
        kept.save(1, state)
        assert kept.load() == state
    path = path_of(tmp_path)
    content = path.read_bytes()
    head = len(content) - 750 - 8 * 16
    segments = [content[head + 116 * n : head + 116 * (n + 1)] for n in range(8)]
    for changed in (segments[:-1], segments[::-1], [segments[1], *segments[1:]], []):
        path.write_bytes(content[:head] + b"".join(changed))
        assert kept.load() is None


@pytest.mark.parametrize("position", range(0, 120, 7))
def test_a_changed_byte_is_found_and_the_file_is_thrown_away(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, position: int
) -> None:
    kept = Checkpoints(tmp_path, "m-1", ROOT)
    kept.save(1, STATE)
    path = path_of(tmp_path)
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        assert kept.load() is None
    assert "the checkpoint was changed" in caplog.text
    assert "training starts from the beginning" in caplog.text
    assert not path.exists()


@pytest.mark.parametrize("length", [0, 10, 60, 100])
def test_a_shortened_file_is_thrown_away(tmp_path: Path, length: int) -> None:
    kept = Checkpoints(tmp_path, "m-1", ROOT)
    kept.save(1, STATE)
    path = path_of(tmp_path)
    path.write_bytes(path.read_bytes()[:length])
    assert kept.load() is None
    assert not path.exists()


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path / "kept", "m-1", ROOT)
    kept.save(1, STATE)
    path = path_of(tmp_path / "kept")
    elsewhere = path.rename(tmp_path / "elsewhere")
    path.symlink_to(elsewhere)
    assert kept.load() is None
    assert elsewhere.exists()
    assert not path.is_symlink()


def test_another_marking_or_another_root_opens_nothing(tmp_path: Path) -> None:
    Checkpoints(tmp_path, "m-1", ROOT).save(1, STATE)
    path_of(tmp_path).rename(tmp_path / "m-2.checkpoint")
    assert Checkpoints(tmp_path, "m-2", ROOT).load() is None
    Checkpoints(tmp_path, "m-1", ROOT).save(1, STATE)
    assert Checkpoints(tmp_path, "m-1", bytes(32)).load() is None


def test_a_folder_that_cannot_be_written_costs_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("in the way")
    kept = Checkpoints(tmp_path / "file", "m-1", ROOT)
    with caplog.at_level(logging.WARNING):
        kept.save(1, STATE)
        assert kept.load() is None
    assert "the checkpoint cannot be written" in caplog.text


def test_it_is_removed_with_what_a_killed_process_left(tmp_path: Path) -> None:
    Checkpoints(tmp_path, "m-1", ROOT).save(1, STATE)
    Checkpoints(tmp_path, "m-10", ROOT).save(1, STATE)
    (tmp_path / ".m-1.checkpoint.x1y2").write_bytes(b"half written")
    discard(tmp_path, "m-1")
    discard(tmp_path, "m-1")
    assert [path.name for path in tmp_path.iterdir()] == ["m-10.checkpoint"]


@pytest.mark.parametrize(
    ("error", "stays"),
    [
        (None, False),
        (RefusedError("too costly"), False),
        (UnmarkableError("diverged"), False),
        (CouldNotCheckError("a job was ended by SIGKILL"), True),
        (KeyboardInterrupt(), True),
    ],
)
def test_it_stays_only_where_the_work_may_go_on(
    tmp_path: Path, error: BaseException | None, stays: bool
) -> None:
    Checkpoints(tmp_path, "m-1", ROOT).save(1, STATE)
    try:
        with discarded_when_done(tmp_path, "m-1"):
            if error:
                raise error
    except (DeepSignsError, KeyboardInterrupt) as raised:
        assert raised is error  # noqa: PT017 - none is expected where none is raised
    assert bool(list(tmp_path.iterdir())) == stays


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", "checkpoints"),
        ('[keystore]\nuri = "file:safe/keystore"', "safe/checkpoints"),
        ('[worker]\ncheckpoints = "file:/var/lib/unfinished"', "/var/lib/unfinished"),
        ('[worker]\ncheckpoints = "unfinished"', "unfinished"),
    ],
)
def test_the_folder_is_beside_the_key_store_or_named(
    tmp_path: Path, text: str, wanted: str
) -> None:
    (tmp_path / "deepsigns.toml").write_text(text)
    assert load_settings(tmp_path / "deepsigns.toml").checkpoints == tmp_path / wanted
