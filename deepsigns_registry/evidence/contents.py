"""The evidence file: a zip of JSON, text and .npy arrays, without pickle.

evidence.json             what is revealed, and the digest of every other entry
README.txt                what the file is and what it gives away, for people
statement.sigstore.json   the signed attestation, byte for byte
owner.pub.pem             the owner's root public key
claim.sigstore.json       what the claimant states and signed; not in files of format v1
chain.<n>.jsonl           the claimant's chains of commitments; likewise
manifest.*.npy            digest and label of every training sample
blueprint.*.npy           what a suspect with moved neurons is aligned to, likewise
scheme.<name>.*.npy       the secret of each revealed scheme
"""

import hashlib
import io
import json
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from deepsigns_registry.attestation.files import read_small
from deepsigns_registry.attestation.statement import MOST_CHAINS
from deepsigns_registry.bounded.archives import read_zip
from deepsigns_registry.bounded.arrays import read_array
from deepsigns_registry.bounded.documents import read_json
from deepsigns_registry.bounded.unreadable import TooLargeError, UnreadableError
from deepsigns_registry.errors import CouldNotCheckError, TamperedError
from deepsigns_registry.evidence.claim import stated
from deepsigns_registry.evidence.readme import describe
from deepsigns_registry.watermark.blueprint import Blueprint
from deepsigns_registry.watermark.manifest import Manifest
from deepsigns_registry.watermark.scheme import SchemeSecret

__all__ = ["Evidence", "Revealed", "parse", "render"]

_FORMAT = "deepsigns-registry/evidence/v2"
# Without claim and chains.
_OLD_FORMAT = "deepsigns-registry/evidence/v1"
_HEADER, _README = "evidence.json", "README.txt"
_STATEMENT, _OWNER = "statement.sigstore.json", "owner.pub.pem"
_CLAIM, _CHAIN = "claim.sigstore.json", "chain.{}.jsonl"
_DIGESTS, _LABELS = "manifest.digests.npy", "manifest.labels.npy"
_BLUEPRINT = {name: f"blueprint.{name}.npy" for name in (*Blueprint.ARRAYS, *Blueprint.MAY_LACK)}
# The file comes from one side of a dispute: it may not fill the other side's memory.
_MOST_BYTES, _MOST_ENTRIES = 2 * 2**30, 1000
# One fixed date for all entries: the same evidence gives the same file.
_DATE = (1980, 1, 1, 0, 0, 0)
_NAME = re.compile(r"[a-z0-9_-]{1,64}")

Hex32 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


@dataclass(frozen=True, repr=False)
class Revealed:
    """One scheme whose commitment is opened. Secret until the file is handed over.

    Attributes:
        subkey: 32 bytes; says nothing about the root or about another scheme.
        salt: 32 bytes, of the nonce; see `watermark.record.binding_nonce`.
        nonce: 32 bytes, of the commitment.
        secret: What the scheme prepared.
    """

    subkey: bytes
    salt: bytes
    nonce: bytes
    secret: SchemeSecret


@dataclass(frozen=True, repr=False)
class Evidence:
    """The content of an evidence file.

    Attributes:
        bundle: The signed attestation of the marked model, exact text.
        owner_key: The owner's root public key, PEM.
        suspect: SHA-256 of the suspect ONNX file (hex).
        manifest: Digests and labels of the training samples.
        schemes: What is revealed, by scheme name.
        tap: Name of the tap's tensor; empty when no revealed scheme reads a hidden layer.
        blueprint: What alignment knows of the unmarked parent; empty likewise.
        claim: What the claimant signed, exact text; empty in a file of format v1.
        chains: The claimant's chains of commitments, exact bytes; none in a file of format v1.
    """

    bundle: str
    owner_key: bytes
    suspect: str
    manifest: Manifest
    schemes: Mapping[str, Revealed]
    tap: str = ""
    blueprint: Blueprint = field(default_factory=Blueprint.empty)
    claim: str = ""
    chains: tuple[bytes, ...] = ()


