"""Mutants of an evidence file: of its zip, of its members, and of what these hold."""

import hashlib
import io
import json
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from random import Random

from deepsigns_registry.evidence.contents import parse, render

__all__ = ["GOLDEN", "altered", "is_the_original"]

GOLDEN = Path(__file__).parents[2] / "tests" / "golden" / "evidence" / "v2"
_HEADER = "evidence.json"
Entries = dict[str, bytes]


def is_the_original(path: Path) -> bool:
    """Whether a file holds what the golden one does, packed in another way perhaps."""
    return render(parse(path)) == (GOLDEN / "evidence.zip").read_bytes()


def altered(number: int) -> bytes:
    """The mutant of this number, the same on every machine."""
    random = Random(f"evidence {number}")
    content = (GOLDEN / "evidence.zip").read_bytes()
    if number % 3 == 0:
        return random.choice(_OF_BYTES)(content, random)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    if number % 3 == 1:
        return random.choice(_OF_MEMBERS)(entries, random)
    # The header names the members' digests: with these mended, a reader looks into them.
    random.choice(_OF_CONTENT)(entries, random)
    return _packed(_mended(entries))


def _packed(entries: Entries, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in entries.items():
            archive.writestr(_member(name, method), content)
    return buffer.getvalue()


def _member(name: str, method: int = zipfile.ZIP_STORED) -> zipfile.ZipInfo:
    """Of a date that is the same every time."""
    member = zipfile.ZipInfo(name)
    member.compress_type = method
    return member


def _mended(entries: Entries) -> Entries:
    try:
        header = json.loads(entries[_HEADER])
        header["entries"] = {
            name: hashlib.sha256(content).hexdigest()
            for name, content in entries.items()
            if name != _HEADER
        }
    except (ValueError, TypeError, RecursionError):
        return entries
    return {**entries, _HEADER: json.dumps(header).encode()}


# --- the zip's bytes ----------------------------------------------------------------------------


def _flipped(content: bytes, random: Random) -> bytes:
    changed = bytearray(content)
    # Half of them in the directory, whose fields say what the rest is.
    start = len(changed) - 1500 if random.random() < 0.5 else 0
    for _ in range(random.randint(1, 4)):
        changed[random.randrange(start, len(changed))] = random.randrange(256)
    return bytes(changed)


def _cut(content: bytes, random: Random) -> bytes:
    return content[: random.randrange(len(content))]


def _stretched(content: bytes, random: Random) -> bytes:
    more = random.randbytes(random.choice((1, 22, 70_000)))
    return random.choice((content + more, more + content, content + content))


def _lying_sizes(content: bytes, random: Random) -> bytes:
    """Directory entries whose sizes, methods or places are not those of the members."""
    changed, at = bytearray(content), content.find(b"PK\x01\x02")
    while at >= 0:
        if random.random() < 0.3:
            place, form = random.choice(((20, "<I"), (24, "<I"), (42, "<I"), (10, "<H"), (8, "<H")))
            number = random.choice((0, 1, 8, 12, 99, 2**16 - 1, 2**31, 2**32 - 1))
            size = struct.calcsize(form)
            struct.pack_into(form, changed, at + place, number % 256**size)
        at = content.find(b"PK\x01\x02", at + 1)
    return bytes(changed)


# --- its members --------------------------------------------------------------------------------


def _swapped(entries: Entries, random: Random) -> bytes:
    one, other = random.sample(sorted(entries), 2)
    return _packed({**entries, one: entries[other], other: entries[one]})


def _lost(entries: Entries, random: Random) -> bytes:
    name = random.choice(sorted(entries))
    return _packed({key: content for key, content in entries.items() if key != name})


def _added(entries: Entries, random: Random) -> bytes:
    name = random.choice(("../outside", "/etc/passwd", "a" * 60_000, "\udcff\x1b[2J", "x/", ""))
    name = name.encode(errors="replace").decode()
    return _packed({**entries, name: random.randbytes(10)})


def _doubled(entries: Entries, random: Random) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w") as archive:
        warnings.simplefilter("ignore")
        for name, content in entries.items():
            archive.writestr(_member(name), content)
        name = random.choice(sorted(entries))
        archive.writestr(_member(name), random.choice((entries[name], b"", b"x")))
    return buffer.getvalue()


def _another_method(entries: Entries, random: Random) -> bytes:
    return _packed(entries, random.choice((zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)))


def _many(entries: Entries, random: Random) -> bytes:
    more = {f"scheme.x.{number}.npy": b"" for number in range(random.choice((1000, 20_000)))}
    return _packed({**entries, **more})


def _bomb(entries: Entries, random: Random) -> bytes:
    name = random.choice(sorted(entries))
    packed = _packed({**entries, name: bytes(random.choice((2**24, 2**28)))})
    return _lying_sizes(packed, random) if random.random() < 0.5 else packed


# --- what they hold -----------------------------------------------------------------------------


def _arrays(entries: Entries) -> list[str]:
    return sorted(name for name in entries if name.endswith(".npy"))


def _array_header(entries: Entries, random: Random) -> None:
    name = random.choice(_arrays(entries))
    described = random.choice(
        (
            "{'descr': '<f4', 'fortran_order': False, 'shape': (2**40,), }",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776,), }",
            "{'descr': '|O', 'fortran_order': False, 'shape': (1,), }",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }",
            "{'descr': '<f4', 'fortran_order': False, 'shape': " + "(" * 3000 + ")" * 3000 + "}",
            "{'descr': [('a', '<f4', (2147483647,))], 'fortran_order': False, 'shape': (9,)}",
            "{'descr': '<V2147483647', 'fortran_order': False, 'shape': (1,), }",
            "{'descr': '<U999999999', 'fortran_order': False, 'shape': (1,), }",
            "{'descr': '<f4', 'fortran_order': True, 'shape': (0, 99999999999)}",
            "{'descr': '<f8', 'fortran_order': False, 'shape': (" + "1," * 70 + ")}",
            "{'descr': '<M8[ns]', 'fortran_order': False, 'shape': (4,)}",
            "{'descr': 'x', 'fortran_order': 1",
            "'''",
            "\t{\n  'descr'",
            "__import__('os').abort()",
            "9" * 5000,
        )
    ).encode()
    described = described.ljust(random.choice((118, 9000))) + b"\n"
    version = random.choice((b"\x01\x00", b"\x02\x00", b"\x03\x00", b"\x09\x00"))
    size = struct.pack("<H" if version == b"\x01\x00" else "<I", len(described))
    entries[name] = b"\x93NUMPY" + version + size + described + random.randbytes(64)


