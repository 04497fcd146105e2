"""What a suspect answers to the queries, after what they all have in common is taken out."""

import numpy as np
from numpy.typing import NDArray

from deepsigns_registry.watermark.task import are_probabilities, are_sigmoids

__all__ = ["calibrated_answers", "label_choices"]

# Directions of the parent's outputs that are taken out: few against the number of queries.
_QUERIES_PER_DIRECTION = 20
_TINY = 1e-30
# The last float32 number below 1, where a sigmoid ends long before its logit does.
_BELOW_ONE = 1 - 2**-24


def label_choices(classes: int) -> int:
    """Among how many classes a query's label is drawn.

    All but the one that the parent predicts; of two classes both.

    Examples:
        >>> label_choices(10), label_choices(2)
        (9, 2)
    """
    return max(classes - 1, 2)


def calibrated_answers(
    outputs: NDArray[np.float32], parent: NDArray[np.float32]
) -> NDArray[np.int64]:
    """The class that a suspect answers, beyond what its parent and all queries explain.

    Fine-tuning on data that holds no query moves the answers to all queries alike: soon one
    class wins everywhere, and every single answer looks forgotten. So the part of the suspect's
    outputs that a linear map of the parent's outputs and a constant explain is subtracted, and
    the largest rest is the answer, among the classes that a label is drawn from.

    The labels enter nowhere. A suspect that does not depend on the key therefore still matches
    each label with probability 1 / `label_choices`, independently, whatever is computed here.

    Args:
        outputs: float32 [queries, classes], logits, or probabilities: that sum to one, or each
            of its own. Rows that are not finite are no answers.
        parent: float32 [queries, classes], logits of the unmarked parent.

    Returns:
        int64 [queries]; -1 where there is no answer.

    Examples:
        >>> parent = np.zeros((4, 3), dtype=np.float32)
        >>> parent[:, 0] = 1
        >>> outputs = np.array([[0, 9, 1], [0, 9, 2], [0, 9, 1], [0, 9, 2]], dtype=np.float32)
        >>> calibrated_answers(outputs, parent).tolist()
        [1, 2, 1, 2]
    """
    answered = np.isfinite(outputs).all(axis=1)
    answers = np.full(len(outputs), -1, dtype=np.int64)
    if not answered.any():
        return answers
    values = _logits(outputs[answered].astype(np.float64))
    rest = values - values.mean(axis=1, keepdims=True)
    rest -= rest.mean(axis=0)
    known = parent[answered].astype(np.float64)
    directions = _directions(known, len(outputs) // _QUERIES_PER_DIRECTION)
    rest -= directions @ (directions.T @ rest)
    if label_choices(known.shape[1]) < known.shape[1]:
        rest[np.arange(len(rest)), known.argmax(axis=1)] = -np.inf
    answers[answered] = rest.argmax(axis=1)
    return answers


def _logits(outputs: NDArray[np.float64]) -> NDArray[np.float64]:
    if are_probabilities(outputs):
        return np.log(np.maximum(outputs, _TINY))
    if are_sigmoids(outputs):
        sure = np.clip(outputs, _TINY, _BELOW_ONE)
        return np.log(sure) - np.log1p(-sure)
    return outputs


def _directions(known: NDArray[np.float64], most: int) -> NDArray[np.float64]:
    """Orthonormal columns over the queries that span the parent's outputs: [queries, few]."""
    centred = known - known.mean(axis=1, keepdims=True)
    centred -= centred.mean(axis=0)
    left, sizes, _ = np.linalg.svd(centred, full_matrices=False)
    used = int((sizes > sizes[0] * 1e-6).sum()) if sizes.size and sizes[0] > 0 else 0
    return np.asarray(left[:, : min(used, most)], dtype=np.float64)
