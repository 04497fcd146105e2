"""What a version says of itself, read from a folder that anybody may have written."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from deepsigns_registry.retraining.fitness import Described

SPEC = '[{"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 3]}}]'


def folder(path: Path, *, inputs: object = SPEC, name: object = "input_example.json") -> Path:
    content = {
        "signature": {"inputs": inputs},
        "saved_input_example_info": {"artifact_path": name, "type": "ndarray"},
    }
    (path / "MLmodel").write_text(yaml.safe_dump(content))
    (path / "input_example.json").write_text("[[0.5, 1, 2], [3, 4, 5]]")
    return path


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_version_logged_by_mlflow(tmp_path: Path) -> None:
    import mlflow
    from torch import nn

    example = np.random.default_rng(0).standard_normal((4, 1, 3)).astype(np.float32)
    net = nn.Sequential(nn.Flatten(), nn.Linear(3, 2)).eval()
    mlflow.pytorch.save_model(net, tmp_path / "m", input_example=example)
    described = Described.of(tmp_path / "m", {"accuracy": 0.9, "broken": float("nan")})
    assert described.example is not None
    assert np.array_equal(described.example, example)
    assert described.shape == (1, 3)
    assert described.dtype == "float32"
    assert described.metrics == {"accuracy": 0.9}


def test_a_folder_of_other_files_says_nothing(tmp_path: Path) -> None:
    assert Described.of(tmp_path) == Described()


def test_a_free_length_is_none(tmp_path: Path) -> None:
    spec = SPEC.replace("[-1, 3]", "[-1, -1, 3]")
    assert Described.of(folder(tmp_path, inputs=spec)).shape == (None, 3)


@pytest.mark.parametrize(
    "inputs", [None, 3, "[", "[]", "[1]", '[{"tensor-spec": {"shape": "x"}}]', "[" * 100_000]
)
def test_an_odd_signature_says_nothing(tmp_path: Path, inputs: object) -> None:
    described = Described.of(folder(tmp_path, inputs=inputs))
    assert described.shape == ()
    assert described.example is not None


@pytest.mark.parametrize("name", ["../input_example.json", "/etc/passwd", "", None, [1], ".."])
def test_an_example_outside_the_folder_is_not_read(tmp_path: Path, name: object) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    folder(tmp_path)
    assert Described.of(folder(inner, name=name)).example is None


@pytest.mark.parametrize(
    "content",
    ["", "{", '"text"', "[]", "[1, 2]", '[["a"]]', "[[1], [1, 2]]", "[[NaN]]", "[[1e999]]", "{}"],
)
def test_an_example_of_no_numbers_is_none(tmp_path: Path, content: str) -> None:
    made = folder(tmp_path)
    (made / "input_example.json").write_text(content)
    assert Described.of(made).example is None


def test_a_split_table_is_read(tmp_path: Path) -> None:
    made = folder(tmp_path)
    (made / "input_example.json").write_text(json.dumps({"columns": ["a"], "data": [[1], [2]]}))
    example = Described.of(made).example
    assert example is not None
    assert example.tolist() == [[1], [2]]


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    made = folder(tmp_path)
    (tmp_path / "elsewhere").write_text("[[1, 2, 3]]")
    (made / "input_example.json").unlink()
    (made / "input_example.json").symlink_to(tmp_path / "elsewhere")
    assert Described.of(made).example is None


def test_aliases_that_grow_are_not_expanded(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x]"] + [f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 60)]
    (tmp_path / "MLmodel").write_text("\n".join(lines))
    assert Described.of(tmp_path) == Described()
