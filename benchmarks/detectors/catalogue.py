"""Every detector by its name in results."""

from collections.abc import Callable

from benchmarks.detectors.activations import activation_features
from benchmarks.detectors.class_means import class_mean_features
from benchmarks.detectors.shifted_answers import shifted_answer_features
from benchmarks.detectors.smallest_weights import smallest_weight_features
from benchmarks.detectors.statistics import Floats
from benchmarks.detectors.unmoved_weights import unmoved_weight_features
from benchmarks.detectors.view import ModelView
from benchmarks.detectors.weights import weight_features

__all__ = ["DETECTORS", "MADE_FOR", "STRANGERS"]

STRANGERS: dict[str, Callable[[ModelView], Floats]] = {
    "weights": weight_features,
    "activations": activation_features,
}
"""Those of somebody who knows that there are marks."""

MADE_FOR: dict[str, Callable[[ModelView], Floats]] = {
    "unmoved weights": unmoved_weight_features,
    "smallest weights": smallest_weight_features,
    "class means": class_mean_features,
    "shifted answers": shifted_answer_features,
}
"""Those of somebody who knows how each mark is made."""

DETECTORS: dict[str, Callable[[ModelView], Floats]] = {**STRANGERS, **MADE_FOR}
"""All."""
