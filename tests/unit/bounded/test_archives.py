import io
import time
import warnings
import zipfile
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepsigns_registry.bounded.archives import read_zip
from deepsigns_registry.bounded.unreadable import TooLargeError, UnreadableError


def zipped(entries: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def read(content: bytes, *, most_bytes: int = 2**30, most_entries: int = 100) -> dict[str, bytes]:
    found = read_zip(content, most_bytes=most_bytes, most_entries=most_entries)
    return {name: bytes(entry) for name, entry in found.items()}


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_every_entry_is_read(method: int) -> None:
    entries = {"a": b"", "b/c.npy": bytes(range(256)) * 10, "é": b"x"}
    assert read(zipped(entries, method)) == entries


def test_a_bomb_is_not_inflated() -> None:
    content = zipped({str(number): bytes(2**26) for number in range(8)})
    assert len(content) < 2**20
    started = time.process_time()
    with pytest.raises(TooLargeError, match="more than 100 times its own size"):
        read(content)
    with pytest.raises(TooLargeError, match="the limit is 1024"):
        read(content, most_bytes=1024)
    assert time.process_time() - started < 0.5


def test_a_bomb_that_hides_its_size_is_inflated_no_further_than_it_says() -> None:
    content = zipped({"a": bytes(2**26)})
    # Both the entry's own header and the central directory claim ten bytes.
    hidden = content.replace((2**26).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    assert hidden.count((10).to_bytes(4, "little")) >= 2
    with pytest.raises(UnreadableError, match="damaged"):
        read(hidden)


def test_very_many_entries_are_refused() -> None:
    with pytest.raises(TooLargeError, match="more than 100 entries"):
        read(zipped({str(number): b"" for number in range(101)}))


def test_two_entries_of_one_name_are_refused() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        archive.writestr("a", b"1")
        archive.writestr("a", b"2")
    with pytest.raises(UnreadableError, match="two entries of one name"):
        read(buffer.getvalue())


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_only_plain_deflate_is_read(method: int) -> None:
    with pytest.raises(UnreadableError, match="compressed in a way"):
        read(zipped({"a": b"a" * 100}, method))


GOOD = zipped({"a": b"abc" * 20, "b": b""})


@given(st.integers(0, len(GOOD) - 1), st.binary(min_size=1, max_size=4))
def test_any_damage_is_refused_or_harmless(place: int, change: bytes) -> None:
    for content in (GOOD[:place], GOOD[:place] + change + GOOD[place + len(change) :]):
        with suppress(UnreadableError):
            read(content)
