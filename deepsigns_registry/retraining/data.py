"""The owner's data, from where `data` in `[models.<name>]` says.

Three forms: `package.module:function`, which returns `(train, validation)` with a pair
`(inputs, labels)` each; a `.npz` file with `x_train`, `y_train`, `x_validation`, `y_validation`;
a `.parquet` file with the columns `split` (`train` or `validation`), `label` and one numeric
column a feature.

The labels of a classifier are whole numbers, those of a regressor numbers: one a sample or a row
of them, in a parquet file in one column `label` or in several, `label_...`. An embedding model
needs no labels: its function returns the inputs alone, `(train, validation)`; a file may leave
them out.
"""

import hashlib
import importlib
import sys
import tokenize
import zipfile
import zlib
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from deepsigns_registry.config import Settings
from deepsigns_registry.engine.jobs import JobProgress
from deepsigns_registry.engine.local import LocalEngine
from deepsigns_registry.errors import ConfigurationError, DataError, NotFoundError
from deepsigns_registry.watermark.data import LabelledData, Task, TrainingData
from deepsigns_registry.watermark.manifest import Manifest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

__all__ = ["data_digest", "find_function", "load_apart", "load_training_data"]

_SPLITS = ("train", "validation")
# What numpy raises on headers that are no header; it reads them with Python's own parser.
_ODD_ARRAYS = (
    ValueError,
    OSError,
    EOFError,
    SyntaxError,
    TypeError,
    ArithmeticError,
    RecursionError,
    MemoryError,
    zipfile.BadZipFile,
    zlib.error,
    tokenize.TokenError,
)
_DIGEST_DOMAIN = b"deepsigns-registry/training-data/v0\n"


def load_training_data(
    settings: Settings, model: str, *, classes: int | None = None
) -> TrainingData:
    """Loads and checks the data of one model.

    Args:
        settings: The settings; relative paths start at their file.
        model: Name of the `[models.<name>]` section.
        classes: Number of the model's outputs; by default what the labels tell: the largest
            label + 1, the number of targets, and for an embedding model nothing, 0.

    Returns:
        Data that passed every check of `TrainingData.validated`.

    Raises:
        ConfigurationError: There is no such section, or the reference has an unknown form.
        NotFoundError: The module, function or file does not exist.
        DataError: The loader failed, or its data cannot be used.
    """
    reference, task = settings.model(model).data, settings.model(model).task
    if reference.endswith(".npz"):
        splits = _from_npz(settings.file(reference), task)
    elif reference.endswith(".parquet"):
        splits = _from_parquet(settings.file(reference), task)
    elif all(reference.partition(":")):
        splits = _from_function(reference, settings.base, task)
    else:
        raise ConfigurationError(
            f"{settings.path}: models.{model}.data: '{reference}' is no data source",
            advice="give module:function, or a path that ends in .npz or .parquet",
        )
    parts = [_split(name, *pair, task) for name, pair in zip(_SPLITS, splits, strict=True)]
    if classes is None:
        classes = _outputs(parts)
    return TrainingData(train=parts[0], validation=parts[1], classes=classes).validated()


def load_apart(settings: Settings, model: str) -> TrainingData:
    """Loads the same where this process holds secrets: a function runs in one that does not.

    Raises:
        DeepSignsError: See `load_training_data`.
    """
    if settings.model(model).data.endswith((".npz", ".parquet")):
        return load_training_data(settings, model)
    engine = LocalEngine(hidden=settings.secrets)
    (data,) = engine.run(_loaded, [{"config": settings, "model": model}])
    return data


def _loaded(*, progress: JobProgress, config: Settings, model: str) -> TrainingData:
    progress(0.0, "loading the training data")
    return load_training_data(config, model)


def data_digest(data: TrainingData) -> str:
    """Names the owner's data: other samples, other labels or another split give another digest.

    The order of the samples within a split does not count, as a loader may shuffle.

    Args:
        data: For any task; the targets of a regressor count, every one of them.

    Returns:
        SHA-256, hexadecimal.

    Examples:
        >>> split = LabelledData(np.eye(3, dtype=np.float32), np.array([0, 1, 2]))
        >>> turned = LabelledData(split.inputs[::-1], split.labels[::-1])
        >>> digests = {data_digest(TrainingData(train, split, 3)) for train in (split, turned)}
        >>> len(digests)
        1
    """
    whole = hashlib.sha256(_DIGEST_DOMAIN)
    whole.update(data.task.encode() + b"\n")
    for split in (data.train, data.validation):
        labels = np.ascontiguousarray(split.labels, split.labels.dtype.newbyteorder("<"))
        rows = labels.reshape(len(split), -1)
        whole.update(f"{rows.dtype.str} {len(rows)} {rows.shape[1]}\n".encode())
        samples = Manifest.of(split).digests
        # Both parts of a leaf have one length throughout a split, so that they need no separator.
        leaves = [
            hashlib.sha256(sample.tobytes() + row.tobytes()).digest()
            for sample, row in zip(samples, rows, strict=True)
        ]
        whole.update(b"".join(sorted(leaves)))
    return whole.hexdigest()


_Pair = tuple[Any, Any]


def _outputs(parts: list[LabelledData]) -> int:
    """How many outputs these labels are for; an embedding model's do not tell."""
    if parts[0].task == "classification":
        return 1 + max(int(part.labels.max(initial=-1)) for part in parts)
    return int(parts[0].labels.shape[1])


