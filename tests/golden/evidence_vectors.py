"""The golden vectors of `docs/spec/evidence-v1.md`, by the reference implementation.

Written by: `python -m tests.golden.evidence_vectors > docs/spec/vectors/evidence-v1.json`. That is
only right together with another version: vectors that were published stay. Values have 13 digits.
"""

import json
import sys
from pathlib import Path

from tests.golden.reference_v1 import evidence as reference

FILE = Path(__file__).parents[2] / "docs" / "spec" / "vectors" / "evidence-v1.json"

BITS = [(128, 128), (128, 102), (128, 64), (64, 51), (1280, 1100), (1280, 1280), (128, 0)]
QUERIES = [(400, 400, 9), (400, 80, 9), (400, 44, 9), (100, 100, 999), (400, 210, 2)]
DEVIATIONS = [
    *((0.0, 3), (0.5, 1), (4.9, 1), (5.0, 1), (13.0, 1), (37.2, 1)),
    *((0.5, 2), (3.0, 3), (13.0, 6), (37.2, 20), (60.0, 3), (2.0, 60)),
]
P_VALUES = [
    [-4.0, -4.0, -4.0],
    [-0.5, -1.25],
    [0.0, 0.0],
    [-300.0, -0.01, -2.0],
    [-38.5, -299.75, -120.0, -3.5],
]
VERDICTS = [
    # log10 p, tries, ways, every step ran
    ([-6.0], 1, 1, True),
    ([-6.0], 2, 1, True),
    ([-1.5], 1, 1, True),
    ([-1.5], 1, 1, False),
    ([-2.5], 1, 1, True),
    ([-2.5], 10, 1, True),
    ([-4.5, -4.5, -4.5], 4, 1, True),
    ([-4.5, -4.5, -4.5], 40, 10, True),
    ([-0.75, -0.25], 3, 1, True),
    ([-300.0, 0.0, -1.0], 480, 12, False),
    ([], 1, 1, True),
]


def sums() -> list[tuple[list[float], list[int]]]:
    """Weights ((7 i) mod 11 - 5) / 4 or all alike, and signs that agree but for some."""
    mixed = [((7 * i) % 11 - 5) / 4 for i in range(60)]
    alike = [0.25] * 100
    return [
        (mixed, [1 if (weight >= 0) == (i % 9 > 0) else -1 for i, weight in enumerate(mixed)]),
        (mixed, [1 if (weight >= 0) == (i % 3 > 0) else -1 for i, weight in enumerate(mixed)]),
        (mixed, [1 if (weight >= 0) == (i % 2 > 0) else -1 for i, weight in enumerate(mixed)]),
        (alike, [-1 if i % 20 == 3 else 1 for i in range(100)]),
        (alike, [-1 if i % 9 in {2, 5, 7} else 1 for i in range(100)]),
        ([1e-9, 1.0, 1.0, 30.0], [-1, 1, 1, 1]),
    ]


def vectors() -> dict[str, object]:
    values = [(trials, matches, 2) for trials, matches in BITS] + QUERIES
    return {
        "matches": [
            {
                "trials": trials,
                "matches": matches,
                "values": count,
                "log10_p": _rounded(reference.binomial(trials, matches, count)),
            }
            for trials, matches, count in values
        ],
        "correlation": [
            {
                "deviations": deviations,
                "parts": parts,
                "log10_p": _rounded(reference.correlation(deviations, parts)),
            }
            for deviations, parts in DEVIATIONS
        ],
        "sign_sum": [
            {
                "weights": weights,
                "signs": signs,
                "log10_p": _rounded(reference.sign_sum(weights, signs)),
            }
            for weights, signs in sums()
        ],
        "together": [
            {"each": each, "log10_p": _rounded(reference.together(each))} for each in P_VALUES
        ],
        "verdicts": [_verdict(*given) for given in VERDICTS],
    }


def _verdict(
    log10_p: list[float], tries: int, ways: int, every_step_ran: bool
) -> dict[str, object]:
    word, joint = reference.verdict(log10_p, tries=tries, ways=ways, every_step_ran=every_step_ran)
    return {
        "log10_p": log10_p,
        "tries": tries,
        "ways": ways,
        "every_step_ran": every_step_ran,
        "together": None if joint is None else _rounded(joint),
        "verdict": word,
    }


def _rounded(value: float) -> float:
    return float(f"{value:.13g}")


def rendered() -> str:
    return json.dumps(vectors(), indent=1) + "\n"


if __name__ == "__main__":
    sys.stdout.write(rendered())
