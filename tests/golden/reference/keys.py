"""Sections 2 and 3: how parts are encoded, and the keys that follow from the root key."""

import hashlib
import hmac

DOMAIN = b"deepsigns-registry/v0"


def sha256(message: bytes) -> bytes:
    return hashlib.sha256(message).digest()


def mac(key: bytes, message: bytes) -> bytes:
    return hmac.new(key, message, hashlib.sha256).digest()


def encoded(*parts: bytes) -> bytes:
    joined = b""
    for part in parts:
        joined += len(part).to_bytes(8, "big") + part
    return joined


def subkey(root: bytes, owner: bytes, scheme: str) -> bytes:
    info = encoded(DOMAIN, b"subkey", owner, scheme.encode())
    return mac(mac(DOMAIN, root), info + b"\x01")


def scheme_key(key: bytes, owner: bytes, root_of_manifest: str) -> bytes:
    info = encoded(DOMAIN, b"scheme", owner, bytes.fromhex(root_of_manifest))
    return mac(key, info + b"\x01")


def purpose(key: bytes, name: str) -> bytes:
    return mac(key, encoded(DOMAIN, b"purpose", name.encode()) + b"\x01")
