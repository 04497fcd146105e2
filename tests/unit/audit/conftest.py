"""A finding to report, without any model behind it."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from deepsigns_registry.audit.expectations import Judgement
from deepsigns_registry.audit.finding import Finding
from deepsigns_registry.audit.results import DEPLOYED, Row

MakeRow = Callable[..., Row]
MakeFinding = Callable[..., Finding]

_START = datetime(2026, 11, 23, 3, 0, tzinfo=UTC)


@pytest.fixture
def row() -> MakeRow:
    """Makes a measured row."""

    def make(label: str = DEPLOYED, strength: float = 0.0, **changes: Any) -> Row:
        made = Row(
            label=label,
            attack=label.partition(":")[0],
            strength=strength,
            accuracy=0.97,
            whitebox_bits=128,
            whitebox_bit_errors=0,
            whitebox_log10_p=-38.5,
            whitebox_log10_p_adjusted=-37.9,
            blackbox_queries=400,
            blackbox_matches=390,
            blackbox_log10_p=-317.0,
            blackbox_log10_p_adjusted=-316.4,
            verdict="present",
            seconds=1.5,
        )
        return replace(made, **changes)

    return make


@pytest.fixture
def finding(row: MakeRow) -> MakeFinding:
    """Makes a finding of a marked file; the judgement is empty."""

    def make(**changes: Any) -> Finding:
        made = Finding(
            deployment="app",
            model="digits",
            target="models/app.onnx",
            owner_name="Example Ltd",
            owner="ab" * 32,
            outcome="present",
            message="",
            error_code="",
            started=_START,
            finished=_START + timedelta(seconds=95),
            onnx_digest="3f" * 32,
            onnx_size=105_005,
            attestation="This exact file is attested.",
            marking="m1",
            tries=4,
            planned=("prune:0.5",),
            rows=(row(), row("prune:0.5", 0.5)),
            judgement=Judgement(()),
            providers=("CPUExecutionProvider",),
            tool="deepsigns-registry/0",
        )
        return replace(made, **changes)

    return make
