"""The key store: sealed secrets of every marking, in a folder.

    <root>/commitments.jsonl          the counter of commitments
    <root>/<marking>/context.json     what the secrets are sealed for; public
    <root>/<marking>/key.age          the sealed root key
    <root>/<marking>/record.age       the sealed watermark record
    <root>/<marking>/marking.json     what was marked, once it is; public
    <root>/<marking>/given-up         there when no mark came of it

Everything is written once and never changed.
"""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from deepsigns_registry.attestation import files
from deepsigns_registry.attestation.commitment import CommitmentLog
from deepsigns_registry.attestation.permissions import warn_of_open_folder
from deepsigns_registry.attestation.sealing import seal, unseal
from deepsigns_registry.attestation.statement import MOST_COUNT
from deepsigns_registry.bounded.documents import read_json
from deepsigns_registry.bounded.unreadable import UnreadableError
from deepsigns_registry.errors import (
    ConfigurationError,
    CouldNotCheckError,
    NotFoundError,
    TamperedError,
)

if TYPE_CHECKING:
    from deepsigns_registry.config import Settings

__all__ = ["FileKeystore", "Marking", "open_keystore"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_CONTEXT, _KEY, _RECORD, _MARKING = "context.json", "key.age", "record.age", "marking.json"
_GIVEN_UP = "given-up"
_SECRET_LIMIT = 4 * 2**30

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Marking(BaseModel):
    """What is public about a finished marking; helps to find the secret that fits a file.

    It is not signed and convinces nobody: the attestation does.

    Attributes:
        marking: Name of the marking.
        owner: Identity of the owner (hex).
        model: Registered model.
        source_version: The unmarked version.
        marked_version: The marked version.
        onnx_digest: SHA-256 of the marked ONNX file (hex).
        commitments: Scheme name -> commitment (hex).
        index: Index of the commitment among the owner's.
        created_at: When, with time zone.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    marking: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")
    owner: Sha256
    model: str
    source_version: str
    marked_version: str
    onnx_digest: Sha256
    commitments: dict[str, Sha256]
    index: int = Field(ge=1, le=MOST_COUNT)
    created_at: AwareDatetime


class FileKeystore:
    """A key store in a folder that only this user may enter.

    Attributes:
        root: The folder; made on the first write.
        commitments: The counter of commitments.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.commitments = CommitmentLog(root / "commitments.jsonl")

    def __repr__(self) -> str:
        return f"FileKeystore({str(self.root)!r})"

    def seal_key(
        self,
        marking: str,
        secret: bytes,
        *,
        recipients: Sequence[str],
        context: Mapping[str, str],
    ) -> None:
        """Seals and stores the root key of a marking.

        Args:
            marking: Name of the marking.
            secret: The root key.
            recipients: age recipients, see `sealing.seal`.
            context: What it is for; the same for everything of one marking.

        Raises:
            ConfigurationError: A bad name or recipient, or there is a key already.
            TamperedError: The marking has another context.
            CouldNotCheckError: The key store cannot be written.
        """
        self._seal(marking, _KEY, secret, recipients, context)

    def seal_record(
        self,
        marking: str,
        record: bytes,
        *,
        recipients: Sequence[str],
        context: Mapping[str, str],
    ) -> None:
        """Seals and stores the watermark record of a marking; see `seal_key`."""
        self._seal(marking, _RECORD, record, recipients, context)

    def load_key(
        self, marking: str, identity: str, *, context: Mapping[str, str] | None = None
    ) -> bytes:
        """Opens the root key of a marking.

        Args:
            marking: Name of the marking.
            identity: age identity, see `sealing.load_identity`.
            context: What it must be for; by default what the key store says.

        Raises:
            NotFoundError: There is none.
            CouldNotCheckError: It is not sealed to this identity, or cannot be read.
            TamperedError: It was changed, or belongs to another context.
        """
        return self._open(marking, _KEY, identity, context)

    def load_record(
        self, marking: str, identity: str, *, context: Mapping[str, str] | None = None
    ) -> bytes:
        """Opens the watermark record of a marking; see `load_key`."""
        return self._open(marking, _RECORD, identity, context)

    def has_key(self, marking: str) -> bool:
        """Whether a root key is sealed for this marking: a resumed job uses it again."""
        return (self._folder(marking) / _KEY).exists()

    def has_record(self, marking: str) -> bool:
        """Whether a record is sealed for this marking: a resumed job uses it again."""
        return (self._folder(marking) / _RECORD).exists()

    def finish(self, marking: Marking) -> None:
        """Stores what was marked; the same again changes nothing.

        Raises:
            ConfigurationError: Something else is stored for this marking.
            CouldNotCheckError: The key store cannot be written.
        """
        content = (marking.model_dump_json(indent=1) + "\n").encode()
        path = self._folder(marking.marking) / _MARKING
        if not self._create(path, content) and files.read_small(path) != content:
            raise ConfigurationError(f"{path}: something else is stored there already")

    def give_up(self, marking: str) -> None:
        """Notes that no mark comes of what is sealed; its commitment goes on to count.

        Raises:
            CouldNotCheckError: The key store cannot be written.
        """
        self._create(self._folder(marking) / _GIVEN_UP, b"")

    def given_up(self) -> list[str]:
        """Names of all markings that were given up."""
        return sorted(path.parent.name for path in self.root.glob(f"*/{_GIVEN_UP}"))

    def unfinished(self) -> list[str]:
        """Names of the markings with a sealed record that are neither finished nor given up."""
        sealed = (path.parent for path in self.root.glob(f"*/{_RECORD}"))
        return sorted(
            folder.name
            for folder in sealed
            if not any((folder / name).exists() for name in (_MARKING, _GIVEN_UP))
        )

    def list_markings(self) -> list[Marking]:
        """Finished markings, ordered by index.

        Raises:
            TamperedError: One of them is malformed.
            CouldNotCheckError: One of them cannot be read.
        """
        found = []
        for path in sorted(self.root.glob(f"*/{_MARKING}")):
            try:
                marking = Marking.model_validate(read_json(files.read_small(path)))
            except (UnreadableError, ValidationError):
                raise TamperedError(f"{path}: is not a marking") from None
            if marking.marking != path.parent.name:
                raise TamperedError(f"{path}: belongs to another marking")
            found.append(marking)
        return sorted(found, key=lambda marking: (marking.index, marking.marking))

    def context(self, marking: str) -> dict[str, str]:
        """What the secrets of a marking are sealed for.

        Raises:
            NotFoundError: There is no such marking.
            TamperedError: It is malformed.
        """
        path = self._folder(marking) / _CONTEXT
        try:
            context = read_json(files.read_small(path))
        except NotFoundError:
            raise NotFoundError(f"{self.root}: holds no marking '{marking}'") from None
        except UnreadableError as error:
            raise TamperedError(f"{path}: {error}") from None
        if not isinstance(context, dict) or not all(isinstance(v, str) for v in context.values()):
            raise TamperedError(f"{path}: is not a context")
        return context

    def _folder(self, marking: str) -> Path:
        if not _NAME.fullmatch(marking):
            raise ConfigurationError(
                f"marking {marking[:80]!a}: use letters, digits, dots, dashes and underscores"
            )
        return self.root / marking

    def _seal(
        self,
        marking: str,
        name: str,
        secret: bytes,
        recipients: Sequence[str],
        context: Mapping[str, str],
    ) -> None:
        folder = self._folder(marking)
        sealed = seal(secret, recipients, context)
        note = json.dumps(dict(context), sort_keys=True).encode()
        if not self._create(folder / _CONTEXT, note) and self.context(marking) != dict(context):
            raise TamperedError(f"{folder}: is sealed for another owner or request")
        if not self._create(folder / name, sealed):
            raise ConfigurationError(
                f"{folder / name}: is stored already", advice="open the stored one instead"
            )

    def _open(
        self, marking: str, name: str, identity: str, context: Mapping[str, str] | None
    ) -> bytes:
        expected = self.context(marking) if context is None else context
        sealed = files.read_small(self._folder(marking) / name, limit=_SECRET_LIMIT)
        return unseal(sealed, identity, expected)

    @staticmethod
    def _create(path: Path, content: bytes) -> bool:
        try:
            files.private_folder(path.parent)
            files.create(path, content)
        except FileExistsError:
            return False
        except OSError as error:
            raise CouldNotCheckError(f"{path}: cannot be written: {error.strerror}") from None
        return True


def open_keystore(settings: "Settings") -> FileKeystore:
    """The key store in `[keystore]` of `deepsigns.toml`; nothing is written yet.

    One that every user of the machine can look into is used, with a warning: what is secret in
    it is sealed.

    Raises:
        ConfigurationError: Its address is of a kind that is not supported.
    """
    root = settings.file(settings.keystore.uri)
    warn_of_open_folder(root)
    return FileKeystore(root)
