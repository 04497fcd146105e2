"""Byte code is compared without being loaded, and nothing but what a compiler writes is read."""

import importlib.util
import marshal
import py_compile
import random
from pathlib import Path

import pytest

from deepsigns_registry.bounded.bytecode import _Reader, code_digest, compiled_digest
from deepsigns_registry.bounded.unreadable import UnreadableError

SOURCE = '''"""Doc."""
from __future__ import annotations
import os
KINDS = frozenset({"a", "b", ("c", 1)}) if "a" in {"x", "y", "z"} else (1, 2.5, 3j, -(10**40), ...)
class Scale:
    """More."""
    def __init__(self, by: float = 16.0, *, é: bytes = b"\\xff") -> None:
        assert by
        self.by = by
    async def run(self, x: int) -> list[int]:
        try:
            return [y / self.by for y in range(x) if (lambda z: z)(y)][1:2]
        except ValueError:
            return []
'''


def compiled(
    folder: Path,
    source: str,
    level: int = 0,
    mode: py_compile.PycInvalidationMode = py_compile.PycInvalidationMode.TIMESTAMP,
) -> bytes:
    folder.mkdir(exist_ok=True)
    (folder / "m.py").write_text(source, encoding="utf-8")
    made = py_compile.compile(
        str(folder / "m.py"),
        str(folder / "m.pyc"),
        doraise=True,
        optimize=level,
        invalidation_mode=mode,
    )
    assert made is not None
    return Path(made).read_bytes()


@pytest.mark.parametrize("level", [0, 1, 2])
@pytest.mark.parametrize("mode", py_compile.PycInvalidationMode)
def test_what_python_compiles_a_source_to_is_the_source(
    tmp_path: Path, level: int, mode: py_compile.PycInvalidationMode
) -> None:
    content = compiled(tmp_path / "anywhere", SOURCE, level, mode)
    assert code_digest(content) == compiled_digest(SOURCE.encode(), level)
    others = {compiled_digest(SOURCE.encode(), other) for other in {0, 1, 2} - {level}}
    assert code_digest(content) not in others


def test_the_standard_library_compiles_to_what_lies_beside_it() -> None:
    compared = 0
    for path in sorted(Path(importlib.util.__file__).parents[1].glob("[a-f]*.py")):
        cache = Path(importlib.util.cache_from_source(str(path)))
        if cache.is_file():
            assert code_digest(cache.read_bytes()) == compiled_digest(path.read_bytes(), 0), path
            compared += 1
    assert compared > 10


@pytest.mark.parametrize(
    "changed",
    [
        SOURCE.replace("16.0", "17.0"),
        SOURCE.replace('"b"', '"B"'),
        SOURCE.replace("10**40", "10**41"),
        SOURCE.replace("range(x)", "range(x )"),
        SOURCE + "import sys\n",
        "\n" + SOURCE,
    ],
)
def test_another_source_is_another_code(tmp_path: Path, changed: str) -> None:
    assert code_digest(compiled(tmp_path, changed)) != compiled_digest(SOURCE.encode(), 0)


def test_no_byte_can_be_changed(tmp_path: Path) -> None:
    """Whatever still has the digest is loaded as the same code."""
    content = compiled(tmp_path, SOURCE)
    expected = compiled_digest(SOURCE.encode(), 0)
    code = marshal.loads(content[16:])  # noqa: S302 - our own
    draw = random.Random(0)  # noqa: S311
    for _ in range(3000):
        place = draw.randrange(len(content))
        other = bytearray(content)
        other[place] ^= 1 << draw.randrange(8)
        try:
            same = code_digest(bytes(other)) == expected
        except UnreadableError:
            continue
        if same and place >= 16:
            # An interned text, an unused reference, or a letter of the file's name.
            assert marshal.loads(bytes(other[16:])) == code  # noqa: S302


def other_file_inside(content: bytes) -> bytes:
    """The name of the file of an inner function alone is another one."""
    code = marshal.loads(content[16:])  # noqa: S302
    inner = next(entry for entry in code.co_consts if hasattr(entry, "co_filename"))
    consts = tuple(
        entry.replace(co_filename="/etc/other.py") if entry is inner else entry
        for entry in code.co_consts
    )
    return content[:16] + marshal.dumps(code.replace(co_consts=consts))


HEADER = importlib.util.MAGIC_NUMBER + bytes(12)
NONSENSE = {
    "nothing": b"",
    "another Python": b"\x00\x00\r\n" + bytes(12) + marshal.dumps(compile("", "m", "exec")),
    "unknown flags": importlib.util.MAGIC_NUMBER + b"\x07" + bytes(11),
    "no object": HEADER,
    "a number": HEADER + marshal.dumps(5),
    "a list": HEADER + marshal.dumps([1]),
    "tuples 100000 deep": HEADER + b")\x01" * 100_000 + b"N",
    "a long tuple": HEADER + b"(\xff\xff\xff\x7f",
    "a negative length": HEADER + b"s\xff\xff\xff\xff",
    "a number of 4 GB": HEADER + b"l\xff\xff\xff\x7f",
    "a reference to itself": HEADER + b"\xa9\x01r\x00\x00\x00\x00",
    "a reference to nothing": HEADER + b"r\x05\x00\x00\x00",
    "a none that is kept": HEADER + b"\xce",
}


@pytest.mark.parametrize("name", NONSENSE)
def test_what_is_no_byte_code_is_unreadable(name: str) -> None:
    with pytest.raises(UnreadableError):
        code_digest(NONSENSE[name])


def test_something_behind_the_code_and_a_foreign_file_inside_are_seen(tmp_path: Path) -> None:
    content = compiled(tmp_path, SOURCE)
    with pytest.raises(UnreadableError, match="behind its code"):
        code_digest(content + b"N")
    with pytest.raises(UnreadableError, match="several files"):
        code_digest(other_file_inside(content))


def test_references_to_references_take_no_time() -> None:
    """Each stands for two of the one before: written out it would be 2 ** 250 objects."""
    steps = b"".join(b"r" + bytes([n, 0, 0, 0]) + b"r" + bytes([n, 0, 0, 0]) for n in range(250))
    body = b"(\xf6\x01\x00\x00" + steps
    with pytest.raises(UnreadableError):
        code_digest(HEADER + body)


@pytest.mark.parametrize("source", [b"def (", b"\xff\xfe", b"a = \x00", b"(" * 5000])
def test_a_source_that_does_not_compile(source: bytes) -> None:
    with pytest.raises(UnreadableError, match="does not compile"):
        compiled_digest(source, 0)


@pytest.mark.parametrize("sign", [b"N", b"F", b"T", b"."])
def test_what_python_keeps_no_reference_to_is_given_none(sign: bytes) -> None:
    """Else later references would lead elsewhere here than in Python."""
    assert _Reader(b")\x02" + sign + b"N")._object(0)
    flagged = bytes([sign[0] | 0x80])
    with pytest.raises(UnreadableError):
        _Reader(b")\x02" + flagged + b"N")._object(0)
