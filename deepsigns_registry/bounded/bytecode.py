"""Python's byte code as a value that can be compared, without being loaded.

`marshal.loads` may crash on what a stranger wrote. This reads what the compiler of this Python
writes, and nothing else, into one digest: two files of one digest are loaded as the same code.
"""

import hashlib
import importlib.util
import marshal
import struct

from deepsigns_registry.bounded.unreadable import UnreadableError

__all__ = ["code_digest", "compiled_digest"]

_HEADER = 16
# 0: checked by the source's time; 1 and 3: by its hash, or not at all. An importer takes no other.
_FLAGS = (0, 1, 3)
_REFERABLE = 0x80
_MOST_DEPTH = 200
_MOST_OBJECTS = 2_000_000
# By the tag: how many bytes the length has.
_TEXTS = {b"u": 4, b"t": 4, b"a": 4, b"A": 4, b"z": 1, b"Z": 1}
_FIXED = {b"i": 4, b"g": 8, b"y": 16}
_LONE = b"NFT.S"
_FILE_NAME = 5
# co_code, co_consts, co_names, co_localsplusnames, co_localspluskinds, co_filename, co_name,
# co_qualname; then the first line, and co_linetable and co_exceptiontable.
_BEFORE_LINE, _AFTER_LINE = 8, 2
_COUNTS = 5


def code_digest(content: bytes) -> bytes:
    """Digest of the code in a `.pyc` file of this Python, whatever file it was compiled from.

    Args:
        content: The whole file.

    Raises:
        UnreadableError: It is none, is another Python's, or holds what no compiler writes.
    """
    magic, flags = content[:4], content[4:8]
    if magic != importlib.util.MAGIC_NUMBER:
        raise UnreadableError("is byte code of another Python")
    if len(content) < _HEADER or int.from_bytes(flags, "little") not in _FLAGS:
        raise UnreadableError("is no byte code")
    return _Reader(content[_HEADER:]).whole()


def compiled_digest(source: bytes, optimize: int) -> bytes:
    """Digest of what this Python compiles a module to; nothing is run.

    Args:
        source: The module.
        optimize: 0, 1 or 2, as for `compile`.

    Raises:
        UnreadableError: It does not compile, or to what cannot be compared.

    Examples:
        >>> one = compiled_digest(b"x = 1", 0)
        >>> one == compiled_digest(b"x = 1  # one", 0), one == compiled_digest(b"x = 2", 0)
        (True, False)
    """
    try:
        code = compile(source, "module", "exec", dont_inherit=True, optimize=optimize)
        return _Reader(marshal.dumps(code)).whole()
    except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError):
        raise UnreadableError("has a source that does not compile") from None


class _Reader:
    """One object as `marshal` writes it; see `Python/marshal.c` of CPython."""

    def __init__(self, content: bytes) -> None:
        self._content, self._at, self._objects = content, 0, 0
        self._references: list[bytes | None] = []
        self._files: set[bytes] = set()

    def whole(self) -> bytes:
        digest = self._object(0)
        if self._at != len(self._content):
            raise UnreadableError("has something behind its code")
        # An importer sets the name of the file anew, and only where it is the module's own.
        if len(self._files) != 1:
            raise UnreadableError("is code of several files")
        return digest

    def _take(self, length: int) -> bytes:
        taken = self._content[self._at : self._at + length]
        if length < 0 or len(taken) != length:
            raise UnreadableError("is cut short")
        self._at += length
        return taken

    def _number(self) -> int:
        return int(struct.unpack("<i", self._take(4))[0])

    def _object(self, depth: int) -> bytes:
        self._objects += 1
        if depth > _MOST_DEPTH or self._objects > _MOST_OBJECTS:
            raise UnreadableError("has more parts than any module")
        sign = self._take(1)[0]
        kind, referable = bytes([sign & ~_REFERABLE]), bool(sign & _REFERABLE)
        if referable and kind in _LONE + b"r":
            # These have no place in the list of references, whatever the bit says.
            raise UnreadableError("is no byte code")
        place = len(self._references)
        if referable:
            self._references.append(None)
        digest = self._reference() if kind == b"r" else self._value(kind, depth + 1)
        if referable:
            self._references[place] = digest
        return digest

    def _reference(self) -> bytes:
        number = self._number()
        found = self._references[number] if 0 <= number < len(self._references) else None
        if found is None:
            raise UnreadableError("refers to what is not there")
        return found

    def _value(self, kind: bytes, depth: int) -> bytes:
        if kind == b"c":
            return self._code(depth)
        if kind in b"()":
            length = self._take(1)[0] if kind == b")" else self._number()
            return _digest(b"(", *self._several(length, depth))
        if kind == b">":
            return _digest(kind, *sorted(self._several(self._number(), depth)))
        if kind == b":":
            return _digest(kind, *self._several(3, depth))
        return self._leaf(kind)

    def _leaf(self, kind: bytes) -> bytes:
        if kind in _TEXTS:
            length = self._take(1)[0] if _TEXTS[kind] == 1 else self._number()
            return _text(kind, self._take(length))
        if kind == b"s":
            return _digest(kind, self._take(self._number()))
        if kind == b"l":
            number = self._take(4)
            return _digest(kind, number, self._take(2 * abs(struct.unpack("<i", number)[0])))
        if kind in _LONE or kind in _FIXED:
            return _digest(kind, self._take(_FIXED.get(kind, 0)))
        raise UnreadableError("is no byte code")

    def _several(self, count: int, depth: int) -> list[bytes]:
        if not 0 <= count <= len(self._content):
            raise UnreadableError("is cut short")
        return [self._object(depth) for _ in range(count)]

    def _code(self, depth: int) -> bytes:
        counts = self._take(4 * _COUNTS)
        parts = self._several(_BEFORE_LINE, depth)
        self._files.add(parts.pop(_FILE_NAME))
        line = self._take(4)
        return _digest(b"c", counts, *parts, line, *self._several(_AFTER_LINE, depth))


def _text(kind: bytes, content: bytes) -> bytes:
    if kind not in b"ut" and not content.isascii():
        raise UnreadableError("is no byte code")
    # Whether a text is interned is no difference that code could see.
    return _digest(b"u", content)


def _digest(*parts: bytes) -> bytes:
    found = hashlib.sha256()
    for part in parts:
        found.update(len(part).to_bytes(8, "little") + part)
    return found.digest()
