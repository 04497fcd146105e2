"""The owner's data: three forms, and one clear line for everything that is wrong with it."""

import importlib
import os
import sys
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from deepsigns_registry.config import Settings, load_settings
from deepsigns_registry.errors import ConfigurationError, DataError, NotFoundError
from deepsigns_registry.retraining.data import data_digest, load_apart, load_training_data
from deepsigns_registry.watermark.data import LabelledData, TrainingData


def settings_for(folder: Path, reference: str) -> Settings:
    path = folder / "deepsigns.toml"
    path.write_text(f'[models.m]\ndata = "{reference}"\n')
    return load_settings(path)


def arrays(samples: int = 6) -> dict[str, NDArray[np.generic]]:
    inputs = np.arange(samples * 4, dtype=np.float64).reshape(samples, 4)
    labels = np.arange(samples) % 3
    return {
        "x_train": inputs,
        "y_train": labels,
        "x_validation": inputs[:3],
        "y_validation": labels[:3].astype(np.int32),
    }


def stored(folder: Path, **changes: NDArray[np.generic]) -> Settings:
    content: dict[str, NDArray[np.generic]] = arrays() | changes
    np.savez(folder / "data.npz", **content)  # type: ignore[arg-type]
    return settings_for(folder, "data.npz")


def test_an_npz_file_is_read_as_float32_and_int64(tmp_path: Path) -> None:
    data = load_training_data(stored(tmp_path), "m")
    assert data.classes == 3
    assert data.train.inputs.dtype == np.float32
    assert data.validation.labels.dtype == np.int64
    assert len(data.train) == 6


def test_a_parquet_file_is_read(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "split": ["train", "train", "validation"],
            "label": [0, 1, 1],
            "a": [0.5, 1.5, 2.5],
            "b": [1, 2, 3],
        }
    )
    frame.to_parquet(tmp_path / "data.parquet")
    data = load_training_data(settings_for(tmp_path, "data.parquet"), "m")
    assert data.train.inputs.tolist() == [[0.5, 1.0], [1.5, 2.0]]
    assert data.validation.labels.tolist() == [1]


def test_a_function_beside_the_settings_is_called(tmp_path: Path) -> None:
    (tmp_path / "loader_a.py").write_text(
        "import numpy as np\n"
        "def load():\n"
        "    x = np.ones((4, 2)); y = np.array([0, 1, 0, 1])\n"
        "    return (x, y), (x[:2], y[:2])\n"
    )
    data = load_training_data(settings_for(tmp_path, "loader_a:load"), "m")
    assert data.train.inputs.shape == (4, 2)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("def load():\n    raise OSError('disk full')", "the loader failed: OSError: disk full"),
        ("def load():\n    return 1", "does not return two pairs"),
        ("def other():\n    pass", "has no function 'load'"),
    ],
)
def test_a_loader_that_fails_is_named(tmp_path: Path, source: str, message: str) -> None:
    name = f"loader_{abs(hash(source))}"
    (tmp_path / f"{name}.py").write_text(source)
    with pytest.raises((DataError, NotFoundError), match=message):
        load_training_data(settings_for(tmp_path, f"{name}:load"), "m")


def test_a_module_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="the module cannot be imported"):
        load_training_data(settings_for(tmp_path, "no_such_module_here:load"), "m")


def test_nan_is_found_with_its_sample(tmp_path: Path) -> None:
    inputs = np.ones((6, 4))
    inputs[4, 1] = np.nan
    with pytest.raises(DataError, match="train: sample 4 holds NaN or infinity"):
        load_training_data(stored(tmp_path, x_train=inputs), "m")


@pytest.mark.parametrize("label", [-1, 3])
def test_a_label_outside_the_classes_is_found(tmp_path: Path, label: int) -> None:
    labels = np.array([0, 1, 2, 0, 1, label])
    with pytest.raises(DataError, match=f"train: label {label} of sample 5 is outside the 3"):
        load_training_data(stored(tmp_path, y_train=labels), "m", classes=3)


def test_labels_must_be_integers(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"validation: labels are fractional numbers.*one integer a sample"
    ):
        load_training_data(stored(tmp_path, y_validation=np.array([0.0, 1.0, 2.0])), "m")


