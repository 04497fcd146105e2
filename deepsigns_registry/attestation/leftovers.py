"""What loading or looking at a signed model leaves beside its files.

What decides is whether it could be executed. Byte code could: it counts as a foreign file unless
it is what this Python compiles the signed source to. Notes of a file manager could not: they are
named, and ignored where the policy names them. Everything else counts.
"""

import hashlib
import re
import shutil
import sys
import warnings
from collections.abc import Collection, Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from threading import Lock
from typing import NamedTuple, get_args

from deepsigns_registry.attestation.digests import CACHE_FOLDER, walk_files
from deepsigns_registry.attestation.files import read_small
from deepsigns_registry.bounded.bytecode import code_digest, compiled_digest
from deepsigns_registry.bounded.unreadable import UnreadableError
from deepsigns_registry.errors import CouldNotCheckError, DeepSignsError
from deepsigns_registry.naming import toml_string
from deepsigns_registry.sections import Note

__all__ = ["Leftovers", "drop_leftovers", "remove", "sort_out"]

_MOST_CACHED = 1_000
_MOST_SOURCE, _MOST_CODE = 4 * 2**20, 32 * 2**20
_COMPILED = re.compile(r"(?P<module>[^.]+)\.(?P<python>[^.]+)(?:\.opt-(?P<level>[12]))?\.pyc")
# What an importer writes before it gives the file its name; nothing reads it.
_UNFINISHED = re.compile(r"[^.]+\.[^.]+(?:\.opt-[12])?\.pyc\.[0-9]+")
_quietly = Lock()


class Leftovers(NamedTuple):
    """Files beside the signed ones.

    Attributes:
        ignored: Path -> why it need not be signed.
        foreign: Path -> what is known of it, to stand behind its name; may be empty.
        advice: What to do about the first foreign one; may be empty.
    """

    ignored: dict[str, str]
    foreign: dict[str, str]
    advice: str = ""


def sort_out(
    folder: Path, added: Iterable[str], signed: Mapping[str, str], notes: Collection[str] = ()
) -> Leftovers:
    """Tells leftovers from files that somebody added.

    Args:
        folder: The model.
        added: POSIX paths, relative to `folder`, of the files that nothing signs.
        signed: Path -> SHA-256 in hex of each file that is signed.
        notes: Names of files that the policy ignores; see `sections.PolicySettings`.

    Examples:
        >>> sort_out(Path("m"), ["data/.DS_Store"], {}, notes=[".DS_Store"]).ignored
        {'data/.DS_Store': 'the policy ignores .DS_Store'}
    """
    ignored: dict[str, str] = {}
    foreign: dict[str, str] = {}
    advice: dict[str, str] = {}
    for number, name in enumerate(sorted(added)):
        path = PurePosixPath(name)
        note = _note(path.name, notes)
        if note is not None:
            ignored[name] = f"the policy ignores {note}"
        elif path.parent.name == CACHE_FOLDER and number < _MOST_CACHED:
            try:
                ignored[name] = _cached(folder, path, signed)
            except UnreadableError as error:
                foreign[name] = f" and {error}"
                advice[name] = f"delete the {CACHE_FOLDER} folders of this version, and look why"
        else:
            foreign[name] = ""
            known = _note(path.name, get_args(Note))
            if known is not None:
                advice[name] = f"delete it, or set ignore = [{toml_string(known)}] under [policy]"
    return Leftovers(ignored, foreign, advice.get(min(foreign, default=""), ""))


def drop_leftovers(folder: Path) -> None:
    """Removes byte code and notes from a private copy of a model that is going to be signed.

    Signed, they would count as changed as soon as Python or a file manager writes them anew.

    Raises:
        TamperedError: The folder holds what no model does.
        CouldNotCheckError: Something cannot be removed.
    """
    try:
        for name, path in list(walk_files(folder)):
            parts = PurePosixPath(name).parts
            if CACHE_FOLDER in parts:
                place = folder.joinpath(*parts[: parts.index(CACHE_FOLDER) + 1])
                if place.is_dir():
                    shutil.rmtree(place)
                else:
                    place.unlink(missing_ok=True)
            elif path is not None and _note(path.name, get_args(Note)):
                path.unlink()
    except OSError as error:
        raise CouldNotCheckError(f"{folder}: cannot be tidied: {error.strerror}") from None


def remove(folder: Path, ignored: Iterable[str]) -> None:
    """Removes what was ignored from a private copy, and the caches that are empty then.

    Raises:
        CouldNotCheckError: Something cannot be removed.
    """
    try:
        for name in ignored:
            (folder / name).unlink()
        for name, path in list(walk_files(folder)):
            if path is None and PurePosixPath(name).name == CACHE_FOLDER:
                (folder / name).rmdir()
    except OSError as error:
        raise CouldNotCheckError(f"{folder}: cannot be tidied: {error.strerror}") from None


def _note(name: str, notes: Iterable[str]) -> str | None:
    return next((note for note in notes if fnmatchcase(name, note)), None)


def _cached(folder: Path, path: PurePosixPath, signed: Mapping[str, str]) -> str:
    """Why a file in a cache of byte code need not be signed.

    Raises:
        UnreadableError: It could be executed, and is not known to be the signed source.
    """
    if _UNFINISHED.fullmatch(path.name):
        return "byte code that was not finished, which nothing reads"
    named = _COMPILED.fullmatch(path.name)
    source = str(path.parent.parent / f"{named['module']}.py") if named else ""
    if named is None or source not in signed:
        raise UnreadableError("is no byte code of a signed source")
    if named["python"] != sys.implementation.cache_tag:
        raise UnreadableError(
            f"is byte code of another Python ({named['python'][:20]}) than this one "
            f"({sys.implementation.cache_tag}), which cannot compare it with its source"
        )
    try:
        found = read_small(folder / path, limit=_MOST_CODE)
        text = read_small(folder / source, limit=_MOST_SOURCE)
    except DeepSignsError:
        raise UnreadableError("is byte code that is too long to be compared") from None
    if hashlib.sha256(text).hexdigest() != signed[source]:
        raise UnreadableError("is byte code of a source that was changed")
    # Only one at a time: the filters of warnings are everybody's.
    with _quietly, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = compiled_digest(text, int(named["level"] or 0))
    if code_digest(found) != expected:
        raise UnreadableError("is byte code of something else than the signed source")
    return "byte code of the signed source"
