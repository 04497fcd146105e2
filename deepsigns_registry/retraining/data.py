"""The owner's data, from where `data` in `[models.<name>]` says.

Three forms: `package.module:function`, which returns `(train, validation)` with a pair
`(inputs, labels)` each; a `.npz` file with `x_train`, `y_train`, `x_validation`, `y_validation`;
a `.parquet` file with the columns `split` (`train` or `validation`), `label` and one numeric
column a feature.
"""

import importlib
import sys
import zipfile
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from deepsigns_registry.config import Settings
from deepsigns_registry.errors import ConfigurationError, DataError, NotFoundError
from deepsigns_registry.watermark.data import LabelledData, TrainingData

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["load_training_data"]

_SPLITS = ("train", "validation")


def load_training_data(
    settings: Settings, model: str, *, classes: int | None = None
) -> TrainingData:
    """Loads and checks the data of one model.

    Args:
        settings: The settings; relative paths start at their file.
        model: Name of the `[models.<name>]` section.
        classes: Number of classes of the model's output; by default the largest label + 1.

    Returns:
        Data that passed every check of `TrainingData.validated`.

    Raises:
        ConfigurationError: There is no such section, or the reference has an unknown form.
        NotFoundError: The module, function or file does not exist.
        DataError: The loader failed, or its data cannot be used.
    """
    reference = settings.model(model).data
    if reference.endswith(".npz"):
        splits = _from_npz(settings.file(reference))
    elif reference.endswith(".parquet"):
        splits = _from_parquet(settings.file(reference))
    elif ":" in reference:
        splits = _from_function(reference, settings.base)
    else:
        raise ConfigurationError(
            f"{settings.path}: models.{model}.data: '{reference}' is no data source",
            advice="give module:function, or a path that ends in .npz or .parquet",
        )
    train, validation = (_split(name, *pair) for name, pair in zip(_SPLITS, splits, strict=True))
    if classes is None:
        classes = 1 + max(int(part.labels.max(initial=-1)) for part in (train, validation))
    return TrainingData(train=train, validation=validation, classes=classes).validated()


_Pair = tuple[Any, Any]


def _split(name: str, inputs: Any, labels: Any) -> LabelledData:
    try:
        samples = np.ascontiguousarray(inputs, dtype=np.float32)
        classes = np.asarray(labels)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"{name}: not an array of numbers: {error}", advice="give numpy arrays"
        ) from None
    if not np.issubdtype(classes.dtype, np.integer):
        raise DataError(
            f"{name}: labels are {classes.dtype}", advice="give integer class numbers from 0"
        )
    return LabelledData(inputs=samples, labels=classes.astype(np.int64))


def _from_npz(path: Path) -> tuple[_Pair, _Pair]:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return (
                (arrays["x_train"], arrays["y_train"]),
                (arrays["x_validation"], arrays["y_validation"]),
            )
    except FileNotFoundError:
        raise _missing(path) from None
    except KeyError as error:
        raise DataError(
            f"{path}: {error.args[0]}",
            advice="store x_train, y_train, x_validation and y_validation",
        ) from None
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(
            f"{path}: cannot be read: {error}", advice="write it with numpy.savez"
        ) from None


def _from_parquet(path: Path) -> tuple[_Pair, _Pair]:
    import pandas as pd

    try:
        frame = pd.read_parquet(path)
    except FileNotFoundError:
        raise _missing(path) from None
    except (ValueError, OSError) as error:
        raise DataError(f"{path}: cannot be read: {error}", advice="write a parquet file") from None
    lacking = {"split", "label"} - set(frame.columns)
    if lacking:
        raise DataError(
            f"{path}: no column '{min(lacking)}'", advice="add the columns split and label"
        )
    unknown = set(frame["split"]) - set(_SPLITS)
    if unknown:
        raise DataError(
            f"{path}: split '{min(map(str, unknown))}' is unknown",
            advice="use train and validation",
        )
    features = frame.columns.drop(["split", "label"])

    def part(name: str) -> _Pair:
        rows = frame[frame["split"] == name]
        return rows[features].to_numpy(), rows["label"].to_numpy()

    return part("train"), part("validation")


def _from_function(reference: str, base: Path) -> tuple[_Pair, _Pair]:
    function = _function(reference, base)
    try:
        returned = function()
    except DataError:
        raise
    except Exception as error:
        raise DataError(
            f"{reference}: the loader failed: {type(error).__name__}: {error}",
            advice="run the function by itself",
        ) from error
    try:
        (x_train, y_train), (x_validation, y_validation) = returned
    except (TypeError, ValueError):
        raise DataError(
            f"{reference}: does not return two pairs",
            advice="return (x_train, y_train), (x_validation, y_validation)",
        ) from None
    return (x_train, y_train), (x_validation, y_validation)


def _function(reference: str, base: Path) -> Callable[[], Any]:
    module_name, _, function_name = reference.partition(":")
    with _importable(base):
        try:
            module = importlib.import_module(module_name)
        except ImportError as error:
            raise NotFoundError(
                f"{reference}: the module cannot be imported: {error}",
                advice="install it, or put it beside deepsigns.toml",
            ) from None
    function = getattr(module, function_name, None)
    if not callable(function):
        raise NotFoundError(
            f"{reference}: module '{module_name}' has no function '{function_name}'",
            advice="name a function that takes no argument",
        )
    loader: Callable[[], Any] = function
    return loader


@contextmanager
def _importable(folder: Path) -> "Iterator[None]":
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


def _missing(path: Path) -> NotFoundError:
    return NotFoundError(f"{path}: no such file", advice="check data in the [models] section")
