"""Whose signatures count, and for what."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cryptography.hazmat.primitives.asymmetric import ec

from deepsigns_registry.attestation.keys import load_public_key
from deepsigns_registry.errors import ConfigurationError

if TYPE_CHECKING:
    from deepsigns_registry.config import Settings

__all__ = ["Policy", "Purpose", "TrustedKey"]

Purpose = Literal["watermark", "audit", "command", "claim"]


@dataclass(frozen=True)
class TrustedKey:
    """A public key, and the kinds of statement it may sign."""

    key: ec.EllipticCurvePublicKey
    may_sign: frozenset[Purpose]


@dataclass(frozen=True)
class Policy:
    """The keys somebody trusts. An empty policy trusts nobody, and says so when it is used.

    Attributes:
        keys: Whose signatures count.
        ignore: Names of unsigned files that do not; see `sections.PolicySettings`.
        advice: What to do about what is signed by nobody of them.
    """

    keys: tuple[TrustedKey, ...] = ()
    ignore: tuple[str, ...] = ()
    advice: str = "do not use it; compare the signer with [[policy.keys]] in deepsigns.toml"

    @classmethod
    def trusting(cls, public_keys: Iterable[Path], *purposes: Purpose) -> "Policy":
        """A policy in which every one of these keys may sign for these purposes.

        Raises:
            ConfigurationError: A file is missing or holds no P-256 public key.
        """
        may_sign = frozenset(purposes)
        return cls(
            tuple(TrustedKey(load_public_key(path), may_sign) for path in public_keys),
            advice="name the public key of the signer, from a source of your own; if that is the "
            "one you named, do not use it",
        )

    @classmethod
    def from_settings(cls, settings: "Settings") -> "Policy":
        """The policy in `[policy]` of `deepsigns.toml`.

        Raises:
            ConfigurationError: A file is missing or holds no P-256 public key.
        """
        return cls(
            tuple(
                TrustedKey(
                    load_public_key(settings.file(rule.public_key)), frozenset(rule.may_sign)
                )
                for rule in settings.policy.keys
            ),
            settings.policy.ignore,
        )

    def keys_for(self, purpose: Purpose) -> tuple[ec.EllipticCurvePublicKey, ...]:
        """The keys that may sign for a purpose; at least one.

        Raises:
            ConfigurationError: There is none.
        """
        trusted = tuple(entry.key for entry in self.keys if purpose in entry.may_sign)
        if not self.keys:
            raise ConfigurationError(
                "the policy trusts nobody: it names no key",
                advice="add [[policy.keys]] with public_key and may_sign to deepsigns.toml",
            )
        if not trusted:
            raise ConfigurationError(
                f"the policy trusts nobody to sign '{purpose}'",
                advice=f'add may_sign = ["{purpose}"] to a key in [[policy.keys]]',
            )
        return trusted
