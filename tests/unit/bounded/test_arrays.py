import io
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from deepsigns_registry.bounded.arrays import read_array
from deepsigns_registry.bounded.unreadable import UnreadableError


def written(array: Any, version: tuple[int, int] | None = None) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, np.asarray(array), version=version, allow_pickle=False)
    return file.getvalue()


def with_header(header: bytes, data: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    length = len(header).to_bytes(2 if version == b"\x01\x00" else 4, "little")
    return b"\x93NUMPY" + version + length + header + data


@given(
    hnp.arrays(
        hnp.boolean_dtypes()
        | hnp.integer_dtypes(endianness="?")
        | hnp.unsigned_integer_dtypes(endianness="?")
        | hnp.floating_dtypes(sizes=(16, 32, 64), endianness="?")
        | hnp.complex_number_dtypes(sizes=(64, 128), endianness="?")
        | hnp.byte_string_dtypes(min_len=1)
        | hnp.unicode_string_dtypes(min_len=1, endianness="?"),
        hnp.array_shapes(min_dims=0, min_side=0),
    ),
    st.booleans(),
    st.sampled_from([None, (1, 0), (2, 0), (3, 0)]),
)
def test_what_numpy_writes_is_read_as_numpy_reads_it(
    array: Any, fortran: bool, version: tuple[int, int] | None
) -> None:
    content = written(np.asfortranarray(array) if fortran else array, version)
    found, expected = read_array(content), np.load(io.BytesIO(content))
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    assert found.tobytes() == expected.tobytes()


def test_it_copies_nothing_and_can_be_written_to() -> None:
    content = bytearray(written(np.arange(3)))
    array = read_array(content)
    array[0] = 7
    assert np.array_equal(read_array(content), [7, 1, 2])


PLAIN = b"{'descr': '<f4', 'fortran_order': False, 'shape': (%s), }\n"
ODD = {
    "no array": b"",
    "magic alone": b"\x93NUMPY",
    "version": with_header(PLAIN % b"0,", version=b"\x04\x00"),
    "cut": written(np.ones(9))[:-1],
    "more": written(np.ones(9)) + b"x",
    "huge header": with_header(PLAIN[:-1] % b"0," + b" " * 60_000 + b"\n"),
    "header past the end": with_header(PLAIN % b"0,")[:40],
    "does not tokenise": with_header(b"{'descr': '''\n"),
    "does not parse": with_header(b"((((((\n"),
    "deep": with_header(b"[" * 3000 + b"\n"),
    "unicode": with_header("{'descr': 'é'}\n".encode(), version=b"\x03\x00"),
    "half a character": with_header(b"{'descr': '\xed\xa0\x80'}\n", version=b"\x03\x00"),
    "enormous": with_header(PLAIN % (b"1" + b"0" * 400 + b",")),
    "overflowing": with_header(PLAIN % b", ".join([b"9" * 18] * 30)),
    "overflowing nothing": with_header(PLAIN % b", ".join([b"0"] + [b"9" * 18] * 30)),
    "negative": with_header(PLAIN % b"-1,"),
    "many axes": with_header(PLAIN % b", ".join([b"1"] * 70), b"\0" * 4),
    "pickle": with_header(b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }\n", b"N."),
    "record": with_header(
        b"{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }\n", b"1234"
    ),
    "empty text": with_header(b"{'descr': '<U0', 'fortran_order': False, 'shape': (9,), }\n"),
    "date": with_header(b"{'descr': '<M8[s]', 'fortran_order': False, 'shape': (0,), }\n"),
    "another order": with_header(b"{'shape': (0,), 'descr': '<f4', 'fortran_order': False}\n"),
}


@pytest.mark.parametrize("name", ODD)
def test_an_odd_array_is_refused(name: str) -> None:
    with pytest.raises(UnreadableError, match="is "):
        read_array(ODD[name])


@given(st.binary(max_size=80), st.integers(0, 140))
def test_any_bytes_are_an_array_or_not(inserted: bytes, place: int) -> None:
    good = written(np.ones((2, 3), np.float32))
    for content in (inserted, good[:place] + inserted + good[place + len(inserted) :]):
        with suppress(UnreadableError):
            read_array(content)
