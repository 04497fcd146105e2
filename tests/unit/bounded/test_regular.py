import os
from pathlib import Path

import pytest

from deepsigns_registry.bounded.regular import read_regular
from deepsigns_registry.bounded.unreadable import TooLargeError, UnreadableError


def test_a_file_and_a_link_to_one_are_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    (tmp_path / "link").symlink_to("file")
    assert read_regular(tmp_path / "file", most_bytes=3) == b"abc"
    assert read_regular(tmp_path / "link", most_bytes=3) == b"abc"


def test_a_longer_file_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    with pytest.raises(TooLargeError, match="longer than 2 bytes"):
        read_regular(tmp_path / "file", most_bytes=2)


def test_what_is_no_file_is_refused_and_nothing_waits(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(UnreadableError, match="not a regular file"):
            read_regular(path, most_bytes=10)
    with pytest.raises(UnreadableError, match="no name of a file"):
        read_regular(tmp_path / "a\0b", most_bytes=10)
    with pytest.raises(FileNotFoundError):
        read_regular(tmp_path / "nothing", most_bytes=10)
