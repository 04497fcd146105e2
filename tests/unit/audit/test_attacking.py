"""Attacks of an audit that has a time of its own."""

import time

import numpy as np

from deepsigns_registry.audit.attacking import Attacking, attacked_copies
from deepsigns_registry.audit.plan import PlannedRow
from deepsigns_registry.engine.local import LocalEngine
from deepsigns_registry.watermark.data import LabelledData

DATA = LabelledData(np.zeros((8, 4), np.float32), np.arange(8) % 2)
PLANNED = [PlannedRow("prune:0.5", "prune", 0.5), PlannedRow("prune:0.9", "prune", 0.9)]


def test_what_is_too_late_is_said_of_every_attack() -> None:
    said: list[str] = []
    attacking = Attacking(
        engine=LocalEngine(),
        slots=2,
        model=b"no model: nothing may read it",
        train=DATA,
        seed=0,
        until=time.monotonic() - 1,
        memory_bytes=None,
        say=lambda _fraction, words: said.append(words),
    )
    rows = dict(attacked_copies(PLANNED, attacking))
    assert list(rows) == PLANNED
    for result in rows.values():
        assert (result.model, result.error_code) == (b"", "could-not-check")
        assert result.error.startswith("the time of this audit was spent before; raise audit_")
    assert said == []
