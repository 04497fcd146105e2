"""How the neurons of a flattened tap belong together: the positions that one channel has there.

A layer that reads a flattened feature map sees each channel once a position. Whether the
positions of a channel stand beside each other follows from what computed the tap, which is read
on the graph that automatic differentiation records.
"""

from collections.abc import Sequence
from math import prod
from typing import Any, NamedTuple

from deepsigns_registry.watermark.adapters.recorded import LEAF, VIEWS, operator, recorded
from deepsigns_registry.watermark.tapped import TappedModel

__all__ = ["find_blocks"]

# Layers whose neurons are known, with the dimension along which they stand.
_LAYERS = {"Addmm": -1, "Mm": -1, "Linear": -1, "Embedding": -1, "Convolution": 1}
# The same, for operators that keep a layout where one is known already.
_NORMALISATIONS = {"NativeBatchNorm": 1, "NativeGroupNorm": 1, "NativeLayerNorm": -1}
# These put other neurons, or the same in another order, into a result of any shape.
_SHUFFLES = {"Index", "IndexSelect", "Gather", "Flip", "Roll", "Unfold", "Im2Col", "PixelShuffle"}
_ORDERS = {"Permute", "Transpose", "T"}
_PARTS = {"Slice", "Split", "SplitWithSizes", "UnsafeSplit", "Narrow"}
# A recurrence that is written out is deeper than any stack of layers between two weights.
_MOST_DEPTH = 200


class _Layout(NamedTuple):
    """Along which dimension the channels stand, and how many positions each has there."""

    dimension: int
    positions: int


def find_blocks(model: TappedModel, row: Sequence[int]) -> int:
    """Positions that a channel has in a model's pooled tap.

    Args:
        model: The model; run once on two rows of zeros, in evaluation, and left as it was.
        row: Shape of one input.

    Returns:
        See `TappedModel.tap_blocks`.
    """
    run = recorded(model, row)
    if run is None or run.tap is None:
        return 0
    found = _layout(run.tap, {}, _MOST_DEPTH)
    if found is None or found.dimension != 1 or run.shape[1] % found.positions:
        return 0
    return found.positions


def _layout(node: Any, known: dict[Any, _Layout | None], depth: int) -> _Layout | None:
    if node not in known:
        known[node] = None  # stands while the way there is walked
        known[node] = _computed(node, known, depth - 1) if depth else None
    return known[node]


def _computed(node: Any, known: dict[Any, _Layout | None], depth: int) -> _Layout | None:
    kind, shape = operator(node), _shape(node)
    if kind in _LAYERS:
        return _Layout(_LAYERS[kind] % len(shape), 1)
    above = [edge for edge, _ in node.next_functions if edge is not None]
    above = [edge for edge in above if operator(edge) != LEAF]
    above = [_seen_again(node, edge) if kind in VIEWS - _ORDERS else edge for edge in above]
    if kind not in VIEWS and len(shape) == 2 and all(len(_shape(edge)) > 2 for edge in above):
        return _Layout(1, 1)  # positions or steps were averaged, or one of them was taken
    layouts = {_layout(edge, known, depth) for edge in above}
    found = layouts.pop() if len(layouts) == 1 else None
    if found is None and kind in _NORMALISATIONS:
        return _Layout(_NORMALISATIONS[kind] % len(shape), 1)
    if found is None or kind in _SHUFFLES or (kind in _PARTS and found.positions > 1):
        return None
    if kind in VIEWS:
        return _viewed(found, node, kind, _shape(above[0]))
    return found if all(len(_shape(edge)) == len(shape) for edge in above) else None


def _seen_again(node: Any, above: Any) -> Any:
    """What has a view's own shape, before it was normalised in another one.

    Instances are normalised over (1, rows * channels, ...), groups over (rows, groups, ...).
    """
    source = above
    while operator(source) in _NORMALISATIONS or operator(source) in VIEWS - _ORDERS:
        source = source.next_functions[0][0]
        if source is None or operator(source) == LEAF:
            break
        if _shape(source) == _shape(node):
            return source
    return above


def _viewed(found: _Layout, node: Any, kind: str, before: tuple[int, ...]) -> _Layout | None:
    """Where the channels stand after a result was seen in another shape or order."""
    order = _order(node, kind, len(before))
    if order:
        return found._replace(dimension=order.index(found.dimension))
    after, own = _shape(node), found.dimension
    # What ends where the channels' dimension ends, or with some that follow it.
    ends = {
        prod(before[:end]): prod(before[own + 1 : end]) for end in range(own + 1, len(before) + 1)
    }
    for dimension in range(len(after)):
        if prod(after[:dimension]) == prod(before[:own]) and prod(after[: dimension + 1]) in ends:
            more = ends[prod(after[: dimension + 1])]
            return _Layout(dimension, found.positions * more)
    return None


def _order(node: Any, kind: str, rank: int) -> list[int]:
    """Where each dimension came from, of an operator that puts them in another order."""
    order = list(range(rank))
    if kind == "Permute":
        return [_signed(dimension) % rank for dimension in node._saved_dims]  # noqa: SLF001 - torch's own name
    if kind in {"T", "Transpose"}:
        ends = (0, 1) if kind == "T" else (node._saved_dim0, node._saved_dim1)  # noqa: SLF001
        one, two = (_signed(end) % rank for end in ends)
        order[one], order[two] = two, one
        return order
    return []


def _signed(number: int) -> int:
    """A dimension counted from the end, which the graph keeps as an unsigned number."""
    return number - 2**64 if number >= 2**63 else number


def _shape(node: Any) -> tuple[int, ...]:
    return tuple(node._input_metadata[0].shape)  # noqa: SLF001 - torch's own name
