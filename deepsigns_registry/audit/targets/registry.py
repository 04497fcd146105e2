"""The ONNX file of a registered version: what `models:/name@alias` serves."""

from pathlib import Path

from deepsigns_registry.attestation.digests import walk_files
from deepsigns_registry.attestation.scratch import scratch_folder
from deepsigns_registry.audit.targets import local
from deepsigns_registry.config import Settings
from deepsigns_registry.errors import CouldNotCheckError
from deepsigns_registry.registry.reader import make_reader
from deepsigns_registry.registry.versions import download_version, resolve

__all__ = ["fetch"]


def fetch(settings: Settings, uri: str, copy: Path) -> Path:
    """Downloads the version and keeps its only ONNX file.

    Args:
        settings: For the registry's address.
        uri: `models:/name@alias` or `models:/name/version`.
        copy: The file to make.

    Raises:
        NotFoundError: There is no such model, version or alias.
        TamperedError: The version holds links, special files or folders that no model has.
        CouldNotCheckError: The registry cannot be reached, or the version has no ONNX file.
    """
    client = make_reader(settings.tracking_uri)
    reference = resolve(client, uri)
    with scratch_folder(within=copy.parent) as name:
        folder = name / "version"
        download_version(client, reference, folder)
        found = sorted(path for _, path in walk_files(folder) if path and path.suffix == ".onnx")
        if len(found) != 1:
            which = "no ONNX file" if not found else f"{len(found)} ONNX files"
            raise CouldNotCheckError(
                f"{uri}: the version holds {which}",
                advice="audit a version that the worker has marked",
            )
        return local.fetch(found[0], copy)
