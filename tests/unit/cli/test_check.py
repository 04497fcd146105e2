"""How an examination is told to a person."""

import pytest

from deepsigns_registry.cli.check import _echo
from deepsigns_registry.registry.figures import STEALTH_COST
from deepsigns_registry.retraining.check import Examination


@pytest.mark.parametrize("stealth", [False, True])
def test_what_stealth_costs_is_said_where_it_is_asked_for(
    capsys: pytest.CaptureFixture[str], *, stealth: bool
) -> None:
    _echo("./cnn", Examination("m", "classification", stealth=stealth, schemes=("spread",)))
    lines = capsys.readouterr().out.splitlines()
    told = [f"  stealth     {STEALTH_COST}"] if stealth else []
    assert lines == [
        "would be marked: ./cnn",
        "  task        classification",
        "  schemes     spread",
        *told,
    ]
