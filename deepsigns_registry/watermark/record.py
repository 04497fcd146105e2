"""Everything secret about one watermark, as one object that can be sealed.

The record is what an owner needs to show a mark: root key, nonces, triggers, queries, the
tap's name. It is sealed before training and never logged.
"""

import hashlib
import io
import json
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from deepsigns_registry.bounded.archives import read_zip
from deepsigns_registry.bounded.arrays import read_array
from deepsigns_registry.bounded.documents import read_json
from deepsigns_registry.errors import CouldNotCheckError, TamperedError
from deepsigns_registry.watermark.blueprint import Blueprint
from deepsigns_registry.watermark.expand import DOMAIN, encode
from deepsigns_registry.watermark.key import KEY_BYTES, RootKey, commit, key_version, scheme_key
from deepsigns_registry.watermark.manifest import Manifest
from deepsigns_registry.watermark.scheme import JSON, Scheme, SchemeSecret
from deepsigns_registry.watermark.schemes import named_schemes

__all__ = ["WatermarkRecord", "binding_nonce", "check_blueprint", "reads_hidden"]

_FORMAT = "deepsigns-registry/record/v1"
# Its white boxes do not hold the parent's activations: no tap is told by value.
_EARLIER = "deepsigns-registry/record/v0"
_HEADER = "record.json"
# A record is opened after unsealing, but a hostile one must not fill the memory either.
_MOST_BYTES, _MOST_ENTRIES = 4 << 30, 10_000


def binding_nonce(salt: bytes, secret: SchemeSecret, blueprint: Blueprint | None = None) -> bytes:
    """The nonce of a commitment: a hash of a random salt and of the whole secret.

    The key alone does not say which query candidates were rare, nor what the parent predicted
    there. A nonce that is derived from them commits the owner to that choice as well, and with
    32 random bytes of salt it stays as unpredictable as a random nonce. A scheme that reads a
    hidden layer is bound to the blueprint too: an owner who could choose it after seeing a
    suspect would choose which of its neurons are read as which.

    Args:
        salt: 32 bytes.
        secret: What the scheme prepared.
        blueprint: Of the unmarked parent, for a scheme that reads a hidden layer.
    """
    parts = [DOMAIN, b"nonce", salt, _digest(secret)]
    if blueprint:
        parts.append(blueprint.digest())
    return hashlib.sha256(encode(*parts)).digest()


def reads_hidden(scheme: Scheme) -> bool:
    """Whether a scheme reads a hidden layer, its activation or its weight.

    Examples:
        >>> from deepsigns_registry.watermark.schemes import own_schemes
        >>> {scheme.name: reads_hidden(scheme) for scheme in own_schemes()}
        {'whitebox': True, 'blackbox': False, 'spread': True, 'cells': False}
    """
    return scheme.needs_activation or scheme.needs_weight


def check_blueprint(scheme: Scheme, secret: SchemeSecret, blueprint: Blueprint) -> None:
    """Whether a hidden layer is read by the blueprint that its mark is drawn from.

    Args:
        scheme: The scheme.
        secret: Its secret; one that is drawn from a blueprint holds its digest, `blueprint`.
        blueprint: By which a suspect's neurons would be put in order; empty when by none.

    Raises:
        TamperedError: It is another.
    """
    drawn_from = secret.arrays.get("blueprint")
    if not blueprint or drawn_from is None or not scheme.needs_activation:
        return
    if drawn_from.tobytes() != blueprint.digest():
        raise TamperedError(
            f"{scheme.name} secret: it is not drawn from the blueprint that it would be read by",
            advice="take the sealed record from the key store again",
        )


