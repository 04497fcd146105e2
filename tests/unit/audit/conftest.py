"""A finding to report, without any model behind it."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from deepsigns_registry.audit.columns import Reading
from deepsigns_registry.audit.expectations import Judgement
from deepsigns_registry.audit.finding import Finding
from deepsigns_registry.audit.results import DEPLOYED, Row

MakeReading = Callable[..., Reading]
MakeRow = Callable[..., Row]
MakeFinding = Callable[..., Finding]

_START = datetime(2026, 11, 23, 3, 0, tzinfo=UTC)


@pytest.fixture
def reading() -> MakeReading:
    """Makes what a scheme of this name read from a marked file."""

    def make(scheme: str, **changes: Any) -> Reading:
        made = Reading(scheme, 128, 128, -38.5, -37.9)
        if scheme == "blackbox":
            made = Reading(scheme, 400, 390, -317.0, -316.4)
        return replace(made, **changes)

    return make


@pytest.fixture
def row(reading: MakeReading) -> MakeRow:
    """Makes a measured row."""

    def make(label: str = DEPLOYED, strength: float = 0.0, **changes: Any) -> Row:
        made = Row(
            label=label,
            attack=label.partition(":")[0],
            strength=strength,
            accuracy=0.97,
            readings=(reading("whitebox"), reading("blackbox")),
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
            schemes=("whitebox", "blackbox"),
            score="accuracy",
            planned=("prune:0.5",),
            rows=(row(), row("prune:0.5", 0.5)),
            judgement=Judgement(()),
            providers=("CPUExecutionProvider",),
            tool="deepsigns-registry/0",
        )
        return replace(made, **changes)

    return make
