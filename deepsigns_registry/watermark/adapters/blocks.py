"""How the neurons of a flattened tap belong together: which of them are one channel's.

A layer that reads a flattened feature map sees each channel once a position. Where the positions of
a channel stand follows from what computed the tap, which is read on the graph that automatic
differentiation records.
"""

from collections.abc import Sequence
from math import prod
from typing import Any, NamedTuple

from deepsigns_registry.watermark.adapters.recorded import LEAF, VIEWS, operator, recorded
from deepsigns_registry.watermark.tap import Layout
from deepsigns_registry.watermark.tapped import TappedModel

__all__ = ["find_layout"]

# Layers whose neurons are known, with the dimension along which they stand.
_LAYERS = {
    "Addmm": -1,
    "Mm": -1,
    "Linear": -1,
    "Embedding": -1,
    "Convolution": 1,
    "MkldnnRnnLayer": -1,
    "CudnnRnn": -1,
}
# The same, for operators that keep a layout where one is known already.
_NORMALISATIONS = {"NativeBatchNorm": 1, "NativeGroupNorm": 1, "NativeLayerNorm": -1}
# These put other neurons, or the same in another order, into a result of any shape.
_SHUFFLES = {"Index", "IndexSelect", "Gather", "Flip", "Roll", "Unfold", "Im2Col", "PixelShuffle"}
_ORDERS = {"Permute", "Transpose", "T"}
_PARTS = {"Slice", "Split", "SplitWithSizes", "UnsafeSplit", "Narrow"}


class _Standing(NamedTuple):
    """Along which dimension the channels stand, and with which positions around them there."""

    dimension: int
    outer: int
    inner: int


_Known = dict[Any, _Standing | None]


def find_layout(model: TappedModel, row: Sequence[int]) -> Layout | None:
    """Where the channels of a model's pooled tap stand.

    Args:
        model: The model; run once on two rows of zeros, in evaluation, and left as it was.
        row: Shape of one input.

    Returns:
        See `TappedModel.tap_layout`.
    """
    run = recorded(model, row)
    if run is None or run.tap is None:
        return None
    found = _standing(run.tap, run.inputs)
    if found is None or found.dimension != 1 or run.shape[1] % (found.outer * found.inner):
        return None
    return Layout(found.outer, found.inner)


def _standing(tap: Any, inputs: Any) -> _Standing | None:
    """By hand what recursion would do: a recurrence that is written out is deep."""
    computed = _computed_of(tap, inputs)
    known: _Known = {}
    pending = [tap]
    while pending:
        node = pending[-1]
        above = [edge for edge in _above(node, computed) if edge not in known]
        pending += above
        if not above:
            known[pending.pop()] = _standing_of(node, known, computed, inputs)
    return known[tap]


def _computed_of(tap: Any, inputs: Any) -> set[Any]:
    """The nodes that the inputs have a part in; what only weights are in follows their order."""
    found: dict[Any, bool] = {}
    pending = [tap]
    while pending:
        node = pending[-1]
        above = [edge for edge, _ in node.next_functions if edge is not None]
        unknown = [edge for edge in above if edge not in found]
        pending += unknown
        if not unknown:
            given = getattr(node, "variable", None) is inputs
            found[pending.pop()] = given or any(found[edge] for edge in above)
    return {node for node, is_computed in found.items() if is_computed}


def _above(node: Any, computed: set[Any]) -> list[Any]:
    """What a node's layout follows from; nothing where it has neurons of its own."""
    if _is_layer(node):
        return []
    above = [edge for edge, _ in node.next_functions if edge in computed]
    above = [edge for edge in above if operator(edge) != LEAF]
    again = operator(node) in VIEWS - _ORDERS
    return [_seen_again(node, edge) for edge in above] if again else above


def _is_layer(node: Any) -> bool:
    return operator(node) in _LAYERS and _groups(node) == 1


def _groups(node: Any) -> int:
    """Groups of channels that a convolution keeps apart: then they come in an order it reads."""
    return int(node._saved_groups) if operator(node) == "Convolution" else 1  # noqa: SLF001 - torch's own name


def _standing_of(node: Any, known: _Known, computed: set[Any], inputs: Any) -> _Standing | None:
    kind, shape = operator(node), _shape(node)
    if _is_layer(node):
        return _Standing(_LAYERS[kind] % len(shape), 1, 1)
    # What the model is given stands in one order in every network.
    if any(edge and getattr(edge, "variable", None) is inputs for edge, _ in node.next_functions):
        return None
    above = _above(node, computed)
    if kind not in VIEWS and len(shape) == 2 and all(len(_shape(edge)) > 2 for edge in above):
        return _Standing(1, 1, 1)  # positions or steps were averaged, or one of them was taken
    standings = {known[edge] for edge in above}
    found = standings.pop() if len(standings) == 1 else None
    if found is None and kind in _NORMALISATIONS:
        return _Standing(_NORMALISATIONS[kind] % len(shape), 1, 1)
    return None if found is None else _kept(found, node, [_shape(edge) for edge in above])


def _kept(found: _Standing, node: Any, above: list[tuple[int, ...]]) -> _Standing | None:
    """Where the channels stand behind an operator that computes none."""
    kind, shape = operator(node), _shape(node)
    whole = found.outer == found.inner == 1
    if kind == "IndexSelect" and _signed(node._saved_dim) % len(shape) != found.dimension:  # noqa: SLF001 - torch's own name
        return found
    if kind in _SHUFFLES or (kind in _PARTS and not whole) or _groups(node) not in {1, shape[1]}:
        return None
    if kind in VIEWS:
        return _viewed(found, node, kind, above[0])
    if kind == "Stack":
        behind = _signed(node._saved_dim) % len(shape) <= found.dimension  # noqa: SLF001 - torch's own name
        return found._replace(dimension=found.dimension + behind)
    return found if all(len(before) == len(shape) for before in above) else None


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


def _viewed(found: _Standing, node: Any, kind: str, before: tuple[int, ...]) -> _Standing | None:
    """Where the channels stand after a result was seen in another shape or order."""
    order = _order(node, kind, len(before))
    if order:
        return found._replace(dimension=order.index(found.dimension))
    after, own = _shape(node), found.dimension
    outer, inner = prod(before[:own]) * found.outer, found.inner * prod(before[own + 1 :])
    for dimension in range(len(after)):
        # Whole channels in one dimension: with some of what stood around them, or without.
        ahead, behind = prod(after[:dimension]), prod(after[dimension + 1 :])
        if outer % ahead == 0 and inner % behind == 0:
            return _Standing(dimension, outer // ahead, inner // behind)
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
