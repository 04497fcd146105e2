"""What depends on constants alone becomes one, and nothing else of it is kept."""

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, helper

from deepsigns_registry.graph.canonical.constants import folded_constants


def doublings(count: int) -> list[NodeProto]:
    names = [f"c{number}" for number in range(count + 1)]
    return [
        helper.make_node("Concat", [names[at]] * 2, [names[at + 1]], axis=0) for at in range(count)
    ]


def test_what_only_constants_were_made_of_is_let_go() -> None:
    """A file of a few kilobytes may double a constant until the last fills the memory."""
    reader = helper.make_node("Add", ["x", "c10"], ["y"])
    given: dict[str, NDArray[np.generic]] = {
        "c0": np.ones(3, np.float32),
        "other": np.zeros(2, np.float32),
    }
    left, known = folded_constants([*doublings(10), reader], given)
    assert left == [reader]
    assert set(known) == {"c10", "other"}
    assert known["c10"].shape == (3 * 2**10,)
    assert set(given) == {"c0", "other"}


def test_what_is_still_read_or_wanted_stays() -> None:
    reader = helper.make_node("Add", ["x", "c1"], ["y"])
    left, known = folded_constants([*doublings(3), reader], {"c0": np.ones(1)}, kept=["c2", "c3"])
    assert left == [reader]
    assert set(known) == {"c1", "c2", "c3"}
