"""What the worker seals before training, and finds again when it resumes."""

from collections.abc import Mapping

from deepsigns_registry.attestation.keystore import FileKeystore
from deepsigns_registry.attestation.sealing import load_own_identity, load_recipient
from deepsigns_registry.config import Settings
from deepsigns_registry.errors import ConfigurationError

__all__ = ["Vault"]


class Vault:
    """The sealed secrets of one marking.

    Two workers may come to the same marking, as two versions can hold the same bytes. Whoever
    seals first decides; the other one goes on with what is sealed.

    Args:
        settings: Name the recipients, and the identity that opens what is sealed.
        keystore: Where they are kept.
        marking: Name of the marking.
        owner: The owner's identity, 32 bytes.
    """

    def __init__(
        self, settings: Settings, keystore: FileKeystore, marking: str, owner: bytes
    ) -> None:
        self._settings = settings
        self._keystore = keystore
        self._marking = marking
        self.owner = owner
        self._context = {"owner": owner.hex(), "marking": marking}

    def record(self) -> bytes | None:
        """The record of an earlier attempt, or None.

        Raises:
            CouldNotCheckError: The sealed record cannot be opened.
        """
        if not self._keystore.has_record(self._marking):
            return None
        return self._keystore.load_record(self._marking, self._identity(), context=self._context)

    def seal_record(self, record: bytes) -> bytes:
        """Seals a record, and returns what is sealed from now on.

        Raises:
            ConfigurationError: A recipient is missing.
            CouldNotCheckError: The record cannot be written.
        """
        try:
            self._keystore.seal_record(
                self._marking, record, recipients=self._recipients(), context=self._context
            )
        except ConfigurationError:
            if not self._keystore.has_record(self._marking):
                raise
        return self.record() or record

    def seal_root(self, root: bytes) -> None:
        """Seals the root key by itself as well: small enough to be kept on paper.

        Raises:
            ConfigurationError: A recipient is missing.
            CouldNotCheckError: The key cannot be written.
        """
        if self._keystore.has_key(self._marking):
            return
        try:
            self._keystore.seal_key(
                self._marking, root, recipients=self._recipients(), context=self._context
            )
        except ConfigurationError:
            if not self._keystore.has_key(self._marking):
                raise

    def commit(self, commitments: Mapping[str, str]) -> int:
        """Appends commitments to the owner's chain, once; returns their index."""
        return self._keystore.commitments.append(self.owner, commitments)

    def _recipients(self) -> list[str]:
        return [
            load_recipient(self._settings.file(reference, scheme="age"))
            for reference in self._settings.owner.sealing
        ]

    def _identity(self) -> str:
        return load_own_identity(self._settings.file(self._settings.owner.unsealing, scheme="age"))