def _split(name: str, inputs: Any, labels: Any, task: Task) -> LabelledData:
    try:
        given = np.asarray(inputs)
        if given.dtype.kind not in "biufO":
            raise TypeError(f"samples of type {given.dtype}")  # noqa: TRY301 - one answer for all
        samples = np.ascontiguousarray(given, dtype=np.float32)
        targets = np.asarray(labels)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(
            f"{name}: not an array of numbers: {error}", advice="give numpy arrays"
        ) from None
    if not samples.ndim or not (targets.ndim or task == "embedding"):
        raise DataError(
            f"{name}: a single number instead of samples", advice="give arrays of several samples"
        )
    if task == "embedding":
        return LabelledData.without_labels(samples)
    if task == "regression":
        return LabelledData(samples, _targets(name, targets))
    if not np.issubdtype(targets.dtype, np.integer):
        kind = {"f": "fractional numbers", "U": "text", "S": "text", "O": "objects", "b": "truths"}
        said = f"{name}: labels are {kind.get(targets.dtype.kind, str(targets.dtype))}"
        if targets.ndim != 1:
            said += f" of shape {targets.shape}"
        raise DataError(
            f"{said}, and a classifier needs the number of each sample's class, from 0",
            advice="give one integer a sample; in one-hot rows it is the place of the one; for the "
            'targets of a regressor set task = "regression"',
        )
    return LabelledData(inputs=samples, labels=targets.astype(np.int64))


def _targets(name: str, labels: "NDArray[Any]") -> "NDArray[np.float32]":
    """The targets of a regressor: float32 [samples, targets]."""
    if labels.dtype.kind not in "iuf" or labels.ndim not in {1, 2} or not labels.size:
        raise DataError(
            f"{name}: targets of type {labels.dtype} and shape {labels.shape}",
            advice="give one number for each sample, or a row of numbers",
        )
    return np.ascontiguousarray(labels.reshape(len(labels), -1), dtype=np.float32)


def _from_npz(path: Path, task: Task) -> tuple[_Pair, _Pair]:
    _check_regular(path)
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            if task == "embedding":
                return (arrays["x_train"], None), (arrays["x_validation"], None)
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
    except _ODD_ARRAYS as error:
        raise DataError(
            f"{path}: cannot be read: {error}", advice="write it with numpy.savez"
        ) from None


def _from_parquet(path: Path, task: Task) -> tuple[_Pair, _Pair]:
    import pandas as pd

    _check_regular(path)
    try:
        frame = pd.read_parquet(path)
    except FileNotFoundError:
        raise _missing(path) from None
    except (ValueError, OSError) as error:
        raise DataError(f"{path}: cannot be read: {error}", advice="write a parquet file") from None
    labels = [name for name in frame.columns if _is_label(str(name), task)]
    lacking = [] if "split" in frame.columns else ["split"]
    if not labels and task != "embedding":
        lacking.append("label")
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
    features = frame.columns.drop(["split", *labels])

    def part(name: str) -> _Pair:
        rows = frame[frame["split"] == name]
        targets = rows[labels].to_numpy()
        return rows[features].to_numpy(), targets[:, 0] if len(labels) == 1 else targets

    return part("train"), part("validation")


def _is_label(column: str, task: Task) -> bool:
    return column == "label" or (task == "regression" and column.startswith("label_"))


def _from_function(reference: str, base: Path, task: Task) -> tuple[_Pair, _Pair]:
    function = find_function(reference, base)
    try:
        returned = function()
    except DataError:
        raise
    except BaseException as error:  # noqa: BLE001 - a loader may end the process, too
        raise _failed(reference, error) from None
    try:
        if task == "embedding":
            train, validation = returned
            return (train, None), (validation, None)
        (x_train, y_train), (x_validation, y_validation) = returned
    except (TypeError, ValueError):
        what, wanted = "pairs", "(x_train, y_train), (x_validation, y_validation)"
        if task == "embedding":
            what, wanted = "arrays", "x_train, x_validation"
        raise DataError(
            f"{reference}: does not return two {what}", advice=f"return {wanted}"
        ) from None
    return (x_train, y_train), (x_validation, y_validation)


def _failed(reference: str, error: BaseException) -> DataError:
    return DataError(
        f"{reference}: the loader failed: {type(error).__name__}: {error}",
        advice="run the function by itself",
    )


def find_function(reference: str, base: Path) -> Callable[[], Any]:
    """Imports a module of the owner's, and finds the function in it that loads the data.

    Args:
        reference: `package.module:function`.
        base: Folder in which modules are found besides.

    Raises:
        NotFoundError: There is no such module, or no such function in it.
        DataError: The module raises while it is imported.
    """
    module_name, _, function_name = reference.partition(":")
    with _importable(base):
        try:
            module = importlib.import_module(module_name)
        except ImportError as error:
            raise NotFoundError(
                f"{reference}: the module cannot be imported: {error}",
                advice="install it, or put it beside deepsigns.toml",
            ) from None
        except BaseException as error:  # noqa: BLE001 - so may a module that is imported
            raise _failed(reference, error) from None
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


def _check_regular(path: Path) -> None:
    # Opening a pipe would wait for whoever writes to it.
    if path.exists() and not path.is_file():
        raise DataError(f"{path}: is no file", advice="name a .npz or .parquet file")


def _missing(path: Path) -> NotFoundError:
    return NotFoundError(f"{path}: no such file", advice="check data in the [models] section")
