"""A network as alignment sees it: layers with rows of weight, and which channels they share.

A *group* is a set of channels that are the same everywhere: those that one layer computes and
others read, or that several add to, as in the stream of a residual network. A *blueprint* is what
is kept of the unmarked parent, in the sealed record and in evidence: of each row of weight its
norm and a sketch of its direction.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from deepsigns_registry.watermark.expand import DOMAIN, Stream, encode

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["SKETCH", "Blueprint", "Layer", "Network", "Part", "Tensor", "sketched"]

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]

# Cosines of unrelated directions are about 1 / sqrt(256) = 0.06; those of a marked and a parent's
# row are above 0.5.
SKETCH = 256
_MOST_ROWS, _WIDEST = 200_000, 8192
_ROWS_AT_ONCE = 512
_PUBLIC = hashlib.sha256(encode(DOMAIN, b"sketch")).digest()


@dataclass(frozen=True, repr=False)
class Layer:
    """One layer with a weight.

    Attributes:
        weight: float32 [channels it computes, columns]; the columns of one channel that it reads
            stand together.
        source: The groups it reads, in the order of the columns; empty when its columns cannot
            move, as at the network's input.
        target: The group it computes.
    """

    weight: Floats
    source: tuple[int, ...]
    target: int


@dataclass(frozen=True)
class Tensor:
    """A hidden tensor that may be the tap.

    Attributes:
        name: Its name.
        channels: The groups along its channels.
        after: Number of layers in front of it.
    """

    name: str
    channels: tuple[int, ...]
    after: int


@dataclass(frozen=True, repr=False)
class Network:
    """A model's layers, in the order in which they run.

    Attributes:
        layers: All layers with a weight that the output depends on.
        tensors: The hidden tensors whose channels are known, in the order of the graph.
        sole: Names of all tensors that everything is known to pass on its way to the output.
        rewritten: Whether it is a normal form of what the model computes, and not the model's own.
        partial: Whether the model may answer past it, for some inputs or at another output: then
            what it does not show says nothing.
    """

    layers: tuple[Layer, ...]
    tensors: tuple[Tensor, ...]
    sole: frozenset[str] = frozenset()
    rewritten: bool = False
    partial: bool = False


@dataclass(frozen=True, repr=False, eq=False)
class Part:
    """One layer of a blueprint.

    Attributes:
        rows: float16 [channels, SKETCH], directions.
        norms: float32 [channels], lengths.
        columns: Number of the weight's columns.
        source: The groups it reads; see `Layer`.
        target: The group it computes.
    """

    rows: NDArray[np.float16]
    norms: Floats
    columns: int
    source: tuple[int, ...]
    target: int


@dataclass(frozen=True, repr=False, eq=False)
class Blueprint:
    """What alignment knows of the unmarked parent; empty when nothing is known.

    Attributes:
        rows: float16 [all channels, sketch], unit rows of all layers' weights, sketched.
        norms: float32 [all channels], lengths of the rows, not negative.
        layers: int64 [layers, 3 + sources]: channels and columns (both at least 1) and target of
            each layer, and the groups it reads, filled with -1.
        tap: int64 [groups], the groups of channels at the tap.
        depth: int64 [1], how many of the layers stand in front of the tap; empty for all.
    """

    rows: NDArray[np.float16]
    norms: Floats
    layers: Integers
    tap: Integers
    depth: Integers = field(default_factory=lambda: np.zeros(0, np.int64))

    ARRAYS: ClassVar[tuple[str, ...]] = ("rows", "norms", "layers", "tap")
    MAY_LACK: ClassVar[tuple[str, ...]] = ("depth",)

    def __post_init__(self) -> None:
        """Checks that the arrays fit together.

        Raises:
            ValueError: They do not.
        """
        total = len(self.norms)
        if (
            self.rows.shape != (total, SKETCH)
            or self.norms.shape != (total,)
            or self.layers.ndim != 2
            or self.layers.shape[1] < 3
            or self.tap.ndim != 1
            or self.depth.shape not in {(0,), (1,)}
            or total > _MOST_ROWS
        ):
            raise ValueError("a blueprint of another shape")
        groups = np.concatenate([self.layers[:, 2:].reshape(-1), self.tap])
        if (
            (self.layers[:, :2] < 1).any()
            or (self.layers[:, 2] < 0).any()
            or (groups < -1).any()
            or (self.layers[:, 0] > _WIDEST).any()
            or int(self.layers[:, 0].sum()) != total
            or not np.isfinite(self.rows).all()
            or not np.isfinite(self.norms).all()
            or (self.norms < 0).any()
            or (self.depth < 0).any()
            or (self.depth > len(self.layers)).any()
        ):
            raise ValueError("a blueprint that describes no network")

    @classmethod
    def empty(cls) -> "Blueprint":
        """The blueprint of a parent that nothing is known of."""
        return cls(
            np.zeros((0, SKETCH), np.float16),
            np.zeros(0, np.float32),
            np.zeros((0, 3), np.int64),
            np.zeros(0, np.int64),
        )

    @classmethod
    def of(cls, network: Network, tap: str) -> "Blueprint":
        """The blueprint of the unmarked parent; of a very large one up to its tap.

        Args:
            network: The parent's.
            tap: Name of the tap's tensor.

        Returns:
            The blueprint; empty when the tap's channels are not known, or there are too many.
        """
        found = next((tensor for tensor in network.tensors if tensor.name == tap), None)
        if found is None or not _fits(network.layers[: found.after]):
            return cls.empty()
        whole = _fits(network.layers)
        layers = network.layers if whole else network.layers[: found.after]
        most = max(len(layer.source) for layer in layers)
        table = [
            [
                *(*layer.weight.shape, layer.target),
                *(*layer.source, *[-1] * (most - len(layer.source))),
            ]
            for layer in layers
        ]
        sketches = [sketched(layer.weight) for layer in layers]
        return cls(
            np.concatenate([rows for rows, _ in sketches]).astype(np.float16),
            np.concatenate([norms for _, norms in sketches]),
            np.array(table, np.int64),
            np.array(found.channels, np.int64),
            np.array([found.after] if found.after < len(layers) else [], np.int64),
        )

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.generic]]) -> "Blueprint":
        """The blueprint of these arrays, of unknown origin.

        Raises:
            KeyError: One is missing.
            TypeError: One is of another type.
            ValueError: They do not fit together.
        """
        return cls(
            arrays["rows"].astype(np.float16, casting="safe"),
            arrays["norms"].astype(np.float32, casting="safe"),
            arrays["layers"].astype(np.int64, casting="safe"),
            arrays["tap"].astype(np.int64, casting="safe"),
            arrays.get("depth", np.zeros(0, np.int64)).astype(np.int64, casting="safe"),
        )

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """The arrays by name; without the depth where it says nothing."""
        names = (*self.ARRAYS, *(self.MAY_LACK if len(self.depth) else ()))
        return {name: getattr(self, name) for name in names}

    def before_tap(self) -> int:
        """How many layers stand in front of the tap."""
        return int(self.depth[0]) if len(self.depth) else len(self.layers)

    def parts(self) -> tuple["Part", ...]:
        """The layers one by one."""
        ends = np.cumsum(self.layers[:, 0])
        return tuple(
            Part(
                rows=self.rows[end - count : end],
                norms=self.norms[end - count : end],
                columns=int(columns),
                source=tuple(int(group) for group in source if group >= 0),
                target=int(target),
            )
            for end, (count, columns, target, *source) in zip(ends, self.layers, strict=True)
        )

    def __bool__(self) -> bool:
        return len(self.tap) > 0

    def digest(self) -> bytes:
        """SHA-256 of its content."""
        parts: list[bytes] = []
        for name, array in self.arrays().items():
            little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
            parts += [name.encode(), str(array.shape).encode(), little.tobytes()]
        return hashlib.sha256(encode(*parts)).digest()


def _fits(layers: Sequence[Layer]) -> bool:
    rows = [len(layer.weight) for layer in layers]
    return bool(rows) and sum(rows) <= _MOST_ROWS and max(rows) <= _WIDEST


def sketched(weight: Floats) -> tuple[Floats, Floats]:
    """Directions and lengths of rows.

    More columns than `SKETCH` are added up into so many buckets, with signs, both public and the
    same for everybody (count sketch; Charikar, Chen, Farach-Colton 2002): angles stay what they
    are up to about 1 / sqrt(SKETCH).

    Args:
        weight: float32 [rows, columns]. Rows that hold NaN or infinity count as zero.

    Returns:
        float32 [rows, SKETCH] of length one or zero, and float32 [rows], the lengths of the
        rows before.

    Examples:
        >>> directions, lengths = sketched(np.array([[3, 4], [0, 0]], np.float32))
        >>> lengths.tolist()
        [5.0, 0.0]
    """
    columns = weight.shape[1]
    mixing = _mixing(columns)
    units, norms = np.zeros((len(weight), SKETCH)), np.zeros(len(weight))
    for start in range(0, len(weight), _ROWS_AT_ONCE):
        chunk = weight[start : start + _ROWS_AT_ONCE].astype(np.float64)
        chunk[~np.isfinite(chunk).all(axis=1)] = 0
        sketch = (mixing @ chunk.T).T
        lengths = np.linalg.norm(sketch, axis=1, keepdims=True)
        stop = start + len(chunk)
        np.divide(sketch, lengths, out=units[start:stop], where=lengths > 0)
        norms[start:stop] = np.linalg.norm(chunk, axis=1)
    return units.astype(np.float32), norms.astype(np.float32)


def _mixing(columns: int) -> "csr_array":
    """Which bucket each column is added to, and with which sign: [SKETCH, columns]."""
    from scipy.sparse import csr_array

    if columns <= SKETCH:
        return csr_array(np.eye(SKETCH, columns))
    stream = Stream(_PUBLIC, f"columns/{columns}")
    buckets = stream.integers(columns, SKETCH)
    signs = 2.0 * stream.bits(columns) - 1
    return csr_array((signs, (buckets, np.arange(columns))), shape=(SKETCH, columns))