def test_a_missing_array_is_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", x_train=np.ones((2, 2)))
    with pytest.raises(DataError, match="store x_train, y_train, x_validation and y_validation"):
        load_training_data(settings_for(tmp_path, "data.npz"), "m")


def test_pickled_arrays_are_refused(tmp_path: Path) -> None:
    objects = np.array([{"a": 1}], dtype=object)
    np.savez(tmp_path / "data.npz", **(arrays() | {"x_train": objects}))
    with pytest.raises(DataError, match="cannot be read"):
        load_training_data(settings_for(tmp_path, "data.npz"), "m")


@pytest.mark.parametrize(
    "header",
    [
        b"{'descr': '''\n",
        b"((((\n",
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (%s,), }\n" % (b"9" * 400),
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (999999999999,), }\n",
    ],
)
def test_an_npz_file_with_odd_headers_is_refused(tmp_path: Path, header: bytes) -> None:
    with zipfile.ZipFile(tmp_path / "data.npz", "w") as archive:
        for name in arrays():
            content = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
            archive.writestr(f"{name}.npy", content)
    with pytest.raises(DataError, match="cannot be read"):
        load_training_data(settings_for(tmp_path, "data.npz"), "m")


@pytest.mark.parametrize("name", ["data.npz", "data.parquet"])
def test_data_that_is_a_pipe_does_not_hang(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(DataError, match="is no file"):
        load_training_data(settings_for(tmp_path, name), "m")


def test_a_truncated_npz_file_is_refused(tmp_path: Path) -> None:
    settings = stored(tmp_path)
    path = tmp_path / "data.npz"
    for size in (0, 10, path.stat().st_size // 2):
        path.write_bytes(path.read_bytes()[:size] if size else b"")
        with pytest.raises(DataError, match="cannot be read"):
            load_training_data(settings, "m")


@pytest.mark.parametrize("name", ["data.npz", "data.parquet"])
def test_a_missing_file_and_a_broken_file_are_told_apart(tmp_path: Path, name: str) -> None:
    settings = settings_for(tmp_path, name)
    with pytest.raises(NotFoundError, match="no such file"):
        load_training_data(settings, "m")
    (tmp_path / name).write_bytes(b"not what it seems")
    with pytest.raises(DataError, match="cannot be read"):
        load_training_data(settings, "m")


def test_a_parquet_file_needs_its_columns(tmp_path: Path) -> None:
    pd.DataFrame({"split": ["train"], "a": [1.0]}).to_parquet(tmp_path / "data.parquet")
    with pytest.raises(DataError, match="no column 'label'"):
        load_training_data(settings_for(tmp_path, "data.parquet"), "m")
    frame = pd.DataFrame({"split": ["test"], "label": [0], "a": [1.0]})
    frame.to_parquet(tmp_path / "data.parquet")
    with pytest.raises(DataError, match="split 'test' is unknown"):
        load_training_data(settings_for(tmp_path, "data.parquet"), "m")


def test_an_unknown_form_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"'data\.csv' is no data source"):
        load_training_data(settings_for(tmp_path, "data.csv"), "m")


def labelled(samples: int = 6) -> LabelledData:
    inputs = np.arange(samples * 4, dtype=np.float32).reshape(samples, 4)
    return LabelledData(inputs, np.arange(samples) % 3)


def rated(*targets: float) -> LabelledData:
    labels = np.array([[target, target + 1] for target in targets], dtype=np.float32)
    return LabelledData(np.ones((len(targets), 2), np.float32), labels)


def digest(train: LabelledData, validation: LabelledData) -> str:
    return data_digest(TrainingData(train, validation, 3))


def test_the_digest_of_the_data_is_pinned_as_it_names_markings() -> None:
    assert digest(labelled(), labelled(3)) == (
        "f4ca6e81914a1fd9c20b92959ba85ae21a7cb5d4bb19f36f0dbc17558d7552e2"
    )


def test_the_order_within_a_split_does_not_count() -> None:
    data, order = labelled(), np.array([5, 0, 3, 1, 4, 2])
    shuffled = LabelledData(data.inputs[order], data.labels[order])
    assert digest(shuffled, labelled(3)) == digest(labelled(), labelled(3))


def test_whatever_is_changed_in_the_data_changes_the_digest() -> None:
    data, few = labelled(), labelled(3)
    mended = LabelledData(data.inputs, data.labels[::-1].copy())
    moved = data.inputs.copy()
    moved[5, 3] = np.nextafter(moved[5, 3], np.float32(99))
    reshaped = LabelledData(data.inputs.reshape(6, 2, 2), data.labels)
    doubled = LabelledData(np.concatenate([data.inputs] * 2), np.concatenate([data.labels] * 2))
    without = LabelledData.without_labels(data.inputs)
    variants = [
        (data, few),
        (few, data),
        (data, data),
        (few, few),
        (mended, few),
        (data, LabelledData(few.inputs, few.labels[::-1].copy())),
        (LabelledData(moved, data.labels), few),
        (reshaped, LabelledData(few.inputs.reshape(3, 2, 2), few.labels)),
        (doubled, few),
        (without, LabelledData.without_labels(few.inputs)),
        (rated(1, 2, 3), rated(1, 2)),
        (rated(1, 2, 4), rated(1, 2)),
        (rated(1, 2, 3), rated(1, 3)),
    ]
    assert len({digest(*variant) for variant in variants}) == len(variants)


def test_labels_that_change_places_are_other_data() -> None:
    data = labelled()
    labels = data.labels.copy()
    labels[[0, 1]] = labels[[1, 0]]
    assert digest(LabelledData(data.inputs, labels), data) != digest(data, data)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("raise SystemExit(0)", "broken:load: the loader failed: SystemExit: 0; run the function"),
        ("raise RuntimeError('no')", "the loader failed: RuntimeError: no"),
        ("def load(:", "the loader failed: SyntaxError"),
        ("def load(): raise KeyboardInterrupt", "the loader failed: KeyboardInterrupt"),
        ("def load(): raise ExceptionGroup('two', [ValueError()])", "failed: ExceptionGroup"),
        ("def load(): return (5, 5), (5, 5)", "train: a single number instead of samples"),
        ("def load(): return ([1j], [0]), ([1j], [0])", "samples of type complex128"),
        ("def load(): return (['a'], [0]), (['a'], [0])", "samples of type <U1"),
        ("def load(): return ([[1], [1, 2]], [0]), ([[1]], [0])", "not an array of numbers"),
    ],
)
def test_whatever_a_loader_does_is_said_of_the_loader(
    source: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "broken", raising=False)
    importlib.invalidate_caches()
    (tmp_path / "broken.py").write_text(source)
    with pytest.raises(DataError) as caught:
        load_training_data(settings_for(tmp_path, "broken:load"), "m")
    assert said in str(caught.value)


