"""Real data for the demo: scikit-learn's digits, or the four IDX files of Fashion-MNIST."""

import gzip
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deepsigns_registry.errors import ConfigurationError, DataError, NotFoundError
from deepsigns_registry.watermark.data import LabelledData, TrainingData

__all__ = ["DATA_SETS", "load_demo_data", "read_idx", "write_npz"]

DATA_SETS = ("digits", "fashion-mnist")
_TEST_SHARE = 5
_IDX_UBYTE = 0x08


def load_demo_data(name: str, folder: Path | None = None) -> TrainingData:
    """Loads one of `DATA_SETS`.

    Args:
        name: `digits` (1,437 training and 360 test images of 8 x 8 that scikit-learn ships,
            from the UCI repository), or `fashion-mnist` (60,000 and 10,000 of 28 x 28).
        folder: Where the four IDX files of Fashion-MNIST are, plain or gzipped.

    Returns:
        Images as float32 [samples, 1, side, side] in [0, 1].

    Raises:
        ConfigurationError: The folder is missing, or the name is unknown.
        NotFoundError: A file is missing.
        DataError: A file is no IDX file.
    """
    if name == "digits":
        return _digits()
    if name != "fashion-mnist":
        raise ConfigurationError(f"data set '{name}' is unknown", advice=", ".join(DATA_SETS))
    if folder is None:
        raise ConfigurationError(
            "fashion-mnist needs --data-dir",
            advice="install Debian's package dataset-fashion-mnist and name its folder",
        )
    train, test = (
        LabelledData(
            inputs=_images(read_idx(_file(folder, f"{part}-images-idx3-ubyte"))),
            labels=read_idx(_file(folder, f"{part}-labels-idx1-ubyte")).astype(np.int64),
        )
        for part in ("train", "t10k")
    )
    return TrainingData(train=train, validation=test, classes=10).validated()


def _digits() -> TrainingData:
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))
    inputs = (images[order] / 16).astype(np.float32).reshape(-1, 1, 8, 8)
    classes = labels[order].astype(np.int64)
    test = len(labels) // _TEST_SHARE + 1
    return TrainingData(
        train=LabelledData(inputs[test:], classes[test:]),
        validation=LabelledData(inputs[:test], classes[:test]),
        classes=10,
    ).validated()


def _images(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    return (pixels / np.float32(255)).astype(np.float32)[:, None]


def _file(folder: Path, name: str) -> Path:
    for candidate in (folder / name, folder / f"{name}.gz"):
        if candidate.is_file():
            return candidate
    raise NotFoundError(
        f"{folder / name}: no such file, and no {name}.gz",
        advice="name the folder of the four Fashion-MNIST files with --data-dir",
    )


def read_idx(path: Path) -> NDArray[np.uint8]:
    """Reads an IDX file of unsigned bytes, plain or gzipped.

    Source: the format's description at the MNIST database: two zero bytes, a type code, the
    rank, the sizes as big-endian 32-bit integers, then the values in C order.

    Raises:
        DataError: It is no such file.

    Examples:
        >>> import tempfile
        >>> with tempfile.NamedTemporaryFile() as file:
        ...     written = file.write(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 8, 9]))
        ...     file.flush()
        ...     read_idx(Path(file.name)).tolist()
        [7, 8, 9]
    """
    try:
        raw = path.read_bytes()
        content = gzip.decompress(raw) if path.suffix == ".gz" else raw
        zeros, code, rank = struct.unpack_from(">HBB", content)
        sizes = struct.unpack_from(f">{rank}I", content, 4)
        values = np.frombuffer(content, dtype=np.uint8, offset=4 + 4 * rank)
        shaped = values.reshape(sizes)
    except (OSError, EOFError, ValueError, struct.error, zlib.error) as error:
        raise DataError(
            f"{path}: cannot be read as IDX: {error}", advice="fetch the file again"
        ) from None
    if zeros or code != _IDX_UBYTE:
        raise DataError(f"{path}: no IDX file of unsigned bytes", advice="fetch the file again")
    return shaped


def write_npz(data: TrainingData, path: Path) -> None:
    """Writes data in the form that `[models.<name>] data` reads."""
    np.savez_compressed(
        path,
        x_train=data.train.inputs,
        y_train=data.train.labels,
        x_validation=data.validation.inputs,
        y_validation=data.validation.labels,
    )
