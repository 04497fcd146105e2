"""The key of `docs/spec/key-v0.md`, written from that page alone: one file a section.

Another implementation than the package's, on purpose: the standard library, whole numbers and
Python's doubles, one value at a time, nothing fast. It must not import `deepsigns_registry`.
"""

from tests.golden.reference.blackbox import answers, choice, first_largest, labels, sources
from tests.golden.reference.blueprint import Layer, blueprint_digest
from tests.golden.reference.commitment import Array, commitment, nonce, secret_digest
from tests.golden.reference.keys import encoded, purpose, scheme_key, subkey
from tests.golden.reference.manifest import Entry, lowest, manifest_root, sample_digest
from tests.golden.reference.queries import query
from tests.golden.reference.stream import Bytes, edges, grid
from tests.golden.reference.whitebox import WhiteBox, read_bits, whitebox

__all__ = [
    "Array",
    "Bytes",
    "Entry",
    "Layer",
    "WhiteBox",
    "answers",
    "blueprint_digest",
    "choice",
    "commitment",
    "edges",
    "encoded",
    "first_largest",
    "grid",
    "labels",
    "lowest",
    "manifest_root",
    "nonce",
    "purpose",
    "query",
    "read_bits",
    "sample_digest",
    "scheme_key",
    "secret_digest",
    "sources",
    "subkey",
    "whitebox",
]
