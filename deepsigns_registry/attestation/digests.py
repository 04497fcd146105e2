"""SHA-256 of a model folder's files: what a signature is about.

Nothing that could stand for other bytes later is accepted: no symbolic links, no pipes or
devices, no names that a terminal or a checksum list would show as something else.
"""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

from deepsigns_registry.attestation.files import open_regular
from deepsigns_registry.errors import CouldNotCheckError, NotFoundError, TamperedError

__all__ = ["BUNDLE_FOLDER", "DOWNLOAD_NOTE", "combined_digest", "digest_folder", "sha256_file"]

BUNDLE_FOLDER = "deepsigns"
"""Folder inside a model that holds the bundles; not part of what they sign."""

DOWNLOAD_NOTE = "registered_model_meta"
"""File that MLflow adds to a download from the registry; not part of the stored version."""


def sha256_file(path: Path) -> str:
    """SHA-256 of a regular file in hex.

    Raises:
        NotFoundError: There is no such file.
        TamperedError: It is a symbolic link or a special file.
        CouldNotCheckError: It cannot be read.
    """
    with open_regular(path) as stream:
        try:
            return hashlib.file_digest(stream, "sha256").hexdigest()
        except OSError as error:
            raise CouldNotCheckError(f"{path}: cannot be read: {error.strerror}") from None


def digest_folder(folder: Path) -> dict[str, str]:
    """Hashes every file of a model folder.

    Args:
        folder: The model; its `deepsigns/` and MLflow's `registered_model_meta`, both at the top
            only, are left out.

    Returns:
        POSIX path relative to `folder` -> SHA-256 in hex, in the order of the paths' bytes.

    Raises:
        NotFoundError: `folder` is not a folder.
        TamperedError: It holds a symbolic link, a special file, or a name that is not plain
            UTF-8 text.
        CouldNotCheckError: Something cannot be read.
    """
    if folder.is_symlink() or not folder.is_dir():
        raise NotFoundError(f"{folder}: no such model folder")
    digests: dict[str, str] = {}
    _walk(folder, "", digests)
    return dict(sorted(digests.items(), key=lambda item: item[0].encode()))


def combined_digest(digests: Mapping[str, str]) -> str:
    """One SHA-256 for a whole folder: of the lines that `sha256sum` prints, sorted by path.

    Args:
        digests: Path -> SHA-256 in hex, see `digest_folder`.

    Returns:
        64 hexadecimal digits.

    Examples:
        >>> combined_digest({})[:16]
        'e3b0c44298fc1c14'
    """
    lines = (f"{digests[name]}  {name}\n" for name in sorted(digests, key=str.encode))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _walk(folder: Path, prefix: str, digests: dict[str, str]) -> None:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise CouldNotCheckError(f"{folder}: cannot be read: {error.strerror}") from None
    for entry in entries:
        name = prefix + entry.name
        if not _plain(entry.name):
            raise TamperedError(
                f"{folder}: holds a file named {entry.name!a}",
                advice="use UTF-8 names without control characters and backslashes",
            )
        if entry.is_symlink():
            raise TamperedError(
                f"{folder / entry.name}: symbolic links are not allowed in a model",
                advice="store the file itself",
            )
        if entry.is_dir(follow_symlinks=False):
            if name != BUNDLE_FOLDER:
                _walk(folder / entry.name, name + "/", digests)
        elif not entry.is_file(follow_symlinks=False):
            raise TamperedError(f"{folder / entry.name}: is a special file, not data")
        elif name != DOWNLOAD_NOTE:
            digests[name] = sha256_file(folder / entry.name)


def _plain(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return name.isprintable() and "\\" not in name
