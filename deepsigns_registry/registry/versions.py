# mypy: allow-untyped-calls
"""Versions of registered models: find one, download it, register a marked one beside it."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mlflow.entities.model_registry import ModelVersion

from deepsigns_registry.attestation.digests import DOWNLOAD_NOTE, is_download_note
from deepsigns_registry.attestation.scratch import scratch_folder
from deepsigns_registry.errors import (
    ConfigurationError,
    CouldNotCheckError,
    DeepSignsError,
    NotFoundError,
    TamperedError,
)
from deepsigns_registry.naming import parse_version
from deepsigns_registry.registry.client import translated
from deepsigns_registry.registry.protocol import LINE_TAG, is_reserved
from deepsigns_registry.registry.reader import Reader
from deepsigns_registry.registry.shown import with_line
from deepsigns_registry.registry.unreachable import unreached

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

__all__ = [
    "VersionRef",
    "download_version",
    "is_model",
    "nearest",
    "register_marked",
    "resolve",
]

Progress = Callable[[float, str], None]


@dataclass(frozen=True)
class VersionRef:
    """One version of a registered model, as the registry describes it.

    Attributes:
        name: Registered model.
        version: Its number.
        source: Where it was registered from.
        run_id: The run that made it; may be empty.
        model_id: The logged model behind it; may be empty.
        description: Text for people.
        tags: All of its tags.
        alias: The alias it was found by; may be empty.
    """

    name: str
    version: str
    source: str
    run_id: str
    model_id: str
    description: str
    tags: Mapping[str, str]
    alias: str = ""

    def __str__(self) -> str:
        return f"{self.name}/{self.version}"


def is_model(client: "MlflowClient", name: str) -> bool:
    """Whether a model of this name is registered.

    Raises:
        CouldNotCheckError: The registry does not answer.
    """
    try:
        with translated(name):
            client.get_registered_model(name)
    except NotFoundError:
        return False
    return True


def resolve(client: Reader, uri: str) -> VersionRef:
    """Finds a version by its name.

    Args:
        client: Of the registry.
        uri: `models:/name@alias`, `models:/name/3`, or either without `models:/`.

    Raises:
        ConfigurationError: It is no such name.
        NotFoundError: There is no such model, version or alias.
        CouldNotCheckError: The registry does not answer.
    """
    name, version, alias = parse_version(uri)
    with translated(uri):
        if alias:
            return _ref(client.get_model_version_by_alias(name, alias), alias)
        return _ref(client.get_model_version(name, version))


def download_version(
    client: Reader, ref: VersionRef, out: Path, *, progress: Progress | None = None
) -> Path:
    """Downloads a version's files; they appear at `out` completely, or not at all.

    Args:
        client: Of the registry.
        ref: From `resolve`.
        out: A folder that does not exist yet.
        progress: Called with a fraction and a word.

    Returns:
        `out`.

    Raises:
        ConfigurationError: `out` exists.
        CouldNotCheckError: The files cannot be fetched.
    """
    if out.exists() or out.is_symlink():
        raise ConfigurationError(f"{out}: exists already", advice="name a folder that does not")
    tell = progress or (lambda _fraction, _message: None)
    tell(0.0, f"downloading {ref}")
    try:
        with scratch_folder(".deepsigns-", within=nearest(out)) as scratch:
            folder = scratch / "model"
            folder.mkdir()
            _fetch(client, ref, folder)
            # Anything else of that name is not MLflow's, and is left for whoever verifies.
            with suppress(NotFoundError, TamperedError):
                if is_download_note(folder / DOWNLOAD_NOTE):
                    (folder / DOWNLOAD_NOTE).unlink()
            out.parent.mkdir(parents=True, exist_ok=True)
            folder.rename(out)
    except OSError as error:
        raise CouldNotCheckError(f"{out}: cannot be written: {error.strerror or error}") from None
    tell(1.0, f"downloaded {ref}")
    return out


def register_marked(
    client: "MlflowClient",
    ref: VersionRef,
    folder: Path,
    *,
    tags: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> VersionRef:
    """Registers a marked model as the next version, with what the source version said of itself.

    A new logged model is made for every attempt (see `preflight.new_logged_model`), so that
    nothing is ever written twice to one place; the version is created last, when all files are
    there.

    Args:
        client: Of the registry; a server, not a database.
        ref: The version that was marked; its description, user tags and run are kept.
        folder: The finished and signed model folder.
        tags: More tags for the new version.
        progress: Called with a fraction and a word.

    Raises:
        RefusedError: The registry does not take it.
        CouldNotCheckError: The server does not answer.
    """
    from deepsigns_registry.registry.preflight import new_logged_model

    tell = progress or (lambda _fraction, _message: None)
    with translated(f"a marked version of {ref}"):
        logged = new_logged_model(client, ref)
        try:
            tell(0.1, f"uploading {folder.name}")
            client.log_model_artifacts(logged.model_id, str(folder))
        except BaseException:
            client.finalize_logged_model(logged.model_id, "FAILED")
            raise
        client.finalize_logged_model(logged.model_id, "READY")
        kept = {key: value for key, value in ref.tags.items() if not is_reserved(key)}
        created = client.create_model_version(
            ref.name,
            f"models:/{logged.model_id}",
            run_id=logged.source_run_id or None,
            tags={**kept, **(tags or {})},
            # Our own line there is about the version that was marked.
            description=with_line(ref.description, ref.tags.get(LINE_TAG), None) or None,
            model_id=logged.model_id,
        )
    tell(1.0, f"registered {created.name}/{created.version}")
    return _ref(created)


def nearest(path: Path) -> Path:
    """The closest folder above a path that exists: scratch files go there, to be renamed later.

    Examples:
        >>> nearest(Path("/no-such-folder/model"))
        PosixPath('/')
    """
    return next(parent for parent in path.absolute().parents if parent.is_dir())


def _fetch(client: Reader, ref: VersionRef, folder: Path) -> None:
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    with translated(f"files of {ref}"):
        location = client.get_model_version_download_uri(ref.name, ref.version)
    if location.startswith("mlflow-artifacts:") and not client.tracking_uri.startswith("http"):
        raise CouldNotCheckError(
            f"files of {ref} are served by an MLflow server, and tracking_uri is a database",
            advice="set tracking_uri to the server's http:// address",
        )
    try:
        repository = get_artifact_repository(
            location, tracking_uri=client.tracking_uri, registry_uri=client.tracking_uri
        )
        repository.download_artifacts("", dst_path=str(folder))
    except Exception as error:  # noqa: BLE001 - storage clients raise classes of their own
        raise _unreadable(ref, error) from None
    if not any(folder.iterdir()):
        raise CouldNotCheckError(f"{ref} has no files", advice="look at its artifacts in MLflow")


def _unreadable(ref: VersionRef, error: Exception) -> DeepSignsError:
    on_the_way = unreached(str(error), f"files of {ref}")
    if on_the_way is not None:
        return on_the_way
    first = (str(error).splitlines() or [""])[0][:300]
    return CouldNotCheckError(f"files of {ref} cannot be fetched: {type(error).__name__}: {first}")


def _ref(found: ModelVersion, alias: str = "") -> VersionRef:
    tags = dict(found.tags)
    return VersionRef(
        name=found.name,
        version=str(found.version),
        source=found.source or "",
        run_id=found.run_id or "",
        model_id=found.model_id or _model_id(found.source or ""),
        description=found.description or "",
        tags=tags,
        alias=alias,
    )


def _model_id(source: str) -> str:
    name = source.removeprefix("models:/")
    return name if name != source and "/" not in name and "@" not in name else ""
