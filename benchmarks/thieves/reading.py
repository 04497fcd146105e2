"""What every scheme of a record says of a suspect, and all of them together."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.measurement import Measurement
from deepsigns_registry.watermark.extract import extract
from deepsigns_registry.watermark.record import WatermarkRecord
from deepsigns_registry.watermark.suspect import Suspect
from deepsigns_registry.watermark.verdict import judge, questions

__all__ = ["ADJUSTED", "CRITERION", "GROUPS", "Finding", "examined"]

CRITERION = "thieves"
ADJUSTED = "adjusted log10 p"
GROUPS = ("white box", "black box", "joint")
"""Which schemes a number is of: the best of those that read the file, of those that only ask
for its outputs, and of all."""

_BLACK_BOX = {"blackbox", "cells"}


@dataclass(frozen=True)
class Finding:
    """What was read of one suspect.

    Attributes:
        schemes: Adjusted log10 p of each scheme of the record; 0 where it could not be read.
        groups: The same of each of `GROUPS`.
        word: The verdict.
    """

    schemes: dict[str, float]
    groups: dict[str, float]
    word: str

    def measurements(self, model: str, setting: str) -> Iterator[Measurement]:
        """Rows of the results."""
        for name, value in self.schemes.items():
            yield Measurement(CRITERION, model, name, setting, ADJUSTED, value, "high is worst")
        for name, value in self.groups.items():
            yield Measurement(CRITERION, model, name, setting, ADJUSTED, value, "high is worst")
        for word in ("present", "undecided", "absent"):
            count = float(self.word == word)
            yield Measurement(
                CRITERION, model, "joint", setting, f"verdicts '{word}'", count, "sum"
            )


def examined(record: WatermarkRecord, suspect: Suspect) -> Finding:
    """Reads every scheme of a record, and judges; one commitment, one suspect.

    Everything that was tried is priced in: each scheme, all together, and each way to read.
    """
    extraction = extract(record, suspect)
    tries = questions(len(record.secrets)) * extraction.alignments
    verdict = judge(
        extraction.evidence,
        tries=tries,
        ways=extraction.alignments,
        incomplete=extraction.incomplete,
    )
    read = {item.scheme for item in extraction.evidence}
    schemes = {
        name: verdict.log10_p_adjusted(name) if name in read else 0.0
        for name in sorted(record.secrets, reverse=True)
    }
    black = [value for name, value in schemes.items() if name in _BLACK_BOX]
    white = [value for name, value in schemes.items() if name not in _BLACK_BOX]
    groups = {
        "white box": min(white, default=0.0),
        "black box": min(black, default=0.0),
        "joint": verdict.strongest,
    }
    if not all(math.isfinite(value) for value in schemes.values()):
        raise ValueError(f"a p-value is not finite: {schemes}")
    return Finding(schemes, groups, verdict.word)