def test_a_reference_without_a_module_is_no_data_source(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="':load' is no data source"):
        load_training_data(settings_for(tmp_path, ":load"), "m")


def test_columns_of_several_kinds_are_numbers_too(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "split": ["train", "train", "validation"],
            "label": [0, 1, 1],
            "a": [0.5, 1.5, 2.5],
            "b": [True, False, True],
        }
    )
    frame.to_parquet(tmp_path / "data.parquet")
    data = load_training_data(settings_for(tmp_path, "data.parquet"), "m")
    assert data.train.inputs.tolist() == [[0.5, 1.0], [1.5, 0.0]]


def test_a_function_runs_where_keys_are_not(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, "loader_apart:load")
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "worker.pem").write_text("secret")
    (tmp_path / "loader_apart.py").write_text(
        "import numpy as np\n"
        "def load():\n"
        "    try:\n"
        f"        open({str(tmp_path / 'keys' / 'worker.pem')!r}).close()\n"
        "    except PermissionError:\n"
        "        pass\n"
        "    else:\n"
        "        raise RuntimeError('it read the key')\n"
        "    pair = np.zeros((6, 2), np.float32), np.arange(6) % 3\n"
        "    return pair, pair\n".replace(
            "'keys/worker.pem'", repr(str(tmp_path / "keys/worker.pem"))
        )
    )
    data = load_apart(settings, "m")
    assert (len(data.train), data.classes) == (6, 3)
    with pytest.raises(DataError, match="it read the key"):
        load_training_data(settings, "m")
