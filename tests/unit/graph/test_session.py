import gc
import json
import subprocess
import tempfile
from collections.abc import Callable
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper

from deepsigns_registry.errors import CouldNotCheckError
from deepsigns_registry.graph.limits import Limits
from deepsigns_registry.graph.session import OnnxSuspect
from deepsigns_registry.quiet import OPTED_OUT
from tests.support.patience import HANG

Build = Callable[..., ModelProto]
Vectors = NDArray[np.float32]

SMALL = Limits(memory_bytes=2**30, seconds=HANG, result_bytes=2**24)


def write(path: Path, model: ModelProto) -> Path:
    path.write_bytes(model.SerializeToString())
    return path


def endless() -> list[NodeProto]:
    """Loops are refused before; this one is merely long: 200 products of 18 GFLOP each."""
    nodes = [helper.make_node("RandomNormal", [], ["r"], shape=[2000, 2000])]
    names = ["r", *(f"t{index}" for index in range(200))]
    nodes += [
        helper.make_node("MatMul", [name, "r"], [following]) for name, following in pairwise(names)
    ]
    nodes.append(helper.make_node("ReduceMax", [names[-1]], ["m"], keepdims=0))
    return [*nodes, helper.make_node("Add", ["input", "m"], ["output"])]


@pytest.fixture
def private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where private folders are made; empty after each run."""
    folder = tmp_path / "private"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def rooms(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands of the rooms that are opened."""
    started: list[list[str]] = []
    popen = subprocess.Popen

    def counted(command: list[str], **options: Any) -> "subprocess.Popen[bytes]":
        started.append(command)
        return popen(command, **options)

    monkeypatch.setattr("subprocess.Popen", counted)
    return started


def test_outputs_and_tap_of_a_batch(tmp_path: Path, build: Build, private: Path) -> None:
    nodes = [
        helper.make_node("Relu", ["input"], ["h"]),
        helper.make_node("MatMul", ["h", "w"], ["output"]),
    ]
    weight = np.arange(12, dtype=np.float32).reshape(4, 3)
    path = write(tmp_path / "model.onnx", build(nodes, {"w": weight}))
    inputs = np.random.default_rng(0).normal(size=(300, 4)).astype(np.float32)
    with OnnxSuspect(path, limits=SMALL) as suspect:
        outputs, activation = suspect.run(inputs, tap="h")
        assert activation is not None
        np.testing.assert_array_equal(activation, np.maximum(inputs, 0))
        np.testing.assert_allclose(outputs, np.maximum(inputs, 0) @ weight, rtol=1e-5, atol=1e-5)
        assert "CPUExecutionProvider" in suspect.providers
        plain, nothing = suspect.run(inputs, tap=None)
        np.testing.assert_array_equal(plain, outputs)
        assert nothing is None
    assert not list(private.iterdir())


def test_a_suspect_that_is_forgotten_leaves_nothing(relu_file: Path, private: Path) -> None:
    OnnxSuspect(relu_file).run(np.ones((2, 4), np.float32), tap=None)
    gc.collect()
    assert not list(private.iterdir())


def test_all_readings_of_a_file_have_one_room(relu_file: Path, rooms: list[list[str]]) -> None:
    with OnnxSuspect(relu_file) as suspect:
        for tap in (None, "output", None):
            for number in (1, 2):
                inputs = np.full((3, 4), number, np.float32)
                np.testing.assert_array_equal(suspect.run(inputs, tap=tap)[0], inputs)
    assert len(rooms) == 1


def test_all_readings_of_a_file_have_one_deadline(tmp_path: Path, build: Build) -> None:
    path = write(tmp_path / "long.onnx", build(endless()))
    suspect = OnnxSuspect(path, limits=Limits(memory_bytes=2**31, seconds=1))
    for _ in range(2):
        with pytest.raises(CouldNotCheckError, match="was stopped after 1 seconds"):
            suspect.run(np.ones((2, 4), np.float32), tap=None)
    assert suspect.providers == ()


