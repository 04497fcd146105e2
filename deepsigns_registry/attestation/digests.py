"""SHA-256 of a model folder's files: what a signature is about.

Nothing that could stand for other bytes later is accepted: no symbolic links, no pipes or
devices, no names that a terminal or a checksum list would show as something else.
"""

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from deepsigns_registry.attestation.files import open_regular
from deepsigns_registry.errors import CouldNotCheckError, NotFoundError, TamperedError

__all__ = [
    "BUNDLE_FOLDER",
    "CACHE_FOLDER",
    "DOWNLOAD_NOTE",
    "MOST_DEPTH",
    "MOST_ENTRIES",
    "check_unsigned",
    "combined_digest",
    "digest_folder",
    "is_download_note",
    "sha256_file",
    "walk_files",
]

BUNDLE_FOLDER = "deepsigns"
"""Folder inside a model that holds the bundles; not part of what they sign."""

CACHE_FOLDER = "__pycache__"
"""Where Python keeps byte code, beside each folder of sources."""

DOWNLOAD_NOTE = "registered_model_meta"
"""File that MLflow adds to a download from the registry; not part of the stored version."""

MOST_DEPTH, MOST_ENTRIES = 64, 1_000_000
"""Most folders inside each other, and most files and folders, that a model is made of."""

# Two entries of YAML, each a plain or quoted name or number; a long one is folded into lines.
_VALUE = rb"[^\x00-\x1f\x7f!&*|>\[{%@`#][^\x00-\x1f\x7f]*(?:\n {2}[^\x00-\x1f\x7f]*)*"
_NOTE = re.compile(rb"model_name: " + _VALUE + rb"\nmodel_version: " + _VALUE + rb"\n?")
_MOST_NOTE = 4096


def sha256_file(path: Path) -> str:
    """SHA-256 of a regular file in hex.

    Raises:
        NotFoundError: There is no such file.
        TamperedError: It is a symbolic link or a special file.
        CouldNotCheckError: It cannot be read.

    Examples:
        >>> from deepsigns_registry.attestation.scratch import scratch_folder
        >>> with scratch_folder() as folder:
        ...     written = (folder / "empty").write_bytes(b"")
        ...     sha256_file(folder / "empty")
        'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'
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
        TamperedError: It holds a symbolic link, a special file, a name that is not plain
            UTF-8 text, or more or deeper folders than any model.
        CouldNotCheckError: Something cannot be read.

    Examples:
        >>> from deepsigns_registry.attestation.scratch import scratch_folder
        >>> with scratch_folder() as folder:
        ...     written = (folder / "MLmodel").write_text("flavors: {}")
        ...     list(digest_folder(folder))
        ['MLmodel']
    """
    if folder.is_symlink() or not folder.is_dir():
        raise NotFoundError(f"{folder}: no such model folder")
    digests = {name: sha256_file(path) for name, path in walk_files(folder) if path is not None}
    return dict(sorted(digests.items(), key=lambda item: item[0].encode()))


def check_unsigned(folder: Path) -> None:
    """Sees that a model folder holds nothing that no digest shows.

    Args:
        folder: The model.

    Raises:
        TamperedError: It holds an empty folder that is no cache of byte code, or a
            `registered_model_meta` that is not the note that MLflow writes.
        CouldNotCheckError: Something cannot be read.

    Examples:
        >>> from deepsigns_registry.attestation.scratch import scratch_folder
        >>> with scratch_folder() as folder:
        ...     (folder / "empty").mkdir()
        ...     check_unsigned(folder)
        Traceback (most recent call last):
        deepsigns_registry.errors.TamperedError: ... holds the empty folder 'empty/', ...
    """
    # Python makes this one before it writes into it.
    empty = [
        name
        for name, path in walk_files(folder)
        if path is None and PurePosixPath(name).name != CACHE_FOLDER
    ]
    if empty:
        raise TamperedError(
            f"{folder}: holds the empty folder {min(empty)!a}, which no signature is about",
            advice="do not use these files; fetch them again",
        )
    note = folder / DOWNLOAD_NOTE
    if os.path.lexists(note) and not note.is_dir() and not is_download_note(note):
        raise TamperedError(
            f"{note}: is not the note that MLflow adds to a download, and is not signed",
            advice="do not use these files; fetch them again",
        )


def is_download_note(path: Path) -> bool:
    """Whether a file says no more than MLflow's note on a download: a model and its version.

    Raises:
        NotFoundError: There is no such file.
        TamperedError: It is a symbolic link or a special file.
        CouldNotCheckError: It cannot be read.
    """
    with open_regular(path) as stream:
        try:
            return _NOTE.fullmatch(stream.read(_MOST_NOTE)) is not None
        except OSError as error:
            raise CouldNotCheckError(f"{path}: cannot be read: {error.strerror}") from None


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


def walk_files(top: Path) -> Iterator[tuple[str, Path | None]]:
    """Every file of a model folder, in no order; goes into folders without calling itself.

    Args:
        top: The model; its `deepsigns/` and MLflow's `registered_model_meta`, both at the top
            only, are left out.

    Yields:
        POSIX path relative to `top`, and the file; of an empty folder its path, and None.

    Raises:
        TamperedError: It holds a symbolic link, a special file, a name that is not plain
            UTF-8 text, or more or deeper folders than any model.
        CouldNotCheckError: A folder cannot be read.

    Examples:
        >>> from deepsigns_registry.attestation.scratch import scratch_folder
        >>> with scratch_folder() as folder:
        ...     (folder / "data").mkdir()
        ...     written = (folder / "data" / "model.pt2").write_bytes(b"")
        ...     [name for name, path in walk_files(folder)]
        ['data/model.pt2']
    """
    waiting = [("", top)]
    seen = 0
    while waiting:
        prefix, folder = waiting.pop()
        if prefix.count("/") > MOST_DEPTH:
            raise TamperedError(
                f"{top}: holds folders inside each other, more than {MOST_DEPTH} deep",
                advice="no model does; store its files in fewer folders",
            )
        try:
            with os.scandir(folder) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except OSError as error:
            raise CouldNotCheckError(f"{folder}: cannot be read: {error.strerror}") from None
        seen += len(entries)
        if seen > MOST_ENTRIES:
            raise TamperedError(f"{top}: holds more than {MOST_ENTRIES} files and folders")
        if prefix and not entries:
            yield prefix, None
        for entry in entries:
            name = prefix + entry.name
            if _is_folder(entry, folder):
                if name != BUNDLE_FOLDER:
                    waiting.append((name + "/", folder / entry.name))
            elif name != DOWNLOAD_NOTE:
                yield name, folder / entry.name


def _is_folder(entry: "os.DirEntry[str]", folder: Path) -> bool:
    """Whether it is a folder, and not a file.

    Raises:
        TamperedError: It is neither, or its name is not plain.
    """
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
        return True
    if not entry.is_file(follow_symlinks=False):
        raise TamperedError(f"{folder / entry.name}: is a special file, not data")
    return False


def _plain(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return name.isprintable() and "\\" not in name
