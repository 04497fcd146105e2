"""Security: detectors that look at a model without the key and say whether it is marked.

Each is a linear classifier on statistics of one kind, one a file. Two are of somebody who knows
that there are marks (`weights`, `activations`), the others of somebody who knows how each mark is
made: `unmoved weights` and `smallest weights` look for the noise of `spread`, `class means` for the
white box, `shifted answers` for `cells`. Queries are found in what is asked, not in the model:
`benchmarks.thieves.filtered`.

They are stronger than a stranger: they are trained on models of the same owner, architecture and
data, marked by other keys, and are told the tap.
"""

from benchmarks.detectors.catalogue import DETECTORS, MADE_FOR, STRANGERS
from benchmarks.detectors.detection import Detection, detect, score_interval
from benchmarks.detectors.view import ModelView

__all__ = [
    "DETECTORS",
    "MADE_FOR",
    "STRANGERS",
    "Detection",
    "ModelView",
    "detect",
    "score_interval",
]
