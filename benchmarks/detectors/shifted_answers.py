"""The detector *shifted answers*, made for `cells`: logits that follow every feature.

The mark shifts the logits of each predicted class along its principal components, all of them by as
much, and along contrasts of the classes that are not the answer. A network uses few components more
than others.
"""

import numpy as np

from benchmarks.detectors.statistics import TINY, Floats, kurtosis
from benchmarks.detectors.view import ModelView

__all__ = ["shifted_answer_features"]

_COMPONENTS = 12
# The two likeliest classes of a sample are left alone by the mark.
_LEADING = 2


def shifted_answer_features(view: ModelView) -> Floats:
    """Statistics of logits against features within predicted classes: float64 [18]."""
    features, outputs = view.activation.astype(np.float64), view.outputs.astype(np.float64)
    answers = outputs.argmax(axis=1)
    found = []
    for place in np.unique(answers):
        rows = answers == place
        if rows.sum() > 3 * _COMPONENTS:
            found.append(_of_class(features[rows], outputs[rows]))
    return np.asarray(np.mean(found, axis=0), dtype=np.float64)


def _of_class(features: Floats, outputs: Floats) -> Floats:
    centred = features - features.mean(axis=0)
    left, _, _ = np.linalg.svd(centred, full_matrices=False)
    left = left[:, :_COMPONENTS]
    others = np.sort(np.argsort(-outputs.mean(axis=0))[_LEADING:])
    contrasts = outputs[:, others] - outputs[:, others].mean(axis=1, keepdims=True)
    contrasts = contrasts - contrasts.mean(axis=0)
    slopes = left.T @ contrasts / np.sqrt(len(outputs))
    energy = (slopes**2).sum(axis=1)
    rest = (contrasts**2).sum() / len(outputs) - energy.sum()
    return np.array(
        [
            np.log(energy.sum() + TINY),
            np.log(max(rest, 0.0) + TINY),
            float(kurtosis(slopes.ravel())),
            np.log(np.abs(slopes).mean() + TINY) - np.log(np.sqrt((slopes**2).mean()) + TINY),
            np.log(outputs.std() + TINY),
            np.log(slopes.std(axis=0) + TINY).std(),
            *np.log(energy / (energy.sum() + TINY) + TINY),
        ]
    )
