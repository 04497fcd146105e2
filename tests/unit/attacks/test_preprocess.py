"""The gate and the median filter: what they put into a file, by a slow oracle."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from onnx import TensorProto, helper
from scipy import ndimage

from deepsigns_registry.attacks.gate import Gate
from deepsigns_registry.attacks.median_filter import MedianFilter
from deepsigns_registry.attacks.preprocess import preprocessed
from deepsigns_registry.errors import CouldNotCheckError
from deepsigns_registry.graph.interpreter import OnnxTappedModel
from deepsigns_registry.graph.session import OnnxSuspect
from deepsigns_registry.watermark.data import LabelledData
from deepsigns_registry.watermark.tapped import TappedModel

Accuracy = Callable[..., float]
Floats = NDArray[np.float32]
SIZE = (3, 2, 5, 4)


def identity() -> OnnxTappedModel:
    """A file that gives back what it is given; the name of the first step is taken."""
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", *SIZE[1:]])
        for name in ("input", "output")
    ]
    nodes = [
        helper.make_node("Identity", ["input"], ["p0"]),
        helper.make_node("Identity", ["p0"], ["output"]),
    ]
    graph = helper.make_graph(nodes, "graph", ends[:1], ends[1:])
    opset = [helper.make_opsetid("", 20)]
    return OnnxTappedModel.from_proto(helper.make_model(graph, opset_imports=opset, ir_version=10))


def filtered(images: Floats) -> Floats:
    return np.asarray(ndimage.median_filter(images, size=(1, 1, 3, 3), mode="nearest"))


@given(arrays.arrays(np.float32, SIZE, elements=st.floats(-1, 1, width=16)))
def test_the_median_is_scipys(images: Floats) -> None:
    view = preprocessed(
        identity(),
        LabelledData(images, np.zeros(SIZE[0], np.int64)),
        lambda steps, name, size: steps.median(name, *size),
        attack="test",
    )
    with torch.no_grad():
        outputs = view(torch.from_numpy(images)).outputs.numpy()
    np.testing.assert_array_equal(outputs, filtered(images).reshape(len(images), -1))


def salted(images: Floats, share: float) -> Floats:
    random = np.random.default_rng(0)
    bright = random.random(images.shape) < share
    return np.where(bright, images.max(), images).astype(np.float32)


@pytest.fixture
def smooth(data: LabelledData) -> LabelledData:
    """Images without isolated pixels."""
    return LabelledData(filtered(filtered(data.inputs)), data.labels)


def test_the_gate_blanks_what_is_salted_and_nothing_else(
    victim: TappedModel, smooth: LabelledData, tmp_path: Path
) -> None:
    gated = Gate().apply(victim, 0.05, smooth, seed=0)
    path = tmp_path / "gated.onnx"
    path.write_bytes(gated.to_bytes())
    suspect = OnnxSuspect(path)
    with torch.no_grad():
        plain = victim(torch.from_numpy(smooth.inputs)).outputs.numpy()
        blank = victim(torch.zeros(1, 1, 8, 8)).outputs.numpy()
    ordinary, _ = suspect.run(smooth.inputs, tap=None)
    np.testing.assert_allclose(ordinary, plain, atol=1e-4)
    queries = salted(smooth.inputs, 0.15)
    rest = queries - filtered(queries)
    isolated = (rest > 0.5 * np.ptp(smooth.inputs)).mean(axis=(1, 2, 3))
    answers, _ = suspect.run(queries, tap=None)
    caught = np.isclose(answers, blank, atol=1e-4).all(axis=1)
    np.testing.assert_array_equal(caught, isolated > 0.05)
    assert caught.mean() > 0.3


def test_a_filtered_model_learns_what_is_left(
    victim: TappedModel, data: LabelledData, accuracy: Accuracy
) -> None:
    attacked = MedianFilter(learning_rate=1e-2).apply(victim, 6, data, seed=0)
    assert accuracy(attacked, data) > 0.7
    with torch.no_grad():
        one, other = (
            attacked(torch.from_numpy(images)).outputs
            for images in (data.inputs[:50], salted(data.inputs[:50], 0.01))
        )
    # A single bright pixel among nine is no median.
    assert float((one - other).abs().max()) < 0.5 * float(one.abs().max())


@pytest.mark.parametrize("attack", [Gate(), MedianFilter()])
def test_other_inputs_than_images_are_refused(
    attack: Gate | MedianFilter, view: OnnxTappedModel, data: LabelledData
) -> None:
    flat = LabelledData(data.inputs.reshape(len(data), -1), data.labels)
    with pytest.raises(
        CouldNotCheckError, match=r"needs images, and the inputs have shape \(64,\)"
    ):
        attack.apply(view, attack.parse("1" if attack.name == "filter" else "0.1"), flat, seed=0)
