"""The steps of a graph as its rewrites see them: linear maps with their values, and the rest."""

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from numpy.typing import NDArray
from onnx import NodeProto

__all__ = ["Affine", "Diagonal", "Kind", "Opaque", "Step", "Values", "Window"]

# Of one of the floating types of a file; sums are made in float64.
Values = NDArray[Any]


class Kind(Enum):
    """What a linear layer mixes: the rows of a matrix, the last axis of tokens, or channels."""

    DENSE = "dense"
    TOKENS = "tokens"
    CONVOLUTION = "convolution"


@dataclass(frozen=True)
class Window:
    """How a convolution moves, one entry a spatial axis.

    Attributes:
        strides: Steps.
        dilations: Distances of the kernel's entries.
        before: Zeros put in front.
        behind: Zeros put behind.
    """

    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    before: tuple[int, ...]
    behind: tuple[int, ...]

    @classmethod
    def plain(cls, axes: int) -> "Window":
        """The window of a map at each place for itself."""
        return cls((1,) * axes, (1,) * axes, (0,) * axes, (0,) * axes)

    @property
    def padded(self) -> bool:
        """Whether zeros are put around."""
        return any(self.before) or any(self.behind)


@dataclass(frozen=True, repr=False, eq=False)
class Affine:
    """A linear layer with its bias.

    Attributes:
        source: Name of what it reads.
        target: Name of what it gives.
        kind: What it mixes.
        weight: Float [outputs, inputs, *kernel].
        bias: Float [outputs].
        window: How it moves; without axes for what is no convolution.
        origin: The node that is written as it was, while nothing was changed.
    """

    source: str
    target: str
    kind: Kind
    weight: Values
    bias: Values
    window: Window = field(default_factory=lambda: Window.plain(0))
    origin: NodeProto | None = None

    @property
    def pointwise(self) -> bool:
        """Whether each place is mapped for itself."""
        axes = len(self.window.strides)
        return self.window == Window.plain(axes) and all(
            extent == 1 for extent in self.weight.shape[2:]
        )


@dataclass(frozen=True, repr=False, eq=False)
class Diagonal:
    """A factor and a shift of every channel, or of everything.

    Attributes:
        source: Name of what it reads.
        target: Name of what it gives.
        axis: Where the channels are; not used by one factor for everything.
        rank: Number of axes of what it reads.
        factor: Float [channels] or [1].
        shift: Float, as many.
        origin: The node that is written as it was, while nothing was changed.
    """

    source: str
    target: str
    axis: int
    rank: int
    factor: Values
    shift: Values
    origin: NodeProto | None = None

    @property
    def uniform(self) -> bool:
        """Whether it is one factor and one shift for everything."""
        return len(self.factor) == 1


@dataclass(frozen=True, repr=False, eq=False)
class Opaque:
    """Any other node.

    Attributes:
        node: The node.
    """

    node: NodeProto


Step = Affine | Diagonal | Opaque
