"""The kinds of units, one a file: each measures one thing of one model and seed."""

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

__all__ = ["KINDS"]

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
