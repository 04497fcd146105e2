# mypy: allow-untyped-calls
"""What the server says at the request, from the description and the names of the files."""

import json
import os
import shutil
import warnings
from pathlib import Path

import mlflow
import numpy as np
import pytest
import yaml
from mlflow.exceptions import MlflowException
from mlflow_deepsigns.preflight import _described, find_obstacle
from mlflow_deepsigns.store import DeepSignsStore

from deepsigns_registry.registry.transitions import PromotionState


def describe(folder: Path, **changed: object) -> Path:
    """Another description in the folder of a model."""
    described = {"flavors": {"pytorch": {"model_data": "data"}, "python_function": {}}, **changed}
    (folder / "MLmodel").write_text(yaml.safe_dump(described))
    return folder


def tensors(*dtypes: str) -> dict[str, str]:
    specs = [
        {"type": "tensor", "tensor-spec": {"dtype": dtype, "shape": [-1, 8]}} for dtype in dtypes
    ]
    return {"inputs": json.dumps(specs)}


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"flavors": {"sklearn": {}, "python_function": {}}}, "flavours: python_function, sklearn"),
        ({"flavors": {}}, "flavours: none"),
        ({"signature": tensors("float32", "float32")}, "takes 2 inputs"),
        ({"signature": tensors("int64")}, "takes int64 inputs"),
        ({"signature": tensors("bool")}, "takes bool inputs"),
    ],
)
def test_what_is_certain_is_said(unmarked: Path, changed: dict[str, object], reason: str) -> None:
    found = find_obstacle(str(describe(unmarked, **changed)))
    assert found is not None
    assert reason in found.reason
    assert found.advice


@pytest.mark.parametrize(
    "changed",
    [
        {"signature": tensors("float32")},
        {"signature": tensors("float64")},
        {"signature": None},
        {"signature": {"inputs": "no JSON"}},
        {"signature": {"inputs": "[" * 100_000}},
        {"signature": {"inputs": '[{"type": "long", "name": "age"}, {"type": "long"}]'}},
        {"signature": {"inputs": '[{"tensor-spec": 5}]'}},
        {"flavors": {"onnx": {"data": "model.onnx"}}},
        {"flavors": "all"},
        {"flavors": {"pytorch": {"model_data": "../../etc"}}},
        {"flavors": {"pytorch": {"model_data": "/etc"}}},
        {"flavors": {"pytorch": {"model_data": "elsewhere"}}},
    ],
)
def test_what_is_not_certain_is_left_to_the_worker(
    unmarked: Path, changed: dict[str, object]
) -> None:
    assert find_obstacle(str(describe(unmarked, **changed))) is None


