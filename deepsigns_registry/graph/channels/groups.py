"""Groups of channels as a union-find, and axes as runs of channels."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, Flag, auto

__all__ = ["Axis", "Freedom", "Groups", "Member", "Part", "Role"]


class Freedom(Flag):
    """What may be done to a group while the model's function stays the same.

    Attributes:
        MOVE: Its channels may change places.
        SCALE: A channel may be multiplied by a positive factor on its way.
        DUPLICATE: A channel may stand there twice, or one may be added that nobody reads.
        RESIZE: The number of its channels is in no constant that cannot be found.
    """

    MOVE = auto()
    SCALE = auto()
    DUPLICATE = auto()
    RESIZE = auto()


ALL = Freedom.MOVE | Freedom.SCALE | Freedom.DUPLICATE | Freedom.RESIZE


@dataclass(frozen=True)
class Part:
    """Consecutive positions of an axis that hold one group.

    Attributes:
        group: Number of the group.
        block: Consecutive positions of each channel; more than one after a feature map was
            flattened.
    """

    group: int
    block: int = 1


Axis = tuple[Part, ...]


class Role(Enum):
    """What a weight does to the channels along one of its axes.

    Attributes:
        PRODUCES: Computes them: rows, biases, embeddings.
        CONSUMES: Reads them: columns.
        OFFSETS: A mean or a shift of a normalisation; in the channels' own unit.
        VARIES: A variance; in the channels' unit squared.
        FOLLOWS: Without a unit: slopes, depthwise kernels, gains.
    """

    PRODUCES = auto()
    CONSUMES = auto()
    OFFSETS = auto()
    VARIES = auto()
    FOLLOWS = auto()


@dataclass(frozen=True)
class Member:
    """One axis of one weight that holds channels.

    Attributes:
        weight: Name of the initializer.
        axis: Its axis.
        parts: The groups along that axis.
        role: What the weight does to them.
    """

    weight: str
    axis: int
    parts: Axis
    role: Role


class Groups:
    """Sizes and freedoms of groups that are found to be the same one by one.

    Examples:
        >>> groups = Groups()
        >>> one, other = groups.fresh(3), groups.fresh(3)
        >>> groups.forbid(one, Freedom.SCALE)
        >>> groups.tie(one, other)
        >>> Freedom.SCALE in groups.freedom(other[0].group)
        False
        >>> groups.is_free(other)
        True
    """

    def __init__(self) -> None:
        self._parents: list[int] = []
        self._sizes: list[int] = []
        self._freedoms: list[Freedom] = []

    def fresh(self, size: int, *, fixed: bool = False) -> Axis:
        """An axis with a new group; one of a single channel is always fixed."""
        self._parents.append(len(self._parents))
        self._sizes.append(size)
        self._freedoms.append(Freedom(0) if fixed or size < 2 else ALL)
        return (Part(len(self._parents) - 1),)

    def root(self, group: int) -> int:
        """The number that stands for a group and all it was tied to."""
        while self._parents[group] != group:
            self._parents[group] = self._parents[self._parents[group]]
            group = self._parents[group]
        return group

    def size(self, group: int) -> int:
        """Channels of a group."""
        return self._sizes[self.root(group)]

    def freedom(self, group: int) -> Freedom:
        """What may be done to a group."""
        return self._freedoms[self.root(group)]

    def extent(self, axis: Axis) -> int:
        """Positions of an axis."""
        return sum(self.size(part.group) * part.block for part in axis)

    def is_free(self, axis: Axis) -> bool:
        """Whether any channel along an axis may move."""
        return any(Freedom.MOVE in self.freedom(part.group) for part in axis)

    def forbid(self, axis: Axis, what: Freedom) -> None:
        """Takes a freedom from every group along an axis."""
        for part in axis:
            self._freedoms[self.root(part.group)] &= ~what

    def fix(self, axes: Iterable[Axis]) -> None:
        """Takes every freedom from the groups along some axes."""
        for axis in axes:
            self.forbid(axis, ALL)

    def tie(self, one: Axis, other: Axis) -> None:
        """Notes that two axes hold the same channels; fixes both when they do not match."""
        if self._shape(one) != self._shape(other):
            self.fix((one, other))
            return
        for first, second in zip(one, other, strict=True):
            self._unite(first.group, second.group)

    def resolved(self, axis: Axis) -> Axis:
        """The axis with the numbers that stand for its groups."""
        return tuple(Part(self.root(part.group), part.block) for part in axis)

    def _shape(self, axis: Axis) -> list[tuple[int, int]]:
        return [(self.size(part.group), part.block) for part in axis]

    def _unite(self, one: int, other: int) -> None:
        first, second = self.root(one), self.root(other)
        self._parents[second] = first
        self._freedoms[first] &= self._freedoms[second]