class _Opened(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    subkey: Hex32
    salt: Hex32
    nonce: Hex32
    meta: dict[str, JsonValue]
    arrays: tuple[str, ...]


class _Header(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    format: str
    suspect: Hex32
    tap: str
    chains: Annotated[int, Field(ge=1, le=MOST_CHAINS)] | None = None
    schemes: Annotated[dict[str, _Opened], Field(min_length=1)]
    entries: dict[str, Hex32]


def render(evidence: Evidence) -> bytes:
    """The bytes of an evidence file; the same evidence gives the same bytes."""
    arrays: dict[str, NDArray[np.generic]] = {
        _DIGESTS: evidence.manifest.digests,
        _LABELS: evidence.manifest.labels,
    }
    for key, array in evidence.blueprint.arrays().items():
        arrays[_BLUEPRINT[key]] = array
    for name, revealed in evidence.schemes.items():
        for key, array in revealed.secret.arrays.items():
            arrays[f"scheme.{name}.{key}.npy"] = array
    entries = {
        _README: _readme(sorted(evidence.schemes), evidence.suspect, evidence.tap, evidence.claim),
        _STATEMENT: evidence.bundle.encode(),
        _OWNER: evidence.owner_key,
    }
    if evidence.claim:
        entries[_CLAIM] = evidence.claim.encode()
        entries |= {_CHAIN.format(n): content for n, content in enumerate(evidence.chains)}
    entries |= {name: _npy(array) for name, array in sorted(arrays.items())}
    header = ({"chains": len(evidence.chains)} if evidence.claim else {}) | {
        "format": _FORMAT if evidence.claim else _OLD_FORMAT,
        "suspect": evidence.suspect,
        "tap": evidence.tap,
        "schemes": {
            name: {
                "subkey": revealed.subkey.hex(),
                "salt": revealed.salt.hex(),
                "nonce": revealed.nonce.hex(),
                "meta": dict(revealed.secret.meta),
                "arrays": sorted(revealed.secret.arrays),
            }
            for name, revealed in evidence.schemes.items()
        },
        "entries": {name: hashlib.sha256(content).hexdigest() for name, content in entries.items()},
    }
    entries = {_HEADER: json.dumps(header, indent=1, sort_keys=True).encode()} | entries
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            info = zipfile.ZipInfo(name, _DATE)
            info.external_attr = 0o600 << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, content)
    return buffer.getvalue()


def parse(path: Path) -> Evidence:
    """Reads an evidence file of unknown origin; believes nothing in it.

    Raises:
        NotFoundError: There is no such file.
        TamperedError: It is no evidence file, or an entry was changed, added or removed.
        CouldNotCheckError: It cannot be read, or would inflate to more than any real one.
    """
    content = read_small(path, limit=_MOST_BYTES)
    try:
        return _parse(read_zip(content, most_bytes=_MOST_BYTES, most_entries=_MOST_ENTRIES))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        reason = f"{_HEADER}: {where}: {first['msg']}"
    except TooLargeError as error:
        raise CouldNotCheckError(
            f"{path}: {error}", advice="no evidence is that large; ask for the file again"
        ) from None
    except UnreadableError as error:
        reason = str(error)
    except (KeyError, ValueError, TypeError, ArithmeticError, MemoryError) as error:
        reason = f"an entry is malformed ({type(error).__name__})"
    raise TamperedError(f"{path}: {reason}", advice="ask for the evidence file again")


def _parse(entries: dict[str, bytearray]) -> Evidence:
    header = _Header.model_validate(_document(bytes(entries.pop(_HEADER, b""))))
    if header.format != (_OLD_FORMAT if header.chains is None else _FORMAT):
        raise TamperedError(f"the evidence file is not of format {_FORMAT}")
    found = {name: hashlib.sha256(content).hexdigest() for name, content in entries.items()}
    for name in sorted(found.keys() | header.entries.keys()):
        if found.get(name) != header.entries.get(name):
            raise TamperedError(f"evidence: entry {name!a} was changed, added or removed")
    blueprint = {
        key: entry
        for key, entry in _BLUEPRINT.items()
        if key in Blueprint.ARRAYS or entry in entries
    }
    chains = [_CHAIN.format(number) for number in range(header.chains or 0)]
    expected = {_README, _STATEMENT, _OWNER, _DIGESTS, _LABELS, *blueprint.values(), *chains}
    expected |= {_CLAIM} if chains else set()
    for name, opened in header.schemes.items():
        if not all(_NAME.fullmatch(part) for part in (name, *opened.arrays)):
            raise TamperedError(f"evidence: {name!a} is no name of a scheme")
        expected |= {f"scheme.{name}.{key}.npy" for key in opened.arrays}
    if expected != entries.keys():
        raise TamperedError("evidence: it does not hold the entries that its header describes")
    claim = _text(entries, _CLAIM) if chains else ""
    if entries[_README] != _readme(sorted(header.schemes), header.suspect, header.tap, claim):
        raise TamperedError(f"evidence: {_README} does not say what this file reveals")
    return Evidence(
        bundle=_text(entries, _STATEMENT),
        owner_key=bytes(entries[_OWNER]),
        suspect=header.suspect,
        manifest=Manifest.read(_array(entries, _DIGESTS), _array(entries, _LABELS)),
        schemes={name: _revealed(name, opened, entries) for name, opened in header.schemes.items()},
        tap=header.tap,
        blueprint=Blueprint.from_arrays(
            {key: _array(entries, entry) for key, entry in blueprint.items()}
        ),
        claim=claim,
        chains=tuple(bytes(entries[name]) for name in chains),
    )


def _readme(schemes: Sequence[str], suspect: str, tap: str, claim: str) -> bytes:
    said = stated(claim) if claim else None
    return describe(schemes, suspect, hidden=bool(tap), claim=said).encode()


def _revealed(name: str, opened: _Opened, entries: Mapping[str, bytearray]) -> Revealed:
    arrays = {key: _array(entries, f"scheme.{name}.{key}.npy") for key in opened.arrays}
    return Revealed(
        subkey=bytes.fromhex(opened.subkey),
        salt=bytes.fromhex(opened.salt),
        nonce=bytes.fromhex(opened.nonce),
        secret=SchemeSecret(scheme=name, meta=opened.meta, arrays=arrays),
    )


def _npy(array: NDArray[np.generic]) -> bytes:
    content = io.BytesIO()
    np.lib.format.write_array(content, np.ascontiguousarray(array), allow_pickle=False)
    return content.getvalue()


def _document(content: bytes) -> object:
    try:
        return read_json(content)
    except UnreadableError as error:
        raise UnreadableError(f"{_HEADER} {error}") from None


def _text(entries: Mapping[str, bytearray], name: str) -> str:
    try:
        return entries[name].decode()
    except UnicodeDecodeError:
        raise UnreadableError(f"entry {name!a} is not UTF-8") from None


def _array(entries: Mapping[str, bytearray], name: str) -> NDArray[np.generic]:
    try:
        return read_array(entries[name])
    except UnreadableError as error:
        raise UnreadableError(f"an entry is malformed: {name!a} {error}") from None
