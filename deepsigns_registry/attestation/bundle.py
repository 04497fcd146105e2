"""The bundles that travel inside a model folder, and the check of a folder against them."""

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deepsigns_registry.attestation import files
from deepsigns_registry.attestation.digests import (
    BUNDLE_FOLDER,
    check_unsigned,
    combined_digest,
    digest_folder,
)
from deepsigns_registry.attestation.leftovers import sort_out
from deepsigns_registry.attestation.low_s import promises_low_s
from deepsigns_registry.attestation.policy import Policy
from deepsigns_registry.attestation.scratch import scratch_folder
from deepsigns_registry.attestation.signing import FileSigner
from deepsigns_registry.attestation.statement import WatermarkPredicate, parse_watermark
from deepsigns_registry.attestation.verification import verify_model_bundle, verify_statement
from deepsigns_registry.errors import (
    ConfigurationError,
    CouldNotCheckError,
    LeftoverError,
    NotFoundError,
    RefusedError,
    TamperedError,
)

__all__ = [
    "MODEL_BUNDLE",
    "WATERMARK_BUNDLE",
    "Attestation",
    "read_bundle",
    "verify_folder",
    "write_bundles",
]

WATERMARK_BUNDLE = "watermark.sigstore.json"
MODEL_BUNDLE = "model.sigstore.json"


@dataclass(frozen=True)
class Attestation:
    """What a verified model folder says about itself.

    Attributes:
        predicate: The watermark predicate.
        digests: Path -> SHA-256 in hex of every file.
        combined_digest: One digest for all of them.
        bundle: Text of the watermark bundle.
        ignored: Path -> why, of each file beside the signed ones that does not count; see
            `leftovers`. They are not among `digests`.
    """

    predicate: WatermarkPredicate
    digests: dict[str, str]
    combined_digest: str
    bundle: str
    ignored: Mapping[str, str] = field(default_factory=dict)


def write_bundles(folder: Path, statement: Mapping[str, Any], signer: FileSigner) -> None:
    """Signs a finished model folder: both bundles appear together, or neither.

    Args:
        folder: The model; nothing may be written to it afterwards.
        statement: From `statement.watermark_statement`, about exactly these files.
        signer: A key that may sign watermarks.

    Raises:
        ConfigurationError: The folder holds a `deepsigns/` already.
        TamperedError: The statement is not about the files that are there, or a folder is empty.
        CouldNotCheckError: The files cannot be read or the bundles cannot be written.
    """
    place = folder / BUNDLE_FOLDER
    if place.is_symlink() or place.exists():
        raise ConfigurationError(
            f"{place}: exists already", advice="sign a fresh copy of the model without it"
        )
    check_unsigned(folder)
    claimed = {entry["name"]: entry["digest"]["sha256"] for entry in statement["subject"]}
    if _compare(digest_folder(folder), claimed, folder):
        raise CouldNotCheckError(f"{folder}: byte code was written while it was signed")
    text = signer.sign_statement(statement)
    try:
        with scratch_folder(".deepsigns-", within=folder.parent) as scratch:
            draft = scratch / BUNDLE_FOLDER
            draft.mkdir(mode=0o755)
            files.create(draft / WATERMARK_BUNDLE, text.encode(), mode=files.PUBLIC)
            signer.sign_folder(folder, draft / MODEL_BUNDLE)
            draft.rename(place)
        files.sync_folder(folder)
    except OSError as error:
        raise CouldNotCheckError(f"{place}: cannot be written: {error.strerror}") from None