def _array_bytes(entries: Entries, random: Random) -> None:
    name = random.choice(_arrays(entries))
    changed = bytearray(entries[name])
    for _ in range(random.randint(1, 5)):
        # Mostly in the header.
        most = min(len(changed), 128) if random.random() < 0.6 else len(changed)
        changed[random.randrange(most)] = random.randrange(256)
    entries[name] = bytes(changed)


def _array_of_another(entries: Entries, random: Random) -> None:
    one, other = random.sample(_arrays(entries), 2)
    entries[one] = entries[other]


def _array_bomb(entries: Entries, random: Random) -> None:
    """Small in the file, large in memory, with a header that fits."""
    count = random.choice((2**22, 2**26))
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({count},), }}"
    described = text.encode().ljust(117) + b"\n"
    head = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(described)) + described
    entries[random.choice(_arrays(entries))] = head + bytes(4 * count)


def _text(entries: Entries, random: Random) -> None:
    """JSON, keys and lines that are none, or too deep, or too large."""
    name = random.choice(sorted(set(entries) - set(_arrays(entries))))
    content = entries[name]
    entries[name] = random.choice(
        (
            b"",
            b"[" * 100_000,
            b'{"a":' * 5000 + b"1" + b"}" * 5000,
            b"9" * 400_000,
            content.replace(b"1", b"1" + b"0" * 400),
            content.replace(b'"', b'"\\ud800', 3),
            content.replace(b"e", b"\xff", 1),
            content[: len(content) // 2],
            content * 2,
            b"\xef\xbb\xbf" + content,
            b"null",
            b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
        )
    )


def _header(entries: Entries, random: Random) -> None:
    """A field of the header says something else."""
    header = json.loads(entries[_HEADER])
    place = header
    while isinstance(place, dict) and place:
        key = random.choice(sorted(place))
        if isinstance(place[key], dict) and place[key] and random.random() < 0.8:
            place = place[key]
            continue
        place[key] = random.choice(
            (None, -1, 10**400, 1e308, "", "\0", "../x", [], [[]], {}, {"a": 1}, True, "a" * 10**5)
        )
        break
    # A number of that length is written by no other means.
    text = json.dumps({**header, "x": 0}) if random.random() < 0.1 else json.dumps(header)
    entries[_HEADER] = text.encode()


_OF_BYTES: tuple[Callable[[bytes, Random], bytes], ...] = (
    *(_flipped, _flipped, _cut, _stretched, _lying_sizes, _lying_sizes),
)
_OF_MEMBERS: tuple[Callable[[Entries, Random], bytes], ...] = (
    *(_swapped, _lost, _added, _doubled, _another_method, _many, _bomb),
)
_OF_CONTENT: tuple[Callable[[Entries, Random], None], ...] = (
    *(_array_header, _array_header, _array_header, _array_bytes, _array_bytes),
    *(_array_of_another, _array_bomb, _text, _text, _header, _header),
)
