"""What the labels of similar samples say, which is evidence that no model had a part in."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Votes", "vote"]

_NEIGHBOURS = 5


class Votes(NamedTuple):
    """Votes of the five nearest other samples.

    Attributes:
        given: int64 [asked], votes for the sample's own label.
        other: int64 [asked], votes for the class it is compared with.
        most: int64 [asked], the class with most votes.
    """

    given: NDArray[np.int64]
    other: NDArray[np.int64]
    most: NDArray[np.int64]


def vote(
    inputs: NDArray[np.float32],
    labels: NDArray[np.int64],
    others: NDArray[np.int64],
    asked: NDArray[np.int64],
) -> Votes:
    """Asks the nearest samples, by distance with every feature at unit variance.

    Args:
        inputs: float32 [samples, ...].
        labels: int64 [samples].
        others: int64 [samples], for each sample another class to count votes for.
        asked: int64 [asked], the samples to ask about.

    Examples:
        >>> inputs = np.repeat(np.eye(2, dtype=np.float32), 6, axis=0)
        >>> labels = np.repeat([0, 1], 6)
        >>> labels[0] = 1
        >>> vote(inputs, labels, 1 - labels, np.array([0]))
        Votes(given=array([0]), other=array([5]), most=array([0]))
    """
    rows = inputs.reshape(len(inputs), -1).astype(np.float32)
    spread = rows.std(axis=0)
    rows = (rows - rows.mean(axis=0)) / np.where(spread > 0, spread, 1)
    distances = (rows**2).sum(axis=1) - 2 * rows[asked] @ rows.T
    distances[np.arange(len(asked)), asked] = np.inf
    near = np.argpartition(distances, _NEIGHBOURS, axis=1)[:, :_NEIGHBOURS]
    votes = labels[near]
    ballots = np.stack([(votes == label).sum(axis=1) for label in range(int(labels.max()) + 1)])
    return Votes(
        (votes == labels[asked][:, None]).sum(axis=1),
        (votes == others[asked][:, None]).sum(axis=1),
        np.asarray(ballots.argmax(axis=0), dtype=np.int64),
    )
