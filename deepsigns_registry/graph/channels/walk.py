"""What is known while a graph is walked from its input to its output."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from deepsigns_registry.graph.channels.groups import Axis, Groups, Member, Role

__all__ = ["WIDTH", "Count", "Normalisation", "Rule", "Walk", "attribute"]

Shape = tuple[int, ...]
WIDTH = -1


@dataclass(frozen=True)
class Count:
    """A place that holds a number of channels.

    Attributes:
        holder: Name of an integer initializer; with position `WIDTH`, the result of a
            depthwise convolution, whose attribute `group` it is.
        position: Place in the initializer.
        parts: The groups it counts the positions of.
    """

    holder: str
    position: int
    parts: Axis


@dataclass(frozen=True)
class Normalisation:
    """A batch normalisation, whose gain must be corrected when its variance is scaled.

    Attributes:
        gain: Name of the initializer with the gain.
        variance: Name of the initializer with the running variance.
        epsilon: What is added to the variance.
        parts: The groups along both.
    """

    gain: str
    variance: str
    epsilon: float
    parts: Axis


class Walk:
    """Axes of every tensor seen so far, and the weights found along them.

    Args:
        model: The graph; each initializer has one use.
        shapes: Shape of every tensor at one batch size.

    Attributes:
        groups: The groups.
        members: Axes of weights with the groups along them.
        counts: Places that hold numbers of channels.
        normalisations: Batch normalisations.
        opset: Version of the standard operator set.
    """

    def __init__(self, model: ModelProto, shapes: Mapping[str, Shape]) -> None:
        self.groups = Groups()
        self.members: list[Member] = []
        self.counts: list[Count] = []
        self.normalisations: list[Normalisation] = []
        self.opset = max(
            (entry.version for entry in model.opset_import if entry.domain in {"", "ai.onnx"}),
            default=1,
        )
        self._weights = {tensor.name: tensor for tensor in model.graph.initializer}
        self._shapes = shapes
        self._axes: dict[str, tuple[Axis, ...]] = {}

    def is_weight(self, name: str) -> bool:
        """Whether a tensor is an initializer."""
        return name in self._weights

    def constant(self, name: str) -> NDArray[Any] | None:
        """The value of an initializer; None for another tensor."""
        tensor = self._weights.get(name)
        return None if tensor is None else numpy_helper.to_array(tensor)

    def integers(self, node: NodeProto, place: int, name: str) -> list[int] | None:
        """Integers that are an input, or were an attribute before; None when they are computed.

        Empty when the node has neither.
        """
        if len(node.input) > place and node.input[place]:
            value = self.constant(node.input[place])
            return None if value is None else [int(entry) for entry in value.flatten()]
        return list(attribute(node, name, []))

    def shape(self, name: str) -> Shape:
        """Shape of a tensor or of a weight."""
        if name in self._weights:
            return tuple(self._weights[name].dims)
        return self._shapes[name]

    def axes(self, name: str, role: Role = Role.FOLLOWS) -> tuple[Axis, ...]:
        """Axes of a tensor; a weight's are new groups, in which it has a role."""
        if name in self._weights:
            found = tuple(self.groups.fresh(extent) for extent in self.shape(name))
            for axis, parts in enumerate(found):
                self.join(name, axis, parts, role)
            return found
        return self._axes[name]

    def put(self, name: str, axes: Iterable[Axis]) -> None:
        """Notes the axes of a tensor."""
        self._axes[name] = tuple(axes)

    def opaque(self, shape: Iterable[int]) -> list[Axis]:
        """Axes that hold no channels, or none that may change."""
        return [self.groups.fresh(extent, fixed=True) for extent in shape]

    def join(self, weight: str, axis: int, parts: Axis, role: Role) -> None:
        """Notes that an axis of a weight holds the channels of an axis of a tensor."""
        if (
            self._weights[weight].data_type not in _FLOATS
            or self.groups.extent(parts) != self.shape(weight)[axis]
        ):
            self.groups.fix([parts])
        self.members.append(Member(weight, axis, parts, role))


# The axes of what a node gives, or None when the node is not understood.
Rule = Callable[[Walk, NodeProto], "list[Axis] | None"]

_FLOATS = {TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE}


def attribute(node: NodeProto, name: str, default: Any) -> Any:
    """An attribute's value, or a default.

    Examples:
        >>> node = helper.make_node("LeakyRelu", ["x"], ["y"], alpha=0.5)
        >>> attribute(node, "alpha", 0.01), attribute(node, "beta", None)
        (0.5, None)
    """
    for entry in node.attribute:
        if entry.name == name:
            value: Any = helper.get_attribute_value(entry)
            return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
    return default
