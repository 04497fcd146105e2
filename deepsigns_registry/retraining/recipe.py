"""Whether the owner's data is where `data` in `[models.<name>]` says, without loading it."""

import sys
import zipfile
from pathlib import Path

from deepsigns_registry.config import Settings, load_settings
from deepsigns_registry.engine.jobs import JobProgress
from deepsigns_registry.engine.local import LocalEngine
from deepsigns_registry.errors import ConfigurationError, DataError, NotFoundError
from deepsigns_registry.retraining.data import find_function

__all__ = ["find", "find_apart"]

_SECONDS = 60.0


def find(settings: Settings, model: str) -> str:
    """Imports the module that loads the data of a model, or looks into its file's directory.

    Returns:
        What was found, for people.

    Raises:
        ConfigurationError: There is no such section, or the reference has an unknown form.
        NotFoundError: The module, function or file does not exist.
        DataError: The module cannot be imported, or the file is of another kind.
    """
    reference = settings.model(model).data
    if reference.endswith((".npz", ".parquet")):
        return _file(settings.file(reference))
    if not all(reference.partition(":")):
        raise ConfigurationError(
            f"{settings.path}: models.{model}.data: '{reference}' is no data source",
            advice="give module:function, or a path that ends in .npz or .parquet",
        )
    find_function(reference, settings.base)
    return f"{reference} can be imported"


def find_apart(settings: Settings, model: str) -> str:
    """The same where this process holds secrets: foreign code is imported in one that does not.

    Raises:
        CouldNotCheckError: The import did not end in a minute.
        DeepSignsError: See `find`.
    """
    if settings.model(model).data.endswith((".npz", ".parquet")):
        return find(settings, model)
    engine = LocalEngine(hidden=settings.secrets, seconds=_SECONDS)
    (found,) = engine.run(_found, [{"config": settings.path, "model": model}])
    return found


def _found(*, progress: JobProgress, config: Path, model: str) -> str:
    progress(0.0, "importing")
    # Who only looks leaves no byte code beside the owner's source.
    sys.dont_write_bytecode = True
    return find(load_settings(config), model)


def _file(path: Path) -> str:
    try:
        if not path.is_file():
            raise NotFoundError(
                f"{path}: no such file", advice="check data in the [models] section"
            )
        with path.open("rb") as file:
            begins = file.read(4)
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read: {error.strerror}", advice="let this user read it"
        ) from None
    size = f"{path.stat().st_size / 2**20:,.1f} MiB"
    if path.suffix == ".parquet" and begins != b"PAR1":
        raise DataError(f"{path}: is no parquet file", advice="write a parquet file")
    if path.suffix == ".npz" and not zipfile.is_zipfile(path):
        raise DataError(f"{path}: is no .npz file", advice="write it with numpy.savez")
    return f"{path}, {size}, can be read"
