import json
import math
import time
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepsigns_registry.bounded.documents import MOST_DEPTH, read_json, read_yaml
from deepsigns_registry.bounded.unreadable import TooLargeError, UnreadableError

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**307), 10**307)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner),
    max_leaves=10,
)


@given(VALUES)
def test_what_can_be_written_is_read(value: object) -> None:
    assert read_json(json.dumps(value).encode()) == value
    assert read_json(json.dumps(value, ensure_ascii=False)) == value


REFUSED = {
    "nothing": (b"", "not JSON"),
    "cut": (b"{", "not JSON"),
    "two": (b"1 2", "not JSON"),
    "nan": (b"[NaN]", "not finite"),
    "infinity": (b"-Infinity", "not finite"),
    "overflow": (b"1e999", "not finite"),
    "long": (b"1" * 400, "308 digits"),
    "longest": (b"-" + b"1" * 5000, "308 digits"),
    "half": (rb'["\ud800"]', "half a character"),
    "half name": (rb'{"\udfff": 1}', "half a character"),
    "twice": (b'{"a": 1, "a": 2}', "twice"),
    "latin": (b'"\xe9"', "not UTF-8"),
    "wide": ('"a"'.encode("utf-16"), "not UTF-8"),
    "deep": (b"[" * 65 + b"]" * 65, "deeper than 64"),
    "deep objects": (b'{"a":' * 500 + b"1" + b"}" * 500, "deeper than 64"),
    "deepest": (b"[" * 1_000_000, "not JSON"),
    "deepest closed": (b"[" * 1_000_000 + b"]" * 1_000_000, "not JSON"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_python_would_take_is_refused(name: str) -> None:
    content, said = REFUSED[name]
    with pytest.raises(UnreadableError, match=said):
        read_json(content)


def test_the_bounds_themselves_are_read() -> None:
    assert read_json("[" * MOST_DEPTH + "]" * MOST_DEPTH) is not None
    assert float(read_json("-" + "9" * 308)) == -1e308
    assert read_json("1e308") < math.inf


def test_what_is_too_long_is_not_read() -> None:
    with pytest.raises(TooLargeError, match="longer than 4 bytes"):
        read_json(b"[1,2]", most_bytes=4)


def test_a_description_of_a_model_is_read() -> None:
    text = "flavors:\n  onnx:\n    data: model.onnx\nutc_time_created: '2026-01-02'\nsize: 7\n"
    assert read_yaml(text)["flavors"] == {"onnx": {"data": "model.onnx"}}


YAML = {
    "anchor": "a: &a [1]\nb: *a\n",
    "deep": "[" * 100 + "]" * 100,
    "deepest": "[" * 100_000,
    "tag": "!!python/object/apply:os.system ['true']",
    "date": "2026-99-99",
    "sixty": "1" * 5000,
    "long": "1" * 400,
    "nan": "[.nan]",
    "infinity": "-.inf",
    "key": "? [a]\n: b\n",
    "two": "--- 1\n--- 2\n",
    "half": '"\\ud800"',
    "control": "a\x00b",
    "merge": "<<: 1\na: 2",
    "binary": "!!binary x",
    "timestamp": "!!timestamp x",
    "integer": "!!int x",
    "set": "!!set [1]",
    "omap": "!!omap x",
    "float": "!!float ''",
    "bool": "!!bool x",
}


@pytest.mark.parametrize("name", YAML)
def test_odd_yaml_is_refused(name: str) -> None:
    with pytest.raises(UnreadableError):
        read_yaml(YAML[name])


def test_yaml_of_very_many_parts_is_refused_soon() -> None:
    started = time.monotonic()
    with pytest.raises(UnreadableError, match="too many"):
        read_yaml("[" + "1," * 400_000 + "]")
    assert time.monotonic() - started < 30


@given(st.text(max_size=60))
def test_any_text_is_yaml_or_not(text: str) -> None:
    for read in (read_json, read_yaml):
        with suppress(UnreadableError):
            read(text)