def test_forms_are_read_within_the_same_deadline(
    relu_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A clock on which a minute passes between two looks at it.
    passed = count(step=60)
    monkeypatch.setattr("time.monotonic", lambda: float(next(passed)))
    suspect = OnnxSuspect(relu_file, limits=Limits(seconds=30))
    assert [network.rewritten for network in suspect.networks()] == [False]
    with pytest.raises(CouldNotCheckError, match="was stopped after 30 seconds"):
        suspect.run(np.ones((2, 4), np.float32), tap=None)


def test_a_file_that_was_stopped_is_not_run_again(
    tmp_path: Path, build: Build, rooms: list[list[str]]
) -> None:
    # How large the constant is depends on the input: only running it shows that.
    nodes = [
        helper.make_node("ReduceMax", ["input"], ["largest"], keepdims=0),
        helper.make_node("Cast", ["largest"], ["whole"], to=TensorProto.INT64),
        helper.make_node("Mul", ["whole", "many"], ["extent"]),
        helper.make_node("Reshape", ["extent", "one"], ["shape"]),
        helper.make_node("ConstantOfShape", ["shape"], ["h"]),
        helper.make_node("ReduceMax", ["h"], ["m"], keepdims=0),
        helper.make_node("Add", ["input", "m"], ["output"]),
    ]
    constants = {"many": np.array(2**29, np.int64), "one": np.array([1], np.int64)}
    path = write(tmp_path / "late.onnx", build(nodes, constants))
    suspect = OnnxSuspect(path, limits=Limits(resident_bytes=2**28))
    for _ in range(3):
        with pytest.raises(CouldNotCheckError, match="used more than 256 MiB of memory"):
            suspect.run(np.ones((2, 4), np.float32), tap=None)
    assert len(rooms) == 1


def test_an_unknown_tap_gives_no_activation(relu_file: Path) -> None:
    outputs, activation = OnnxSuspect(relu_file).run(np.ones((2, 4), np.float32), tap="nope")
    assert outputs.shape == (2, 4)
    assert activation is None


def test_the_output_itself_may_be_the_tap(relu_file: Path) -> None:
    outputs, activation = OnnxSuspect(relu_file).run(-np.ones((2, 4), np.float32), tap="output")
    np.testing.assert_array_equal(outputs, activation)


@pytest.mark.parametrize(
    ("extents", "expected"),
    [
        ([2, 3, 4], lambda x: x.reshape(-1, 3, 4).mean(axis=1)),
        ([2, 3, 2, 2], lambda x: x.reshape(-1, 3, 4).mean(axis=2)),
    ],
    ids=["tokens", "feature map"],
)
def test_a_tap_is_pooled(
    tmp_path: Path, build: Build, extents: list[int], expected: Callable[[Vectors], Vectors]
) -> None:
    nodes = [
        helper.make_node("Reshape", ["input", "shape"], ["h"]),
        helper.make_node("Flatten", ["h"], ["output"]),
    ]
    shape = np.array([-1, *extents[1:]], np.int64)
    model = build(nodes, {"shape": shape}, extents=["batch", 12])
    path = write(tmp_path / "model.onnx", model)
    inputs = np.random.default_rng(0).normal(size=(5, 12)).astype(np.float32)
    _, activation = OnnxSuspect(path).run(inputs, tap="h")
    assert activation is not None
    np.testing.assert_allclose(activation, expected(inputs), rtol=1e-6)


def test_a_tap_without_the_batch_is_no_activation(tmp_path: Path, build: Build) -> None:
    nodes = [
        helper.make_node("Relu", ["input"], ["output"]),
        helper.make_node("ReduceSum", ["output"], ["total"], keepdims=0),
    ]
    path = write(tmp_path / "model.onnx", build(nodes))
    assert OnnxSuspect(path).run(np.ones((3, 4), np.float32), tap="total")[1] is None


def test_a_fixed_batch_and_half_precision_are_served(tmp_path: Path, build: Build) -> None:
    model = build([helper.make_node("Relu", ["input"], ["output"])], extents=[2, 4])
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT16
    path = write(tmp_path / "model.onnx", model)
    inputs = np.array([[1, -1, 2, 0.5]] * 5, np.float32)
    outputs, activation = OnnxSuspect(path).run(inputs, tap="output")
    np.testing.assert_array_equal(outputs, np.maximum(inputs, 0))
    np.testing.assert_array_equal(activation, outputs)


def test_inputs_that_do_not_fit_are_one_clear_line(relu_file: Path) -> None:
    with pytest.raises(CouldNotCheckError, match=r"relu\.onnx: onnxruntime") as caught:
        OnnxSuspect(relu_file).run(np.ones((2, 3, 4), np.float32), tap=None)
    assert "\n" not in str(caught.value)
    assert tempfile.gettempdir() + "/deepsigns" not in str(caught.value)


def test_two_inputs_are_refused(tmp_path: Path, build: Build) -> None:
    model = build([helper.make_node("Add", ["input", "second"], ["output"])])
    model.graph.input.append(helper.make_tensor_value_info("second", TensorProto.FLOAT, [4]))
    path = write(tmp_path / "model.onnx", model)
    with pytest.raises(CouldNotCheckError, match="exactly one float input"):
        OnnxSuspect(path).run(np.ones((2, 4), np.float32), tap=None)


def test_a_graph_that_doubles_a_tensor_is_not_begun(
    tmp_path: Path, build: Build, private: Path
) -> None:
    names = ["input", *(f"t{index}" for index in range(30))]
    nodes = [
        helper.make_node("Concat", [name, name], [following], axis=1)
        for name, following in pairwise(names)
    ]
    nodes.append(helper.make_node("Relu", [names[-1]], ["output"]))
    path = write(tmp_path / "bomb.onnx", build(nodes))
    with (
        pytest.raises(CouldNotCheckError, match=r"would hold 32,768 MiB at once") as caught,
        OnnxSuspect(path, limits=SMALL) as suspect,
    ):
        suspect.run(np.ones((2, 4), np.float32), tap=None)
    assert "memory_mib" in caught.value.advice
    assert not list(private.iterdir())


def test_a_huge_constant_is_not_made(tmp_path: Path, build: Build) -> None:
    nodes = [
        helper.make_node("ConstantOfShape", ["shape"], ["h"]),
        helper.make_node("ReduceMax", ["h"], ["m"], keepdims=0),
        helper.make_node("Add", ["input", "m"], ["output"]),
    ]
    path = write(tmp_path / "huge.onnx", build(nodes, {"shape": np.array([2**33], np.int64)}))
    with pytest.raises(CouldNotCheckError, match=r"huge.onnx: would hold 32,768 MiB at once"):
        OnnxSuspect(path, limits=SMALL).run(np.ones((2, 4), np.float32), tap=None)


def test_sizes_that_nobody_infers_end_at_the_memory_limit(tmp_path: Path, build: Build) -> None:
    nodes = [
        helper.make_node("RandomNormal", [], ["r"], shape=[2**16]),
        helper.make_node("Unique", ["r"], ["u"]),
        helper.make_node("Unsqueeze", ["u", "axis"], ["row"]),
        helper.make_node("Unsqueeze", ["u", "other"], ["column"]),
        helper.make_node("Mul", ["row", "column"], ["h"]),
        helper.make_node("ReduceMax", ["h"], ["m"], keepdims=0),
        helper.make_node("Add", ["input", "m"], ["output"]),
    ]
    axes = {"axis": np.array([0], np.int64), "other": np.array([1], np.int64)}
    path = write(tmp_path / "square.onnx", build(nodes, axes))
    with pytest.raises(CouldNotCheckError, match=r"square.onnx: onnxruntime"):
        OnnxSuspect(path, limits=SMALL).run(np.ones((2, 4), np.float32), tap=None)


def test_a_graph_without_end_is_stopped_by_the_clock(
    tmp_path: Path, build: Build, private: Path
) -> None:
    path = write(tmp_path / "long.onnx", build(endless()))
    limits = Limits(memory_bytes=2**31, seconds=1)
    with pytest.raises(CouldNotCheckError, match="was stopped after 1 seconds"):
        OnnxSuspect(path, limits=limits).run(np.ones((2, 4), np.float32), tap=None)
    assert not list(private.iterdir())


def test_results_cannot_fill_the_disk(tmp_path: Path, build: Build) -> None:
    nodes = [
        helper.make_node("Expand", ["input", "shape"], ["h"]),
        helper.make_node("Flatten", ["h"], ["output"]),
    ]
    model = build(nodes, {"shape": np.array([2000, 1, 4], np.int64)}, extents=["batch", 1, 4])
    path = write(tmp_path / "wide.onnx", model)
    with pytest.raises(CouldNotCheckError, match="wide"):
        OnnxSuspect(path, limits=Limits(result_bytes=1000)).run(
            np.ones((2000, 1, 4), np.float32), tap=None
        )


def test_nothing_is_said_on_a_machine_without_an_accelerator(
    relu_file: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    OnnxSuspect(relu_file, providers="auto").run(np.ones((2, 4), np.float32), tap=None)
    assert capfd.readouterr() == ("", "")


def test_the_process_sees_neither_our_environment_nor_our_packages(
    relu_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # In place of the real child, one that tells what it sees.
    child = tmp_path / "child.py"
    child.write_text(
        "import json, os, sys\n"
        "from deepsigns_registry.sandbox import channel\n"
        "seen = {'isolated': sys.flags.isolated, 'folder': os.listdir(), **os.environ}\n"
        "channel.serve(lambda request: {'error': json.dumps(seen)})\n"
    )
    monkeypatch.setattr("deepsigns_registry.graph.running._CHILD", child)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(CouldNotCheckError) as caught:
        OnnxSuspect(relu_file).run(np.ones((2, 4), np.float32), tap=None)
    seen = json.loads(caught.value.message.partition("onnxruntime: ")[2])
    assert seen.pop("isolated") == 1
    assert set(seen.pop("folder")) <= {"inputs.npy", "model.onnx", "sizes.onnx"}
    expected = {"HOME", "LANG", "LC_CTYPE", "LD_LIBRARY_PATH", "OMP_NUM_THREADS", *OPTED_OUT}
    expected |= {"CUDA_VISIBLE_DEVICES", "OPENBLAS_NUM_THREADS", "TMPDIR"}
    assert set(seen) <= expected | {"DEEPSIGNS_ROOM_ANSWERS"}


@pytest.mark.parametrize("script", ["import os; os.abort()", "pass", "import sys; sys.exit(7)"])
def test_a_process_that_ends_without_an_answer_is_reported(
    relu_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    child = tmp_path / "child.py"
    child.write_text(script)
    monkeypatch.setattr("deepsigns_registry.graph.running._CHILD", child)
    with pytest.raises(CouldNotCheckError, match=r"ended with (SIGABRT|exit code [07])"):
        OnnxSuspect(relu_file).run(np.ones((2, 4), np.float32), tap=None)


@pytest.mark.parametrize(
    "result", ["b'no array'", "b''", "np.zeros((3, 4), 'f')", "np.zeros(2, 'f')"]
)
def test_a_result_that_is_none_is_reported(
    relu_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, result: str
) -> None:
    child = tmp_path / "child.py"
    child.write_text(
        "import numpy as np\n"
        "from deepsigns_registry.sandbox import channel\n"
        "def answer(request):\n"
        f"    result = {result}\n"
        "    if isinstance(result, bytes): open('outputs.npy', 'wb').write(result)\n"
        "    else: np.save('outputs.npy', result)\n"
        "    return {'providers': []}\n"
        "channel.serve(answer)\n"
    )
    monkeypatch.setattr("deepsigns_registry.graph.running._CHILD", child)
    with pytest.raises(CouldNotCheckError, match="result"):
        OnnxSuspect(relu_file).run(np.ones((2, 4), np.float32), tap=None)
