"""The demo's data: real digits, and IDX files that are what they claim to be."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from deepsigns_registry.demo.data import load_demo_data, read_idx, write_npz
from deepsigns_registry.errors import ConfigurationError, DataError, NotFoundError


def idx(values: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], code: int = 8) -> bytes:
    head = struct.pack(f">HBB{values.ndim}I", 0, code, values.ndim, *values.shape)
    return head + values.tobytes()


def fashion(folder: Path) -> Path:
    generator = np.random.default_rng(0)
    for part, samples in (("train", 40), ("t10k", 20)):
        images = generator.integers(0, 256, (samples, 28, 28), dtype=np.uint8)
        labels = (np.arange(samples) % 10).astype(np.uint8)
        (folder / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images)))
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(idx(labels))
    return folder


def test_the_digits_are_split_as_the_readme_says() -> None:
    data = load_demo_data("digits")
    assert data.train.inputs.shape == (1437, 1, 8, 8)
    assert data.validation.inputs.shape == (360, 1, 8, 8)
    assert data.train.inputs.min() >= 0
    assert data.train.inputs.max() == 1
    assert set(data.validation.labels) == set(range(10))


def test_fashion_mnist_is_read_from_plain_and_gzipped_files(tmp_path: Path) -> None:
    data = load_demo_data("fashion-mnist", fashion(tmp_path))
    assert data.train.inputs.shape == (40, 1, 28, 28)
    assert data.validation.labels.tolist() == list(range(10)) * 2
    assert data.train.inputs.dtype == np.float32
    assert 0.99 < data.train.inputs.max() <= 1


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"train-images-idx3-ubyte: no such file, and no"):
        load_demo_data("fashion-mnist", tmp_path)


def test_the_folder_is_needed() -> None:
    with pytest.raises(ConfigurationError, match="fashion-mnist needs --data-dir"):
        load_demo_data("fashion-mnist")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00\x00\x08",
        b"\x00\x00\x08\x02\x00\x00\x00\x02\x00\x00\x00\x02abc",
        b"\x00\x01\x08\x01\x00\x00\x00\x01a",
        b"\x00\x00\x0d\x01\x00\x00\x00\x01a",
    ],
)
def test_what_is_no_idx_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(DataError, match="IDX"):
        read_idx(path)


@pytest.mark.parametrize("damage", ["cut", "changed"])
def test_a_damaged_gzip_file_is_refused(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "file.gz"
    pixels = np.random.default_rng(0).integers(0, 256, 4000, dtype=np.uint8)
    content = gzip.compress(idx(pixels))
    middle = len(content) // 2
    changed = content[:20] + b"\xff" * (middle - 20) + content[middle:]
    path.write_bytes(content[:-9] if damage == "cut" else changed)
    with pytest.raises(DataError, match="cannot be read as IDX"):
        read_idx(path)


def test_written_data_is_what_the_settings_read(tmp_path: Path) -> None:
    data = load_demo_data("digits")
    write_npz(data, tmp_path / "data.npz")
    with np.load(tmp_path / "data.npz") as content:
        np.testing.assert_array_equal(content["x_validation"], data.validation.inputs)
        np.testing.assert_array_equal(content["y_train"], data.train.labels)
