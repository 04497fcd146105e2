"""The key of `docs/spec/key-v1.md`, written from that page alone: one file a section.

Another implementation than the package's, on purpose. It must not import `deepsigns_registry`. What
is derived needs the standard library alone; reading weights and logits needs numpy. What is as in
version 0 is in the same files.
"""

from tests.golden.reference.blackbox import answers, choice, first_largest, labels, sources
from tests.golden.reference.blueprint import Layer, blueprint_digest
from tests.golden.reference.commitment import Array, commitment, nonce, secret_digest
from tests.golden.reference.keys import encoded, purpose, scheme_key, sha256, subkey
from tests.golden.reference.manifest import Entry, lowest, manifest_root, sample_digest
from tests.golden.reference.queries import query
from tests.golden.reference.stream import Bytes, edges, grid
from tests.golden.reference.whitebox import WhiteBox, read_bits, whitebox
from tests.golden.reference_v1 import cells, spread

__all__ = [
    "Array",
    "Bytes",
    "Entry",
    "Layer",
    "WhiteBox",
    "answers",
    "blueprint_digest",
    "cells",
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
    "sha256",
    "sources",
    "spread",
    "subkey",
    "whitebox",
]
