"""Undoing what leaves a network's function alone: moved, scaled, split and dummy neurons.

A suspect is aligned to the rows of weight of the *unmarked parent*, layer after layer from the
input on: once the neurons that a layer reads are known, its columns are put in the parent's
order, and its own rows are recognised. Nothing here depends on the signature bits, and they are
pseudo-random whatever else is fixed: so a model that does not depend on the key matches
Binomial(n, 1/2) of them, before and after. Aligning to the marked model would leak the bits.

Activations alone do not do. Marking moves them at the tap by about their own size, and they lie
in few dimensions: on Fashion-MNIST the best assignment by activation found one neuron in four of
a marked multilayer perceptron, and one in ten of a convolutional and of a residual network. By
rows of weight it found all of them, also after fine-tuning.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deepsigns_registry.watermark.blueprint import Blueprint, Layer, Network, Part, sketched
from deepsigns_registry.watermark.rows import rows_stand_out

__all__ = ["Alignment", "Match", "Rows", "align", "aligned_weights", "match_rows"]

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]

# Spread of the logarithms of row norms that marking and fine-tuning leave by themselves: 0.12 to
# 0.37. What is of this size is not undone, because undoing it costs bits.
_OWN_SPREAD = 0.25
# Copies of a split neuron have rows in one direction, and keep about that in a fine-tuning.
_COPY = 0.9
_MOST_COMPARED = 8192
# Dead neurons cannot be told from each other.
_IN_PLACE = 0.9
# A suspect's layer may be this many times as wide as the parent's, and never wider than that.
_TIMES, _WIDEST = 4, 16_384
# Assignments are exact up to this much work, rows x rows x columns: of the worst costs known, of
# rank one, 2100 rows (9e9) took 5 s, 645 (this) 0.1 s.
_MOST_WORK, _MOST_ROUNDS = 1 << 28, 16


@dataclass(frozen=True, repr=False)
class Rows:
    """Rows of weight: directions and lengths.

    Attributes:
        unit: float32 [rows, columns], of length one or zero.
        norms: float32 [rows].
    """

    unit: Floats
    norms: Floats


@dataclass(frozen=True, repr=False)
class Match:
    """Which channels of a suspect are which of the parent's.

    Attributes:
        assignment: int64 [parent's], the suspect's channel that resembles each; -1: none.
        joined: int64 [suspect's], the parent's channel that each is, or is a copy of; -1: none.
        scale: float32 [suspect's], positive: how many times the parent's each channel is.
        rows: float32 [channels, columns], of length at most one: the parent's, and the suspect's
            without copies.
    """

    assignment: Integers
    joined: Integers
    scale: Floats
    rows: tuple[Floats, Floats]


@dataclass(frozen=True, repr=False)
class Alignment:
    """How to read a suspect's tap as if it were the parent's.

    Attributes:
        tensors: Names of the suspect's tensors that may be the tap, in the order of the graph.
        width: Number of the suspect's channels there.
        assignment: int64 [parent's channels], the suspect's channel for each; -1: none.
        scale: float32 [parent's channels], positive: how many times the parent's it is.
        verified: Whether the rows at the tap are the parent's; see `rows.rows_stand_out`.
        sole: Those of the tensors that all of the network goes through. Another one may belong
            to a branch that was put there to be read.
    """

    tensors: tuple[str, ...]
    width: int
    assignment: Integers
    scale: Floats
    verified: bool
    sole: frozenset[str] = frozenset()

    @property
    def in_place(self) -> bool:
        """Whether the suspect's channels stand where the parent's do, nearly all of them."""
        count = len(self.assignment)
        own = float((self.assignment == np.arange(count)).mean()) if count else 0.0
        return self.width == count and own >= _IN_PLACE

    def read(self, activation: Floats, neurons: int) -> Floats | None:
        """A suspect's activation in the parent's order and scale.

        Args:
            activation: float32 [samples, suspect's neurons]; where channels were flattened with
                their positions, the positions of a channel stand together.
            neurons: Number of the parent's neurons.

        Returns:
            float32 [samples, neurons], 0 for a neuron without a partner; None when the
            activation has another shape than the parent's at the tap.
        """
        samples, count = activation.shape
        block = neurons // max(len(self.assignment), 1)
        if count != self.width * block or neurons != len(self.assignment) * block:
            return None
        blocks = activation.reshape(samples, self.width, block)
        taken = blocks[:, np.maximum(self.assignment, 0)] / self.scale[None, :, None]
        taken[:, self.assignment < 0] = 0
        return np.asarray(taken.reshape(samples, neurons), np.float32)


def align(blueprint: Blueprint, network: Network) -> Alignment | None:
    """Aligns a suspect to the parent at its tap.

    Args:
        blueprint: Of the unmarked parent; never of the marked model.
        network: The suspect's layers.

    Returns:
        The alignment, or None when the suspect is not built like the parent.
    """
    walk = _Walk(blueprint.parts()[: blueprint.before_tap()], network)
    tap = [int(group) for group in blueprint.tap]
    if not walk.whole or not tap or any(group not in walk.written for group in tap):
        return None
    channels = tuple(walk.groups[group] for group in tap)
    tensors = [
        tensor.name
        for tensor in network.tensors
        if tensor.channels == channels and tensor.after == blueprint.before_tap()
    ]
    return _aligned([match_rows(walk.written[group]) for group in tap], tensors, network.sole)


def aligned_weights(blueprint: Blueprint, network: Network) -> list[Floats | None]:
    """The weights of a suspect's layers, rows and columns where the parent's stand.

    Args:
        blueprint: Of the unmarked parent; never of the marked model.
        network: The suspect's layers.

    Returns:
        For each layer of the parent's float32 [channels, columns], zero in a row without a
        partner; None for a layer that was not found. Rows keep the suspect's lengths.
    """
    parts = blueprint.parts()
    walk = _Walk(parts, network)
    found: list[Floats | None] = [None] * len(parts)
    final = {group: match_rows(written) for group, written in walk.written.items()}
    for place, weight in enumerate(walk.weights):
        partner = final[parts[place].target].assignment
        rows = weight[np.maximum(partner, 0)]
        rows[partner < 0] = 0
        found[place] = rows
    return found


class _Walk:
    """One pass over the layers of both, from the input on.

    Attributes:
        whole: Whether every layer of the parent's was found.
        groups: The suspect's group for each of the parent's.
        written: For each group of the parent's the rows of the layers that compute it.
        weights: Of each layer that was found float32 [suspect's channels, parent's columns].
    """

    def __init__(self, parts: Sequence[Part], network: Network) -> None:
        self.groups: dict[int, int] = {}
        self.written: dict[int, list[tuple[Rows, Rows]]] = {}
        self.weights: list[Floats] = []
        self._matches: dict[int, Match] = {}
        count = _corresponding(parts, network, self.groups)
        for ours, theirs in zip(parts[:count], network.layers, strict=False):
            weight = self._weight(ours, theirs)
            if weight is None:
                break
            rows = Rows(ours.rows.astype(np.float32), ours.norms), Rows(*sketched(weight))
            self.written.setdefault(ours.target, []).append(rows)
            self.weights.append(weight)
        self.whole = 0 < len(self.weights) == len(parts)

    def _weight(self, ours: Part, theirs: Layer) -> Floats | None:
        for group in ours.source:
            # A residual stream is read before its last layer has written to it: what is known
            # by then recognises its channels.
            if group not in self._matches and group in self.written:
                self._matches[group] = match_rows(self.written[group])
        if any(group not in self._matches for group in ours.source):
            return None
        if len(theirs.weight) > min(_TIMES * len(ours.norms), _WIDEST):
            return None
        read = [self._matches[group] for group in ours.source]
        return _in_our_order(theirs.weight, read, ours.columns)


def match_rows(written: Sequence[tuple[Rows, Rows]]) -> Match:
    """Matches the channels of one group by the rows of the layers that compute them.

    Rows are compared by cosine, so positive factors do not matter, and assigned to each other
    for the largest sum (Kuhn 1955; see `_assigned` for very many). Of split neurons each
    parent's gets one copy, dummies get none.

    Args:
        written: For each layer the parent's rows and the suspect's, with equal columns.
    """
    ours = np.concatenate([first.unit for first, _ in written], axis=1) / len(written) ** 0.5
    theirs = np.concatenate([second.unit for _, second in written], axis=1) / len(written) ** 0.5
    first = _first_copies(theirs, len(theirs) - len(ours))
    kept = np.unique(first)
    cosines = ours @ theirs[kept].T
    partner = _assigned(cosines)
    paired = np.flatnonzero(partner >= 0)
    assignment = np.full(len(ours), -1, np.int64)
    assignment[paired] = kept[partner[paired]]
    owner = np.full(len(theirs), -1, np.int64)
    owner[assignment[paired]] = paired
    joined = owner[first]
    return Match(
        assignment=assignment,
        joined=joined,
        scale=_scales(written, joined),
        rows=(ours, theirs[kept]),
    )


def _first_copies(theirs: Floats, surplus: int) -> Integers:
    """The channel that each is a copy of, itself if of none: int64 [channels].

    Only so many are taken together as there are too many: narrow kernels may point the same
    way without being copies. The most alike come first; which pairs join different channels is
    what a largest spanning tree (Prim 1957) tells, in a time that depends on the number only.
    """
    first = np.arange(len(theirs))
    if surplus <= 0 or len(theirs) > _MOST_COMPARED:
        return first
    likeness = theirs @ theirs.T
    outside = np.ones(len(theirs), np.bool_)
    nearest, best = np.zeros(len(theirs), np.int64), np.full(len(theirs), -np.inf, np.float32)
    joins, added = [], 0
    for _ in range(len(theirs) - 1):
        outside[added] = False
        closer = likeness[added] > best
        best[closer], nearest[closer] = likeness[added, closer], added
        added = int(np.argmax(np.where(outside, best, -np.inf)))
        if best[added] > _COPY:
            joins.append((float(best[added]), int(nearest[added]), added))
    for _, one, other in sorted(joins, key=lambda join: -join[0])[:surplus]:
        kept, copy = sorted((first[one], first[other]))
        first[first == copy] = kept
    return first


def _assigned(cosines: Floats) -> Integers:
    """The partner of each row for the largest sum: int64 [rows], -1 where there are too few.

    Of more than an exact solution can be waited for, whatever the cosines are, pairs that prefer
    each other to all others are taken first, and what remains after a few rounds in its order.
    """
    from scipy.optimize import linear_sum_assignment

    assignment = np.full(len(cosines), -1, np.int64)
    rows, columns = np.arange(cosines.shape[0]), np.arange(cosines.shape[1])
    for _ in range(_MOST_ROUNDS):
        few, many = sorted(cosines.shape)
        if few * few * many <= _MOST_WORK:
            break
        preferred = cosines.argmax(axis=1)
        mutual = cosines.argmax(axis=0)[preferred] == np.arange(len(rows))
        assignment[rows[mutual]] = columns[preferred[mutual]]
        left = np.ones(len(columns), np.bool_)
        left[preferred[mutual]] = False
        cosines, rows, columns = cosines[~mutual][:, left], rows[~mutual], columns[left]
    few, many = sorted(cosines.shape)
    if few * few * many <= _MOST_WORK:
        places, partners = linear_sum_assignment(cosines, maximize=True)
    else:
        places = partners = np.arange(few)
    assignment[rows[places]] = columns[partners]
    return assignment


def _scales(written: Sequence[tuple[Rows, Rows]], joined: Integers) -> Floats:
    """How many times the parent's each of the suspect's channels is, but for a common factor."""
    known = joined >= 0
    logarithms = np.zeros(len(joined))
    for ours, theirs in written:
        mine = ours.norms[np.maximum(joined, 0)].astype(np.float64)
        known &= (mine > 0) & (theirs.norms > 0) & np.isfinite(theirs.norms)
        ratio = np.divide(theirs.norms, mine, out=np.ones(len(joined)), where=known)
        logarithms += np.log(ratio) / len(written)
    if not known.any():
        return np.ones(len(joined), np.float32)
    deviation = np.where(known, logarithms - np.median(logarithms[known]), 0)
    spread = 1.4826 * float(np.median(np.abs(deviation[known])))
    # James and Stein's factor, for all together; and for single neurons the same by themselves.
    shared = 1 - (_OWN_SPREAD / max(spread, _OWN_SPREAD)) ** 2
    alone = 1 - (2 * _OWN_SPREAD / np.maximum(np.abs(deviation), 2 * _OWN_SPREAD)) ** 2
    factors: Floats = np.exp(deviation * np.maximum(shared, alone)).astype(np.float32)
    return factors


def _in_our_order(weight: Floats, read: Sequence[Match], columns: int) -> Floats | None:
    """A suspect's weight with columns as the parent's: copies added up, dummies left out.

    None when that are not so many columns as the parent's layer has.
    """
    if not read:
        return weight if weight.shape[1] == columns else None
    width = sum(len(match.joined) for match in read)
    block = weight.shape[1] // max(width, 1)
    if block * width != weight.shape[1]:
        return None
    # Before anything is made of it: a file of few channels can claim wide blocks.
    if block * sum(len(match.assignment) for match in read) != columns:
        return None
    blocks = weight.reshape(len(weight), width, block)
    ordered, start = [], 0
    for match in read:
        part = blocks[:, start : start + len(match.joined)] * match.scale[None, :, None]
        mine = np.zeros((len(weight), len(match.assignment), block), np.float32)
        for channel in np.flatnonzero(match.joined >= 0):
            mine[:, match.joined[channel]] += part[:, channel]
        ordered.append(mine)
        start += len(match.joined)
    return np.concatenate(ordered, axis=1).reshape(len(weight), -1)


def _corresponding(parts: Sequence[Part], network: Network, groups: dict[int, int]) -> int:
    """How many layers, from the first on, are wired alike in both.

    Args:
        parts: The parent's layers.
        network: The suspect's.
        groups: Filled with the suspect's group for each of the parent's.
    """
    taken: dict[int, int] = {}
    for place, (ours, theirs) in enumerate(zip(parts, network.layers, strict=False)):
        if len(ours.source) != len(theirs.source):
            return place
        pairs = zip((*ours.source, ours.target), (*theirs.source, theirs.target), strict=True)
        for mine, other in pairs:
            if groups.setdefault(mine, other) != other or taken.setdefault(other, mine) != mine:
                return place
    return min(len(parts), len(network.layers))


def _aligned(matches: Sequence[Match], tensors: Sequence[str], sole: frozenset[str]) -> Alignment:
    assignment, scale, start = [], [], 0
    for match in matches:
        partner = match.assignment
        assignment.append(np.where(partner >= 0, partner + start, -1))
        scale.append(np.where(partner >= 0, match.scale[np.maximum(partner, 0)], 1))
        start += len(match.joined)
    return Alignment(
        tensors=tuple(tensors),
        width=start,
        assignment=np.concatenate(assignment),
        scale=np.concatenate(scale).astype(np.float32),
        verified=rows_stand_out([match.rows for match in matches]),
        sole=sole.intersection(tensors),
    )