@dataclass(frozen=True, repr=False)
class WatermarkRecord:
    """One watermark's secret.

    Attributes:
        root: The root key.
        salts: 32 random bytes a scheme; see `binding_nonce`.
        nonces: 32 bytes a scheme, of the commitments.
        secrets: What each scheme prepared.
        manifest: Of the training data.
        tap: Name of the tap's tensor in the exported ONNX file; empty until exported.
        blueprint: What alignment knows of the unmarked parent; empty until exported.
    """

    root: RootKey
    salts: Mapping[str, bytes]
    nonces: Mapping[str, bytes]
    secrets: Mapping[str, SchemeSecret]
    manifest: Manifest
    tap: str
    blueprint: Blueprint = field(default_factory=Blueprint.empty)

    def commitments(self) -> dict[str, str]:
        """The public commitment of each scheme's subkey."""
        return {
            name: commit(self.root.subkey(name), name, self.nonces[name]) for name in self.secrets
        }

    def with_tap(
        self,
        name: str,
        blueprint: Blueprint | None = None,
        *,
        schemes: Iterable[Scheme] | None = None,
    ) -> "WatermarkRecord":
        """The same record, knowing the parent's exported file.

        Args:
            name: The tap's tensor in the file.
            blueprint: Of the parent. The commitments of schemes that read a hidden layer bind
                it, so they change: commit afterwards.
            schemes: Where to find the record's schemes.

        Raises:
            CouldNotCheckError: A scheme of the record is not installed.
        """
        if blueprint is None:
            return replace(self, tap=name)
        nonces = dict(self.nonces)
        for scheme in named_schemes(self.secrets, schemes):
            secret = self.secrets[scheme.name]
            bound = blueprint if reads_hidden(scheme) else None
            nonces[scheme.name] = binding_nonce(self.salts[scheme.name], secret, bound)
        return replace(self, tap=name, nonces=nonces, blueprint=blueprint)

    def check(self, schemes: Iterable[Scheme] | None = None) -> None:
        """Derives everything again that the root and the manifest determine.

        Raises:
            TamperedError: Triggers, bits, projection, queries, labels or a nonce differ.
            CouldNotCheckError: A scheme of the record is not installed, or a secret is of a later
                version of the key.
        """
        data = self.manifest.root
        for scheme in named_schemes(self.secrets, schemes):
            secret = self.secrets[scheme.name]
            key_version(secret.meta)
            key = scheme_key(self.root.subkey(scheme.name), self.root.owner, data)
            try:
                scheme.check(secret, key, self.manifest)
            except (KeyError, ValueError, IndexError, AttributeError, TypeError) as error:
                raise TamperedError(
                    f"{scheme.name} secret: incomplete or of the wrong shape ({error})",
                    advice="take the sealed record from the key store again",
                ) from None
            check_blueprint(scheme, secret, self.blueprint)
            bound = self.blueprint if reads_hidden(scheme) else None
            salt = self.salts.get(scheme.name, b"")
            nonce = self.nonces.get(scheme.name, b"")
            if len(salt) != KEY_BYTES or nonce != binding_nonce(salt, secret, bound):
                raise TamperedError(
                    f"{scheme.name} secret: it is not the one that was committed",
                    advice="take the sealed record from the key store again",
                )

    def to_bytes(self) -> bytes:
        """The record as a zip of .npy arrays (no pickle) and one JSON document."""
        arrays: dict[str, NDArray[np.generic]] = {
            "manifest.digests": self.manifest.digests,
            "manifest.labels": self.manifest.labels,
        }
        arrays |= {f"blueprint.{name}": array for name, array in self.blueprint.arrays().items()}
        schemes: dict[str, JSON] = {}
        for name, secret in self.secrets.items():
            schemes[name] = {
                "salt": self.salts[name].hex(),
                "nonce": self.nonces[name].hex(),
                "meta": dict(secret.meta),
                "arrays": list[JSON](sorted(secret.arrays)),
            }
            arrays |= {f"scheme.{name}.{key}": value for key, value in secret.arrays.items()}
        header: dict[str, JSON] = {
            "format": _FORMAT,
            "root": self.root.secret.hex(),
            "owner": self.root.owner.hex(),
            "tap": self.tap,
            "schemes": schemes,
        }
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(_HEADER, json.dumps(header, sort_keys=True))
            for name, array in sorted(arrays.items()):
                content = io.BytesIO()
                np.lib.format.write_array(content, np.ascontiguousarray(array), allow_pickle=False)
                archive.writestr(f"{name}.npy", content.getvalue())
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> "WatermarkRecord":
        """Reads what `to_bytes` wrote.

        Raises:
            CouldNotCheckError: The bytes are no record.
        """
        try:
            return _parse(content)
        except (
            KeyError,
            ValueError,
            TypeError,
            AttributeError,
            ArithmeticError,
            TamperedError,
            MemoryError,
        ) as error:
            raise CouldNotCheckError(
                f"this is no watermark record ({type(error).__name__})",
                advice="take the sealed record from the key store again",
            ) from None


def _parse(content: bytes) -> WatermarkRecord:
    entries = read_zip(content, most_bytes=_MOST_BYTES, most_entries=_MOST_ENTRIES)
    header = read_json(bytes(entries[_HEADER]))
    if header["format"] not in {_FORMAT, _EARLIER}:
        raise ValueError("another format")
    secrets = {
        str(name): SchemeSecret(
            scheme=str(name),
            meta=dict(entry["meta"]),
            arrays={
                str(key): read_array(entries[f"scheme.{name}.{key}.npy"]) for key in entry["arrays"]
            },
        )
        for name, entry in header["schemes"].items()
    }
    manifest = Manifest.read(
        read_array(entries["manifest.digests.npy"]), read_array(entries["manifest.labels.npy"])
    )
    further = [name for name in Blueprint.MAY_LACK if f"blueprint.{name}.npy" in entries]
    blueprint = Blueprint.from_arrays(
        {
            name: read_array(entries[f"blueprint.{name}.npy"])
            for name in (*Blueprint.ARRAYS, *further)
        }
    )
    return WatermarkRecord(
        root=RootKey(bytes.fromhex(header["root"]), bytes.fromhex(header["owner"])),
        salts={name: bytes.fromhex(header["schemes"][name]["salt"]) for name in secrets},
        nonces={name: bytes.fromhex(header["schemes"][name]["nonce"]) for name in secrets},
        secrets=secrets,
        manifest=manifest,
        tap=str(header["tap"]),
        blueprint=blueprint,
    )


def _digest(secret: SchemeSecret) -> bytes:
    parts = [secret.scheme.encode(), json.dumps(dict(secret.meta), sort_keys=True).encode()]
    for name, array in sorted(secret.arrays.items()):
        little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
        parts += [name.encode(), array.dtype.name.encode(), str(array.shape).encode()]
        parts.append(little.tobytes())
    return hashlib.sha256(encode(*parts)).digest()
