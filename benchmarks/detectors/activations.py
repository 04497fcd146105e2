"""The detector *activations*: what the neurons of the tap do, and how the class means lie."""

import numpy as np

from benchmarks.detectors.statistics import TINY, Floats, class_means, kurtosis, spectrum, summary
from benchmarks.detectors.view import ModelView

__all__ = ["activation_features"]


def activation_features(view: ModelView) -> Floats:
    """Statistics of the tap on clean data: float64 [30]."""
    values = view.activation.astype(np.float64)
    each = [
        values.mean(axis=0),
        values.std(axis=0),
        (values <= 0).mean(axis=0),
        kurtosis(values, axis=0),
    ]
    neurons = [number for statistic in each for number in summary(statistic)]
    means, owner = class_means(values, view.labels)
    offset = means - means.mean(axis=0)
    distances = np.linalg.norm(means[:, None] - means[None], axis=-1)
    apart = distances[np.triu_indices(len(means), 1)]
    within = values - means[owner]
    geometry = [
        np.log(np.linalg.norm(means, axis=1).mean() + TINY),
        np.log(np.linalg.norm(offset, axis=1).mean() + TINY),
        np.log(apart.mean() + TINY),
        apart.std() / (apart.mean() + TINY),
        apart.min() / (apart.mean() + TINY),
        np.log((offset**2).sum() / len(means) + TINY) - np.log(within.var() + TINY),
        kurtosis(offset.ravel()),
        *spectrum(offset)[1:],
    ]
    return np.array([*neurons, *geometry])
