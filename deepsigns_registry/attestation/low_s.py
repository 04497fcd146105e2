"""The one form of an ECDSA signature that is written: the lower of its two values of s.

Of a signature (r, s) everybody can make another one over the same bytes, (r, n - s), without any
key. So s is at most n / 2 in what is written; `SIGNATURE_FORM` in the signed predicate says so, and
where it stands the other form is tampering. All keys are on P-256 (see `keys`); n is its order
(FIPS 186-5, SP 800-186 section 3.2.1.3).
"""

from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)

__all__ = ["FORM_FIELD", "SIGNATURE_FORM", "is_low_s", "promises_low_s", "to_low_s"]

FORM_FIELD = "signatureForm"
"""Field of a predicate that says in which form it was signed; missing in older statements."""

SIGNATURE_FORM = "low-s"

_ORDER = 0xFFFFFFFF_00000000_FFFFFFFF_FFFFFFFF_BCE6FAAD_A7179E84_F3B9CAC2_FC632551


def to_low_s(signature: bytes) -> bytes:
    """The form of a signature that is written.

    Args:
        signature: DER, ECDSA over P-256.

    Returns:
        DER of (r, min(s, n - s)).

    Raises:
        ValueError: It is no signature.

    Examples:
        >>> high = encode_dss_signature(1, _ORDER - 1)
        >>> decode_dss_signature(to_low_s(high))
        (1, 1)
    """
    r, s = decode_dss_signature(signature)
    return encode_dss_signature(r, min(s, _ORDER - s))


def is_low_s(signature: bytes) -> bool:
    """Whether a signature is in the form that is written, DER included.

    Examples:
        >>> [is_low_s(encode_dss_signature(1, s)) for s in (1, _ORDER - 1)], is_low_s(b"none")
        ([True, False], False)
    """
    try:
        return to_low_s(signature) == signature
    except ValueError:
        return False


def promises_low_s(predicate: Mapping[str, Any]) -> bool:
    """Whether a signed predicate says that it was signed in the one form.

    Examples:
        >>> promises_low_s({FORM_FIELD: SIGNATURE_FORM}), promises_low_s({})
        (True, False)
    """
    return predicate.get(FORM_FIELD) == SIGNATURE_FORM
