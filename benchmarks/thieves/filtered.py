"""Detectors of secret queries: a thief answers what looks strange as if it were blank."""

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, spatial

from benchmarks.kind import Kind
from benchmarks.measurement import Measurement
from benchmarks.thieves.reading import CRITERION, examined
from benchmarks.thieves.released import THIEVES
from benchmarks.thieves.services import Detecting
from benchmarks.units import Unit
from benchmarks.workshop import Workshop
from deepsigns_registry.watermark.record import WatermarkRecord
from deepsigns_registry.watermark.schemes import named_schemes

__all__ = ["DETECTORS", "FALSE_ALARMS", "FILTERED", "detector_setting", "score_of"]

FALSE_ALARMS = 0.001
DETECTORS = ("isolated pixels", "changed by a median filter", "far from every sample")

# Share of the samples' range by which a pixel stands out.
_ISOLATED = 0.5
# Samples that the last detector compares with, and directions of the data that it looks at.
_KNOWN, _DIRECTIONS = 4_000, 50

Score = Callable[[NDArray[np.float32]], NDArray[np.floating]]


def detector_setting(detector: str) -> str:
    """Name of a detector in results.

    Examples:
        >>> detector_setting("isolated pixels")
        'queries detected by isolated pixels'
    """
    return f"queries detected by {detector}"


def _do(workshop: Workshop, unit: Unit) -> list[Measurement]:
    """The limit is set on validation samples, so that this share of them raises an alarm."""
    from benchmarks.thieves.file import opened

    released, marked = unit.needs
    record = WatermarkRecord.from_bytes(workshop.store.read(released, "record"))
    ordinary = workshop.data.validation.inputs
    score = score_of(unit.setting, workshop.owner_data(marked.setting, unit.seed).train.inputs)
    limit = float(np.quantile(score(ordinary), 1 - FALSE_ALARMS))
    setting = detector_setting(unit.setting)
    with opened(workshop.store.read(released, "onnx")) as suspect:
        finding = examined(record, Detecting(suspect, score, limit))
    found = list(finding.measurements(unit.model, setting))
    for scheme in named_schemes(record.secrets):
        if not scheme.needs_activation and not scheme.needs_weight:
            probes = scheme.probes(record.secrets[scheme.name]).inputs
            if len(probes):
                caught = float((score(probes) > limit).mean())
                found.append(
                    Measurement(CRITERION, unit.model, scheme.name, setting, "caught", caught)
                )
    return found


def score_of(detector: str, samples: NDArray[np.float32]) -> Score:
    """How strange inputs are to a thief who knows ordinary samples."""
    if detector == DETECTORS[2]:
        return _distance(samples)
    least = _ISOLATED * float(np.ptp(samples)) if detector == DETECTORS[0] else 0.0
    return partial(_beside_median, least=least)


def _beside_median(inputs: NDArray[np.float32], *, least: float) -> NDArray[np.floating]:
    """How much pixels differ from the median around them, or how many are that much brighter."""
    size = (1,) * (inputs.ndim - 2) + (3, 3)
    rest = inputs - ndimage.median_filter(inputs, size=size, mode="nearest")
    values = (rest > least) if least else np.abs(rest)
    return np.asarray(values.reshape(len(inputs), -1).mean(axis=1))


def _distance(samples: NDArray[np.float32]) -> Score:
    """Distance to the nearest sample along the samples' main directions, and off these."""
    known = samples[:_KNOWN].reshape(min(_KNOWN, len(samples)), -1).astype(np.float64)
    mean = known.mean(axis=0)
    _, _, directions = np.linalg.svd(known - mean, full_matrices=False)
    directions = directions[:_DIRECTIONS]
    tree = spatial.cKDTree((known - mean) @ directions.T)

    def score(inputs: NDArray[np.float32]) -> NDArray[np.floating]:
        centred = inputs.reshape(len(inputs), -1) - mean
        along = centred @ directions.T
        off = np.maximum((centred**2).sum(axis=1) - (along**2).sum(axis=1), 0)
        nearest, _ = tree.query(along)
        return np.asarray(np.sqrt(nearest**2 + off))

    return score


FILTERED = Kind(
    _do,
    code=(*THIEVES, "benchmarks.thieves.filtered"),
    packages=("onnx", "onnxruntime"),
)
