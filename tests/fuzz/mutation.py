"""Mutants of good files: by bytes, by the values of a JSON document, by the entries of a zip file.

Everything follows from the generator that is given, so a seed that is printed makes the same
mutants again.
"""

import hashlib
import io
import json
import random
import zipfile
from collections.abc import Callable
from typing import Any

Mutate = Callable[[bytes, random.Random], bytes]

_HOLE = '"\N{REPLACEMENT CHARACTER}hole"'

RAW = (
    *("null", "true", "{}", "[]", '""', "-1", "0", "1e999", "-1e999", "NaN", "Infinity"),
    *("9" * 400, "-" + "9" * 400, "1" * 5000, "9007199254740993", "0.1", "1" * 300, "1e-400"),
    *(r'"\ud800"', r'"\u0000"', r'"\u001b[2J"', r'"\u202e"', '"' + "a" * 5000 + '"', '"é"'),
    *("[" * 70 + "]" * 70, "[" * 2000 + "]" * 2000, '{"a":' * 300 + "1" + "}" * 300, "["),
    *('{"a": 1, "a": 2}', '{"": {"": ""}}', '{"\\ud800": 1}', '"2026-99-99T99:99:99Z"', "'a'"),
)
"""What is put in the place of a value of JSON, as it is spelled."""

TOKENS = (
    *(b"\0", b"\n", b"\r", b"\x1b[2J", b"\xff\xfe", b"\xed\xa0\x80", b"PK\x05\x06", b"\x93NUMPY"),
    *(b"9" * 400, b"1" * 5000, b"1e999", b"nan", b"inf", b"-0", b"[" * 300, b"{" * 300, b"]" * 300),
    *(b"[" * 3000, b"'", b'"', b"'''", b"#", b": ", b"= ", b"&a ", b"*a ", b"<<: ", b"!!python/x "),
    *(b"\xff" * 8, b"\x7f" + b"\xff" * 7, b"\x80" * 9 + b"\x01", b"../../etc", b"a" * 3000),
)


def mutate_bytes(content: bytes, chance: random.Random) -> bytes:
    """Some bytes are flipped, cut out, doubled, moved, or exchanged for what breaks parsers."""
    changed = bytearray(content)
    for _ in range(chance.choice((1, 1, 1, 2, 3, 8))):
        place = chance.randrange(len(changed) + 1)
        length = chance.choice((0, 1, 1, 4, 30))
        kind = chance.randrange(5)
        if kind == 0 and place < len(changed):
            changed[place] ^= chance.randrange(1, 256)
        elif kind == 1:
            changed[place : place + length] = b""
        elif kind == 2:
            changed[place : place + length] = chance.choice(TOKENS)
        elif kind == 3:
            start = chance.randrange(len(changed) + 1)
            changed[place:place] = changed[start : start + chance.choice((1, 8, 200))]
        else:
            changed[place : place + length] = chance.randbytes(length)
    return bytes(changed if chance.randrange(20) else changed[: chance.randrange(len(changed) + 1)])


def mutate_json(content: bytes, chance: random.Random) -> bytes:
    """One or two values of a document are exchanged or left out; of what is no JSON, bytes are."""
    if not chance.randrange(3):
        return mutate_bytes(content, chance)
    try:
        document = json.loads(content)
        json.dumps(document)
    except (ValueError, RecursionError):
        return mutate_bytes(content, chance)
    if not isinstance(document, (dict, list)):
        return mutate_bytes(content, chance)
    raw = []
    for _ in range(chance.choice((1, 1, 2))):
        holders = list(_holders(document))
        if not holders:
            break
        holder, key = chance.choice(holders)
        if not chance.randrange(5):
            del holder[key]
        else:
            holder[key] = "\N{REPLACEMENT CHARACTER}hole"
            raw.append(chance.choice(RAW))
    text = json.dumps(document, separators=(",", ":"), ensure_ascii=False)
    for each in raw:
        text = text.replace(_HOLE, each, 1)
    return text.encode("utf-8", "surrogatepass")


def _holders(document: Any) -> list[tuple[Any, Any]]:
    found, waiting = [], [document]
    while waiting:
        holder = waiting.pop()
        keys: Any = holder if isinstance(holder, dict) else range(len(holder))
        for key in keys:
            found.append((holder, key))
            if isinstance(holder[key], (dict, list)):
                waiting.append(holder[key])
    return found


HEADERS = (
    *(b"{'descr': '''\n", b"((((\n", b"[" * 3000 + b"\n", b"{}\n", b"\xff\n", b"\n", b""),
    b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }\n",
    b"{'descr': '<f4', 'fortran_order': False, 'shape': (%s,), }\n" % (b"9" * 400),
    b"{'descr': '<f4', 'fortran_order': False, 'shape': (%s), }\n" % (b"999999999, " * 20),
    b"{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }\n",
    b"{'descr': [('a', '<f4', (2,))] * 9, 'fortran_order': False, 'shape': (1,), }\n",
    "{'descr': 'é', 'fortran_order': False, 'shape': (1,), }\n".encode(),
    b"{'descr': '<U0', 'fortran_order': False, 'shape': (999999999,), }\n",
    b"{'descr': '<f8', 'fortran_order': True, 'shape': (0, 999999999999999999), }\n",
    b"{'descr': '|u1', 'fortran_order': False, 'shape': (), }\n",
)
"""Headers of `.npy` arrays."""


def mutate_array(content: bytes, chance: random.Random) -> bytes:
    """The header of an array is exchanged, or bytes are."""
    if chance.randrange(2):
        return mutate_bytes(content, chance)
    header = chance.choice(HEADERS)
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + content[-64:]


def mutate_zip(header: str) -> Mutate:
    """For a zip file of JSON and arrays: an entry is changed, and the digests are made to fit.

    Args:
        header: Name of the JSON entry whose `entries` names the digests of the others.
    """

    def mutate(content: bytes, chance: random.Random) -> bytes:
        if not chance.randrange(4):
            return mutate_bytes(content, chance)
        try:
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                entries = {name: archive.read(name) for name in archive.namelist()}
        except Exception:  # noqa: BLE001 - a mutant of a mutant
            return mutate_bytes(content, chance)
        name = chance.choice(sorted(entries))
        if chance.randrange(3) == 0:
            name = header if header in entries else name
        how = mutate_array if name.endswith(".npy") else mutate_json
        # One that inflates to more than any real one.
        entries[name] = how(entries[name], chance) if chance.randrange(200) else bytes(2**27)
        if name != header:
            _mend(entries, header)
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for each, inside in entries.items():
                archive.writestr(each, inside)
        return buffer.getvalue()

    return mutate


def _mend(entries: dict[str, bytes], header: str) -> None:
    try:
        document = json.loads(entries[header])
        document["entries"] = {
            name: hashlib.sha256(content).hexdigest()
            for name, content in entries.items()
            if name != header
        }
        entries[header] = json.dumps(document).encode()
    except (KeyError, ValueError, TypeError, RecursionError):
        return