HOSTILE = {
    "no UTF-8": b"\xff\xfe\x00",
    "no YAML": b"flavors: [",
    "a Python object": b"flavors: !!python/object/apply:os.system ['exit 1']",
    "deep": b"flavors: " + b"[" * 200_000,
    "deeper in lines": b"\n".join(b" " * level + b"a:" for level in range(400)),
    "aliases": b"a: &a [x, x]\nb: &b [*a, *a]\nflavors: {sklearn: *b}\n",
    "wide": b"flavors: [" + b"1," * 100_000 + b"]",
    "too long": b"flavors: {}\n#" + b"x" * 300_000,
    "a number too long": b"flavors: " + b"9" * 10_000,
    "an odd date": b"flavors: 2026-13-45",
    "an odd key": b"flavors: {[a]: b}\n",
    "nothing": b"",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_description_hurts_nobody(unmarked: Path, name: str) -> None:
    (unmarked / "MLmodel").write_bytes(HOSTILE[name])
    assert find_obstacle(str(unmarked)) is None


def test_a_description_that_is_no_file_is_not_read(unmarked: Path) -> None:
    path = unmarked / "MLmodel"
    path.unlink()
    os.mkfifo(path)
    assert find_obstacle(str(unmarked)) is None
    path.unlink()
    path.symlink_to("/dev/zero")
    assert find_obstacle(str(unmarked)) is None


def test_of_a_remote_version_only_the_description_is_read(unmarked: Path) -> None:
    # MLflow's local repository stands for any other: only the scheme differs.
    with _described(unmarked.as_uri()) as copy:
        assert copy is not None
        sizes = {
            path.relative_to(copy).as_posix(): path.stat().st_size
            for path in copy.rglob("*")
            if path.is_file()
        }
    assert sizes == {"MLmodel": (unmarked / "MLmodel").stat().st_size, "data/model.pt2": 0}
    (unmarked / "MLmodel").write_bytes(b"#" * 300_000)
    with _described(unmarked.as_uri()) as copy:
        assert copy is None


def test_a_folder_that_is_not_there_is_left_to_the_worker(tmp_path: Path) -> None:
    assert find_obstacle(str(tmp_path / "gone")) is None
    assert find_obstacle("s3://no such bucket/model") is None
    assert find_obstacle("runs:/1/model") is None


def test_a_real_pickled_model_is_refused_and_a_real_pt2_model_is_not(tmp_path: Path) -> None:
    import torch

    net = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 3))
    example = np.zeros((4, 8), np.float32)
    for kind in ("pt2", "pickle"):
        with warnings.catch_warnings():
            # MLflow warns of pickles, and of its own use of other packages.
            warnings.simplefilter("ignore")
            mlflow.pytorch.save_model(
                net.eval(),
                str(tmp_path / kind),
                input_example=example,
                serialization_format=kind,
                pip_requirements=["torch"],
            )
    assert find_obstacle(str(tmp_path / "pt2")) is None
    found = find_obstacle((tmp_path / "pickle").as_uri())
    assert found is not None
    assert "pickled" in found.reason


def test_nothing_is_queued_for_what_cannot_be_marked(store: DeepSignsStore, unmarked: Path) -> None:
    describe(unmarked, flavors={"sklearn": {}})
    store.create_registered_model("trees")
    store.create_model_version("trees", str(unmarked))
    wanted = (
        r"^\[deepsigns:refused\] trees/1 has no watermark attestation, alias 'champion' is "
        r"protected, and trees/1 cannot be marked: it is not a PyTorch model \(flavours: "
        r"sklearn\); nothing was queued: log it with mlflow.pytorch.log_model, and register it "
        r"again$"
    )
    with pytest.raises(MlflowException, match=wanted) as caught:
        store.set_registered_model_alias("trees", "champion", "1")
    assert caught.value.error_code == "RESOURCE_CONFLICT"
    assert PromotionState.from_tags(store.get_model_version("trees", "1").tags).requests == {}
    # An alias that nobody protects is nobody's business.
    store.set_registered_model_alias("trees", "challenger", "1")


def test_an_attested_version_is_never_looked_at(store: DeepSignsStore, attested: Path) -> None:
    # A marked version may have flavours of any kind; its signature is what counts.
    shutil.rmtree(attested / "data")
    store.create_registered_model("fraud")
    store.create_model_version("fraud", str(attested))
    with pytest.raises(MlflowException, match=r"\[deepsigns:tampered\]"):
        store.set_registered_model_alias("fraud", "champion", "1")


def test_a_section_that_the_server_does_not_know_is_said_and_queued(
    store: DeepSignsStore, config: Path, unmarked: Path
) -> None:
    store.create_registered_model("fraud")
    store.create_model_version("fraud", str(unmarked))
    with config.open("a") as file:
        file.write('\n[models.other]\ndata = "a:b"\n')
    queued = r"is queued; follow it with: deepsigns status fraud/1"
    note = r" \(the server's settings have no \[models.fraud\]; the worker's must\)$"
    with pytest.raises(MlflowException, match=queued + note):
        store.set_registered_model_alias("fraud", "champion", "1")
    config.write_text(config.read_text().replace("[models.other]", "[models.fraud]"))
    with pytest.raises(MlflowException, match=f"{queued}$"):
        store.set_registered_model_alias("fraud", "champion", "1")
