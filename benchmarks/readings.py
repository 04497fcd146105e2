"""From what was read of a suspect to measurements."""

from collections.abc import Iterator, Sequence

import numpy as np

from benchmarks.measurement import Measurement
from deepsigns_registry.watermark.evidence import Matches
from deepsigns_registry.watermark.extract import Extraction, extract
from deepsigns_registry.watermark.record import WatermarkRecord
from deepsigns_registry.watermark.scheme import SchemeSecret
from deepsigns_registry.watermark.suspect import Suspect
from deepsigns_registry.watermark.verdict import judge

__all__ = ["KEPT", "Reading", "keeps", "read", "trials", "worst"]

KEPT = "any level that keeps 90% of the accuracy"
_KEPT_SHARE = 0.9


class Reading:
    """What a record's schemes read from one suspect.

    Args:
        record: The record.
        extraction: Of the suspect.
    """

    def __init__(self, record: WatermarkRecord, extraction: Extraction) -> None:
        self.extraction = extraction
        self.word = judge(extraction.evidence, tries=1, incomplete=extraction.incomplete).word
        found = {item.scheme: item for item in extraction.evidence}
        # A scheme that could not be read proves nothing: no match, and a p-value of 1.
        names = sorted(record.secrets, reverse=True)
        self.errors: dict[str, int] = {}
        for name in names:
            read = found.get(name)
            if isinstance(read, Matches):
                self.errors[name] = read.errors
            elif read is None and _counts(record.secrets[name]):
                self.errors[name] = trials(record.secrets[name])
        self.log10_p = {name: found[name].log10_p if name in found else 0.0 for name in names}

    def measurements(self, criterion: str, model: str, setting: str) -> Iterator[Measurement]:
        """Errors, where matches are counted, and p-value of each scheme."""
        for name in self.log10_p:
            if name in self.errors:
                errors = self.errors[name]
                yield Measurement(
                    criterion, model, name, setting, _errors(name), errors, "high is worst"
                )
            yield Measurement(
                criterion, model, name, setting, "log10 p", self.log10_p[name], "high is worst"
            )


def read(record: WatermarkRecord, suspect: Suspect) -> Reading:
    """Asks a suspect everything that the record's schemes need."""
    return Reading(record, extract(record, suspect))


def keeps(reached: float, whole: float) -> bool:
    """Whether an attack leaves enough of the accuracy for `KEPT`."""
    return reached >= _KEPT_SHARE * whole


def worst(readings: Sequence[Reading], model: str, setting: str) -> Iterator[Measurement]:
    """The most errors and the largest p-value of each scheme in any of these readings."""
    for scheme in readings[0].log10_p:
        log10_p = max(reading.log10_p[scheme] for reading in readings)
        found: list[tuple[str, float]] = [("log10 p", log10_p)]
        if all(scheme in reading.errors for reading in readings):
            found.insert(0, (_errors(scheme), max(r.errors[scheme] for r in readings)))
        for metric, value in found:
            yield Measurement("robustness", model, scheme, setting, metric, value, "high is worst")


def _errors(scheme: str) -> str:
    return "wrong answers" if scheme == "blackbox" else "bit errors"


def _counts(secret: SchemeSecret) -> bool:
    return bool({"kept", "bits"}.intersection(secret.arrays))


def trials(secret: SchemeSecret) -> int:
    """Number of bits or queries of a secret."""
    answers = secret.arrays["kept"] if "kept" in secret.arrays else secret.arrays["bits"]
    return int(np.size(answers))
