"""A small marked perceptron after attacks: what the mark withstands there, and what it does not."""

import pytest

from benchmarks.thieves.reading import examined
from deepsigns_registry.attacks import parse_attack
from deepsigns_registry.watermark.fidelity import accuracy
from deepsigns_registry.watermark.suspect import TappedSuspect
from tests.unit.watermark.conftest import Marked


@pytest.mark.parametrize(
    "attack",
    [
        *("lowrank:0.3", "quantize:int4", "merge:2", "finetune_sgd:10", "decay:6"),
        *("redraw:1", "smooth:3", "finetune:3", "prune:0.5", "noise:0.2"),
    ],
)
def test_the_mark_is_found_after(attack: str, marked: Marked) -> None:
    attacked = parse_attack(attack).apply(marked.model, marked.data.train, seed=0)
    found = examined(marked.record, TappedSuspect(attacked))
    assert found.word == "present"
    assert found.groups["joint"] <= -6
    whole = accuracy(marked.model, marked.data.validation)
    assert accuracy(attacked, marked.data.validation) > whole - 0.05


@pytest.mark.parametrize("attack", ["distill:20", "distill_hard:20", "reconstruct:10", "redraw:3"])
def test_what_starts_from_nothing_holds_no_layer_of_ours(attack: str, marked: Marked) -> None:
    attacked = parse_attack(attack).apply(marked.model, marked.data.train, seed=0)
    found = examined(marked.record, TappedSuspect(attacked))
    # By chance in one of a hundred readings.
    assert found.groups["white box"] > -2
    assert accuracy(attacked, marked.data.validation) > 0.9


def test_unmarked_models_are_not_claimed(marked: Marked) -> None:
    for model in (marked.parent, marked.sibling):
        found = examined(marked.record, TappedSuspect(model))
        assert found.word != "present"
        assert found.groups["joint"] > -2
