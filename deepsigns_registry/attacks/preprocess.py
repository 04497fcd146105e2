"""Steps that a thief puts before a file's first layer, inside the file."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper, numpy_helper

from deepsigns_registry.attacks.structure import as_file
from deepsigns_registry.errors import CouldNotCheckError
from deepsigns_registry.graph.interpreter import OnnxTappedModel
from deepsigns_registry.watermark.data import LabelledData
from deepsigns_registry.watermark.tapped import TappedModel

__all__ = ["Steps", "preprocessed"]

_LEAST_SIDE = 3

# The exchanges that leave the median of nine values at the fifth place (Paeth, "Median finding on
# a 3x3 grid", Graphics Gems, 1990, as a network): after each the smaller stands at the first
# place.
_EXCHANGES = (
    *((1, 2), (4, 5), (7, 8), (0, 1), (3, 4), (6, 7), (1, 2), (4, 5), (7, 8), (0, 3)),
    *((5, 8), (4, 7), (3, 6), (1, 4), (2, 5), (4, 7), (4, 2), (6, 4), (4, 2)),
)


class Steps:
    """Nodes that are added one by one, each on tensors that are there already.

    Attributes:
        nodes: In the order in which they run.
        constants: By the names that nodes read them under.
    """

    def __init__(self, model: ModelProto) -> None:
        self._taken = {name for node in model.graph.node for name in (*node.input, *node.output)}
        self._taken |= {tensor.name for tensor in model.graph.initializer}
        self._taken |= {entry.name for entry in model.graph.input}
        self._next = 0
        self.nodes: list[NodeProto] = []
        self.constants: dict[str, NDArray[np.generic]] = {}

    def add(self, operator: str, *inputs: str, **attributes: int | str) -> str:
        """Adds a node; gives the name of its only output."""
        name = self._name()
        node = helper.make_node(operator, list(inputs), [name])
        node.attribute.extend(helper.make_attribute(key, attributes[key]) for key in attributes)
        self.nodes.append(node)
        return name

    def constant(self, value: NDArray[np.generic]) -> str:
        """Adds a constant; gives its name."""
        name = self._name()
        self.constants[name] = value
        return name

    def median(self, images: str, height: int, width: int) -> str:
        """The median of the 3 x 3 pixels around each; at the borders, of those that are there.

        Args:
            images: Name of a tensor float [batch, channels, height, width].
            height: Of the images.
            width: Of the images.
        """
        pads = self.constant(np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64))
        padded = self.add("Pad", images, pads, mode="edge")
        axes = self.constant(np.array([2, 3], np.int64))
        windows = [
            self.add(
                "Slice",
                padded,
                self.constant(np.array([row, column], np.int64)),
                self.constant(np.array([row + height, column + width], np.int64)),
                axes,
            )
            for row in range(3)
            for column in range(3)
        ]
        for first, second in _EXCHANGES:
            pair = windows[first], windows[second]
            windows[first], windows[second] = self.add("Min", *pair), self.add("Max", *pair)
        return windows[4]

    def _name(self) -> str:
        while f"p{self._next}" in self._taken:
            self._next += 1
        self._next += 1
        return f"p{self._next - 1}"


def preprocessed(
    model: TappedModel,
    data: LabelledData,
    plan: Callable[[Steps, str, tuple[int, int]], str],
    *,
    attack: str,
) -> OnnxTappedModel:
    """Puts steps before the first layer of a model for images.

    Args:
        model: The model; not changed. One that is no ONNX file is exported first.
        data: Its images: float32 [samples, channels, height, width].
        plan: Adds the steps; given the name of the file's input, and height and width. Gives
            the name of what the model is to read instead.
        attack: Name of the attack, for errors.

    Returns:
        The changed file's view, in evaluation mode, with the same tap.

    Raises:
        CouldNotCheckError: The inputs are no images, or the model cannot be exported.
    """
    if data.inputs.ndim != 4 or min(data.inputs.shape[2:]) < _LEAST_SIDE or not len(data.inputs):
        raise CouldNotCheckError(
            f"attack {attack}: needs images, and the inputs have shape {data.inputs.shape[1:]}",
            advice="leave this attack out for this deployment",
        )
    view = as_file(model, data, attack)
    changed = view.write_back()
    weights = {tensor.name for tensor in changed.graph.initializer}
    (entry,) = (name.name for name in changed.graph.input if name.name not in weights)
    steps = Steps(changed)
    instead = plan(steps, entry, (data.inputs.shape[2], data.inputs.shape[3]))
    nodes = list(changed.graph.node)
    for node in nodes:
        for place, name in enumerate(node.input):
            if name == entry:
                node.input[place] = instead
    # Copied before the list that they stand in is emptied.
    kept = [NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del changed.graph.node[:]
    changed.graph.node.extend([*steps.nodes, *kept])
    changed.graph.initializer.extend(
        numpy_helper.from_array(value, name) for name, value in steps.constants.items()
    )
    return OnnxTappedModel.from_proto(changed, view.tap, where=view.where).eval()
