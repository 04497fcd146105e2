"""Data that does not belong to its model, and data that does: what is refused before training.

    python -m benchmarks.ordinary.unfit [--quick] [--json]

Small parents are trained on data that scikit-learn ships or that is made up here. Each is judged
on 14 kinds of unfit data, and, with other seeds, splits and lengths of training, on its own.
No metric is logged with a version, which is the harder case.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np

from benchmarks.ordinary.unfit_faults import FAULTS
from benchmarks.ordinary.unfit_parents import Parent, fit_parents, trained

__all__ = ["Verdict", "main", "unfit_rows"]


@dataclass(frozen=True)
class Verdict:
    """One judgement.

    Attributes:
        kind: Of the fault; `fit` where there is none.
        parent: Whose data it is.
        refused: Whether it was refused.
        right: Whether that is right, and for unfit data the reason is one of its kind.
        code: Of the reason.
        reason: For people; empty where nothing is refused.
    """

    kind: str
    parent: str
    refused: bool
    right: bool
    code: str
    reason: str


_SPOILT = ("digits-mlp", "digits-cnn", "breast", "fraud-10%", "colours-cnn")


def spoilt(parent: Parent, seed: int) -> Iterator[Verdict]:
    """Judges every kind of unfit data for one classifier."""
    for number, (kind, (fault, codes)) in enumerate(FAULTS.items()):
        if kind == "channel order" and parent.example.ndim != 4:
            continue
        if kind == "channel order" and parent.example.shape[1] == 1:
            continue
        data = fault(parent.data, np.random.default_rng([seed, number]))
        found = parent.judged(data).refusal
        code, reason = (found.code, found.message) if found else ("", "")
        yield Verdict(kind, parent.name, bool(found), code in codes, code, reason)


def unfit_rows(*, quick: bool = False) -> list[Verdict]:
    """Trains the parents and judges everything: 14 kinds of unfit data, and fit data."""
    rows = []
    for model in _SPOILT[:: 4 if quick else 1]:
        parent = trained(model, seed=7, epochs=15)
        rows += list(spoilt(parent, 7))
    for parent in fit_parents(1 if quick else 2):
        found = parent.judged(parent.data).refusal
        code, reason = (found.code, found.message) if found else ("", "")
        rows.append(Verdict("fit", parent.name, bool(found), found is None, code, reason))
    return rows


def main(arguments: list[str] | None = None) -> int:
    """Prints the rows and returns 0 when nothing fit was refused."""
    parser = argparse.ArgumentParser(prog="benchmarks.ordinary.unfit")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    rows = unfit_rows(quick=options.quick)
    fit = [row for row in rows if row.kind == "fit"]
    kinds = {kind: [row for row in rows if row.kind == kind] for kind in FAULTS}
    result = {
        "kinds": len(kinds),
        "kinds_refused": sum(all(row.right for row in found) for found in kinds.values()),
        "unfit": len(rows) - len(fit),
        "unfit_refused": sum(row.right for row in rows if row.kind != "fit"),
        "fit": len(fit),
        "fit_refused": sum(row.refused for row in fit),
    }
    if options.json:
        print(json.dumps({**result, "rows": [asdict(row) for row in rows]}, indent=1))
        return int(result["fit_refused"] > 0)
    for kind, found in {**kinds, "fit": fit}.items():
        print(f"{kind}: {sum(row.refused for row in found)} of {len(found)} refused")
        for row in found:
            if row.refused or kind != "fit":
                word = "right" if row.right else "WRONG"
                print(f"  {word} {row.parent}: {row.code}: {row.reason}")
    print(", ".join(f"{name} {value}" for name, value in result.items()))
    return int(result["fit_refused"] > 0)


if __name__ == "__main__":
    sys.exit(main())
