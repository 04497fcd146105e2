"""All kinds of units: each measures one thing of one model and seed."""

import torch

from benchmarks.kind import Kind
from benchmarks.kinds.capacity import CAPACITY
from benchmarks.kinds.comparison import COMPARISON
from benchmarks.kinds.control import CONTROL
from benchmarks.kinds.files import FILES
from benchmarks.kinds.finetuned import FINETUNED
from benchmarks.kinds.generality import GENERALITY
from benchmarks.kinds.marked import MARKED
from benchmarks.kinds.nulls import NULLS, STRANGER
from benchmarks.kinds.overwritten import OVERWRITTEN
from benchmarks.kinds.parent import PARENT
from benchmarks.kinds.pruned import PRUNED
from benchmarks.kinds.security import DETECTION, PAIR
from benchmarks.kinds.thief import THIEF
from benchmarks.kinds.timing import TIMING
from benchmarks.thieves.filtered import FILTERED
from benchmarks.thieves.hidden import HIDDEN
from benchmarks.thieves.nulls import READ_NULLS
from benchmarks.thieves.released import RELEASED
from benchmarks.thieves.rewritten import REWRITTEN
from benchmarks.thieves.robbed import ROBBED
from benchmarks.thieves.stronger import STRONGER
from benchmarks.units import Store
from benchmarks.workshop import Run

__all__ = ["KINDS", "store_of"]

KINDS: dict[str, Kind] = {
    "parent": PARENT,
    "marked": MARKED,
    "control": CONTROL,
    "pruned": PRUNED,
    "finetuned": FINETUNED,
    "thief": THIEF,
    "overwritten": OVERWRITTEN,
    "files": FILES,
    "nulls": NULLS,
    "stranger": STRANGER,
    "capacity": CAPACITY,
    "pair": PAIR,
    "detection": DETECTION,
    "generality": GENERALITY,
    "comparison": COMPARISON,
    "timing": TIMING,
    "released": RELEASED,
    "rewritten": REWRITTEN,
    "robbed": ROBBED,
    "filtered": FILTERED,
    "hidden": HIDDEN,
    "stronger": STRONGER,
    "read-nulls": READ_NULLS,
}


def store_of(run: Run) -> Store:
    """The kept outcomes of a run, and of earlier ones with the same meaning."""
    common = {
        "data": run.data,
        "device": torch.device(run.device).type,
        "training": run.scale.training,
        "validation": run.scale.validation,
        "share": run.scale.share,
    }
    meaning = {name: common | kind.meaning(run.scale) for name, kind in KINDS.items()}
    return Store(run.out / "units" / run.scale.name, meaning)
