"""What crosses between a room and us comes back the same, and nothing else does."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from deepsigns_registry.errors import TamperedError
from deepsigns_registry.guests.values import read_value, written_value
from deepsigns_registry.watermark.evidence import Correlation, Matches, SignSum
from deepsigns_registry.watermark.manifest import Manifest
from deepsigns_registry.watermark.scheme import Answers, Matrix, Probes, SchemeSecret
from deepsigns_registry.watermark.tap import TapAgreement

MOST = 2**20

ROWS: st.SearchStrategy[Any] = arrays.arrays(
    np.float32, arrays.array_shapes(min_dims=1, max_dims=3, max_side=4)
)
PLAIN: st.SearchStrategy[Any] = (
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=20)
)
PLAIN |= st.floats(allow_nan=False) | st.binary(max_size=20) | ROWS
NESTED = st.recursive(
    PLAIN,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


def crossed(value: object, folder: Path) -> Any:
    line = json.dumps(written_value(value, folder, "value"))
    return read_value(json.loads(line), folder, most_bytes=MOST)


def same(one: Any, other: Any) -> bool:
    if type(one) is not type(other):
        return False
    if isinstance(one, np.ndarray):
        alike = (one.dtype, one.shape) == (other.dtype, other.shape)
        return alike and one.tobytes() == other.tobytes()
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, SchemeSecret | Manifest):
        return same(vars(one), vars(other))
    return bool(one == other)


@given(value=NESTED)
def test_values_come_back_the_same(tmp_path_factory: pytest.TempPathFactory, value: object) -> None:
    assert same(value, crossed(value, tmp_path_factory.mktemp("values")))


NUMBERS = np.arange(6, dtype=np.float32).reshape(2, 3)


@pytest.mark.parametrize(
    "value",
    [
        SchemeSecret("x", {"a": [1, {"b": None}]}, {"bits": np.ones(3, np.uint8)}),
        Probes(NUMBERS),
        Probes(NUMBERS, (Matrix("w", 1, 2, 3),), (np.ones(2, np.int8),), bytes(32)),
        Answers(NUMBERS, None, NUMBERS, (None, NUMBERS)),
        Matches("x", 4, 3, 0.5, level="a"),
        Correlation("x", 4, 3.5, 2),
        SignSum("x", 4, 3, -2.5),
        TapAgreement(0.5, True),
        Manifest(np.ones((2, 32), np.uint8), np.zeros(2, np.int64)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_kinds_come_back_the_same(tmp_path: Path, value: object) -> None:
    assert same(value, crossed(value, tmp_path))


def test_what_is_no_value_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="a PosixPath is nothing"):
        written_value([tmp_path], tmp_path, "value")


KIND = {"scheme": "x", "trials": 4, "level": "", "matches": 3, "chance": 0.5}


@pytest.mark.parametrize(
    "written",
    [
        [],
        {},
        {"kind": "Popen", "fields": {"args": "true"}},
        {"kind": "Matches", "fields": KIND | {"more": 1}},
        {"kind": "Matches", "fields": {"scheme": "x"}},
        {"kind": "Matches", "fields": KIND | {"trials": 4.0}},
        {"kind": "Matches", "fields": KIND | {"trials": True}},
        {"kind": "Matches", "fields": KIND | {"matches": 5}},
        {"kind": "Probes", "fields": {"inputs": 1, "matrices": 1, "signs": 1, "blueprint": 1}},
        {"array": "../outside.npy"},
        {"array": "missing.npy"},
        {"array": "link.npy"},
        {"array": "pickled.npy"},
        {"bytes": "no"},
        {"map": [1]},
    ],
    ids=str,
)
def test_other_things_are_refused(tmp_path: Path, written: object) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    np.save(tmp_path / "outside.npy", NUMBERS)
    (folder / "link.npy").symlink_to(tmp_path / "outside.npy")
    np.save(folder / "pickled.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises((KeyError, OSError, TypeError, ValueError)):
        read_value(written, folder, most_bytes=MOST)


def test_a_manifest_that_does_not_fit_is_tampering(tmp_path: Path) -> None:
    fits = written_value(Manifest(np.ones((2, 32), np.uint8), np.zeros(2, np.int64)), tmp_path, "m")
    np.save(tmp_path / "m-1.npy", np.zeros(3, np.int64))
    with pytest.raises(TamperedError):
        read_value(fits, tmp_path, most_bytes=MOST)
