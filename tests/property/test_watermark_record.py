"""Whatever happens to a record's bytes, the answer is one of this project's errors."""

import contextlib

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from deepsigns_registry.errors import CouldNotCheckError, TamperedError
from deepsigns_registry.watermark.data import LabelledData
from deepsigns_registry.watermark.key import RootKey
from deepsigns_registry.watermark.manifest import Manifest
from deepsigns_registry.watermark.record import WatermarkRecord, binding_nonce
from deepsigns_registry.watermark.scheme import SchemeSecret


def example() -> WatermarkRecord:
    data = LabelledData(np.ones((3, 2), dtype=np.float32), np.arange(3))
    secret = SchemeSecret("whitebox", {"classes": 3}, {"bits": np.zeros((2, 4), dtype=np.int8)})
    return WatermarkRecord(
        root=RootKey(bytes(32), bytes(32)),
        salts={"whitebox": bytes(32)},
        nonces={"whitebox": binding_nonce(bytes(32), secret)},
        secrets={"whitebox": secret},
        manifest=Manifest.of(data),
        tap="",
    )


CONTENT = example().to_bytes()


@settings(deadline=None, max_examples=300)
@given(st.integers(0, len(CONTENT) - 1), st.integers(1, 255))
def test_one_changed_byte_is_an_error_or_harmless(place: int, flip: int) -> None:
    content = bytearray(CONTENT)
    content[place] ^= flip
    with contextlib.suppress(CouldNotCheckError, TamperedError):
        WatermarkRecord.from_bytes(bytes(content)).check()


@settings(deadline=None)
@given(st.integers(0, len(CONTENT) - 1))
def test_a_cut_record_is_no_record(length: int) -> None:
    with contextlib.suppress(CouldNotCheckError):
        WatermarkRecord.from_bytes(CONTENT[:length])
        raise AssertionError