def read_bundle(folder: Path) -> str:
    """Text of a model folder's watermark bundle; verifies nothing.

    Raises:
        NotFoundError: `folder` is not a folder.
        RefusedError: It holds no watermark bundle.
        TamperedError: Something that does not belong there is in its `deepsigns/`.
    """
    if folder.is_symlink() or not folder.is_dir():
        raise NotFoundError(f"{folder}: no such model folder")
    place = folder / BUNDLE_FOLDER
    if place.is_symlink() or (place.exists() and not place.is_dir()):
        raise TamperedError(f"{place}: is not a folder")
    try:
        names = set(os.listdir(place)) if place.exists() else set()  # noqa: PTH208 - as it is
    except OSError as error:
        raise CouldNotCheckError(f"{place}: cannot be read: {error.strerror}") from None
    unlisted = sorted(names - {WATERMARK_BUNDLE, MODEL_BUNDLE})
    if unlisted:
        raise TamperedError(f"{place}: holds {unlisted[0]!a}, which does not belong there")
    if WATERMARK_BUNDLE not in names:
        raise RefusedError(
            f"{folder}: not attested, there is no {BUNDLE_FOLDER}/{WATERMARK_BUNDLE}",
            advice="promote the version, so that the worker marks it: deepsigns promote",
        )
    return _read(place / WATERMARK_BUNDLE)


def verify_folder(folder: Path, policy: Policy) -> Attestation:
    """Verifies both bundles of a model folder against every file in it.

    Args:
        folder: The model, as it will be used; best a private copy (`deepsigns fetch`).
        policy: Trusted keys; those for "watermark" count.

    Raises:
        ConfigurationError: The policy trusts nobody with watermarks.
        NotFoundError: `folder` is not a folder.
        RefusedError: There is no watermark bundle.
        TamperedError: A signature is bad; a file was changed, added or removed, other than what
            `leftovers` ignores; there is a symbolic link, a special file, an empty folder or an
            unsigned file; `deepsigns/` holds anything else than its bundles.
        CouldNotCheckError: Something cannot be read.
    """
    policy.keys_for("watermark")
    bundle = read_bundle(folder)
    place = folder / BUNDLE_FOLDER
    verified = verify_statement(bundle, policy, "watermark", what=str(place / WATERMARK_BUNDLE))
    predicate = parse_watermark(verified.predicate)
    digests = digest_folder(folder)
    check_unsigned(folder)
    leftovers = _compare(digests, verified.subjects, folder, policy.ignore)
    digests = {name: digest for name, digest in digests.items() if name not in leftovers}
    # The same key for both: they were written together, so another key is another hand.
    model_bundle = _read(place / MODEL_BUNDLE)
    verify_model_bundle(
        folder,
        model_bundle,
        verified.key,
        what=str(place / MODEL_BUNDLE),
        either_form=not promises_low_s(verified.predicate),
        ignored=leftovers,
    )
    return Attestation(predicate, digests, combined_digest(digests), bundle, leftovers)


def _read(path: Path) -> str:
    try:
        return files.read_small(path).decode()
    except NotFoundError:
        raise TamperedError(f"{path}: is missing beside the other bundle") from None
    except UnicodeDecodeError:
        raise TamperedError(f"{path}: is not JSON") from None


def _compare(
    actual: Mapping[str, str], claimed: Mapping[str, str], folder: Path, ignore: Sequence[str] = ()
) -> dict[str, str]:
    """Leftovers that do not count, when all else is as it was signed.

    Raises:
        TamperedError: It is not.
    """
    leftovers = sort_out(folder, actual.keys() - claimed.keys(), claimed, ignore)
    if leftovers.foreign and leftovers.advice:
        name = min(leftovers.foreign)
        said = f"{name!a} was added and is not signed{leftovers.foreign[name]}"
        raise LeftoverError(f"{folder}: {said}", advice=leftovers.advice)
    _none(folder, leftovers.foreign, "was added and is not signed")
    _none(folder, claimed.keys() - actual.keys(), "is signed and missing")
    changed = {n for n in actual.keys() & claimed.keys() if actual[n] != claimed[n]}
    _none(folder, changed, "was changed")
    return leftovers.ignored


def _none(folder: Path, names: Collection[str], word: str) -> None:
    if names:
        more = f" ({len(names)} such files)" if len(names) > 1 else ""
        raise TamperedError(
            f"{folder}: {min(names)!a} {word}{more}",
            advice="do not use these files; fetch them again",
        )
