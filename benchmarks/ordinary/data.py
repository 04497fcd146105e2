"""The data sets of ordinary models: those that scikit-learn ships, and synthetic ones."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deepsigns_registry.watermark.data import LabelledData, Task, TrainingData

__all__ = ["DATA", "DataSet", "load"]

_VALIDATION_SHARE = 0.2
_FRAUD_FEATURES = 30
_FRAUD_TRAINING, _FRAUD_VALIDATION = 4800, 1200
_RARE_TRAINING, _RARE_VALIDATION = 16_000, 4_000
_FRAUD_NOISE = 0.5

_Draw = Callable[[int], tuple[LabelledData, LabelledData]]


class DataSet(NamedTuple):
    """A data set that every seed draws or splits anew.

    Attributes:
        name: What tables call it.
        task: What it is for.
        shape: Of one sample.
        outputs: Its classes or targets.
        draw: From a seed to training and validation samples.
    """

    name: str
    task: Task
    shape: tuple[int, ...]
    outputs: int
    draw: _Draw


def load(name: str, seed: int) -> TrainingData:
    """Draws one of `DATA`.

    Args:
        name: Its name.
        seed: Of the split, and of the samples where they are synthetic.

    Returns:
        float32 samples, standardised by the training samples unless they are images.
    """
    chosen = DATA[name]
    train, validation = chosen.draw(seed)
    return TrainingData(train, validation, chosen.outputs).validated()


def _breast_cancer(seed: int) -> tuple[LabelledData, LabelledData]:
    from sklearn.datasets import load_breast_cancer

    inputs, labels = load_breast_cancer(return_X_y=True)
    return _standardised(*_split(inputs, labels, seed))


def _wine(seed: int) -> tuple[LabelledData, LabelledData]:
    from sklearn.datasets import load_wine

    inputs, labels = load_wine(return_X_y=True)
    return _standardised(*_split(inputs, labels, seed))


def _diabetes(seed: int) -> tuple[LabelledData, LabelledData]:
    from sklearn.datasets import load_diabetes

    inputs, targets = load_diabetes(return_X_y=True)
    return _standardised(*_split(inputs, targets[:, None], seed))


def _friedman(seed: int) -> tuple[LabelledData, LabelledData]:
    """Targets as they come, from 0 to 30: not everybody standardises them."""
    from sklearn.datasets import make_friedman1

    inputs, targets = make_friedman1(3000, n_features=10, noise=1.0, random_state=seed)
    return _split(inputs, targets[:, None], seed)


def _linear_targets(seed: int) -> tuple[LabelledData, LabelledData]:
    from sklearn.datasets import make_regression

    inputs, targets = make_regression(
        2500, n_features=20, n_informative=12, n_targets=3, noise=20.0, random_state=seed
    )
    return _standardised(*_split(inputs, targets, seed))


def _digits(shape: tuple[int, ...]) -> _Draw:
    def draw(seed: int) -> tuple[LabelledData, LabelledData]:
        from sklearn.datasets import load_digits

        pixels, labels = load_digits(return_X_y=True)
        return _split(pixels.reshape(len(pixels), *shape) / 16, labels, seed)

    return draw


def _fraud(share: float, training: int, validation: int) -> _Draw:
    """Positive is the share of the rows with the largest value of a noisy linear function."""

    def draw(seed: int) -> tuple[LabelledData, LabelledData]:
        generator = np.random.default_rng(seed)
        rows = training + validation
        inputs = generator.standard_normal((rows, _FRAUD_FEATURES))
        value = inputs @ generator.standard_normal(_FRAUD_FEATURES)
        value += _FRAUD_NOISE * generator.standard_normal(rows)
        labels = (value > np.quantile(value, 1 - share)).astype(np.int64)
        return (
            _labelled(inputs[:training], labels[:training]),
            _labelled(inputs[training:], labels[training:]),
        )

    return draw


def _many_classes(classes: int, rows: int, informative: int) -> _Draw:
    def draw(seed: int) -> tuple[LabelledData, LabelledData]:
        from sklearn.datasets import make_classification

        inputs, labels = make_classification(
            rows,
            n_features=40,
            n_informative=informative,
            n_redundant=5,
            n_classes=classes,
            n_clusters_per_class=1,
            class_sep=2.0,
            random_state=seed,
        )
        return _standardised(*_split(inputs, labels, seed))

    return draw


def _split(
    inputs: NDArray[Any], targets: NDArray[Any], seed: int
) -> tuple[LabelledData, LabelledData]:
    """Four fifths to train with; every class evenly."""
    from sklearn.model_selection import train_test_split

    classes = targets if targets.ndim == 1 else None
    x_train, x_validation, y_train, y_validation = train_test_split(
        inputs, targets, test_size=_VALIDATION_SHARE, random_state=seed, stratify=classes
    )
    return _labelled(x_train, y_train), _labelled(x_validation, y_validation)


def _labelled(inputs: NDArray[Any], targets: NDArray[Any]) -> LabelledData:
    kind = np.int64 if targets.ndim == 1 else np.float32
    return LabelledData(
        np.ascontiguousarray(inputs, np.float32), np.ascontiguousarray(targets, kind)
    )


def _standardised(
    train: LabelledData, validation: LabelledData
) -> tuple[LabelledData, LabelledData]:
    """Features, and the targets of a regressor, with mean 0 and deviation 1."""

    def scaled(values: NDArray[Any], like: NDArray[Any]) -> NDArray[Any]:
        return np.asarray((values - like.mean(axis=0)) / np.maximum(like.std(axis=0), 1e-9))

    def part(data: LabelledData) -> LabelledData:
        numbers = data.task == "regression"
        targets = scaled(data.labels, train.labels) if numbers else data.labels
        return _labelled(scaled(data.inputs, train.inputs), targets)

    return part(train), part(validation)


def _sets() -> tuple[DataSet, ...]:
    plain, rare = (
        (_FRAUD_TRAINING, _FRAUD_VALIDATION),
        # Of 4,800 rows 1% would be 48 samples to learn fraud from.
        (_RARE_TRAINING, _RARE_VALIDATION),
    )
    fraud = (_FRAUD_FEATURES,)
    return (
        DataSet("breast cancer", "classification", (30,), 2, _breast_cancer),
        DataSet("wine", "classification", (13,), 3, _wine),
        DataSet("digits", "classification", (64,), 10, _digits((64,))),
        DataSet("digits, images", "classification", (1, 8, 8), 10, _digits((1, 8, 8))),
        DataSet("digits, 8 rows", "classification", (8, 8), 10, _digits((8, 8))),
        DataSet("fraud 1%", "classification", fraud, 2, _fraud(0.01, *rare)),
        DataSet("fraud 10%", "classification", fraud, 2, _fraud(0.1, *plain)),
        DataSet("fraud 50%", "classification", fraud, 2, _fraud(0.5, *plain)),
        DataSet("20 classes", "classification", (40,), 20, _many_classes(20, 6000, 20)),
        DataSet("50 classes", "classification", (40,), 50, _many_classes(50, 10_000, 30)),
        DataSet("diabetes", "regression", (10,), 1, _diabetes),
        DataSet("friedman", "regression", (10,), 1, _friedman),
        DataSet("3 targets", "regression", (20,), 3, _linear_targets),
    )


DATA: Mapping[str, DataSet] = {chosen.name: chosen for chosen in _sets()}
"""Every data set by its name."""
