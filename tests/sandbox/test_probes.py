"""Nothing gets out of a room: not as root, not as an ordinary user."""

import os
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.hostile.escapes import NOBODY, outside, probed, reachable_interpreter


@pytest.fixture
def world() -> Iterator[dict[str, Any]]:
    # Not where pytest makes folders: an ordinary user cannot reach those.
    with tempfile.TemporaryDirectory(prefix="deepsigns-test-") as name, outside(Path(name)) as made:
        yield made


def test_nothing_gets_out(world: dict[str, Any]) -> None:
    found = probed(world, sys.executable)
    assert found["got_out"] == []
    assert found["user"] == os.getuid()
    assert found["probes"] >= 30
    assert found["open"] == []
    keys = Path(world["key"]).parent
    assert [path.name for path in keys.iterdir()] == ["owner.pem"]
    assert stat.S_IMODE(Path(world["key"]).stat().st_mode) == 0o666


@pytest.mark.skipif(os.getuid() != 0, reason="the test above ran as an ordinary user")
def test_nothing_gets_out_as_an_ordinary_user(world: dict[str, Any]) -> None:
    found = probed(world, reachable_interpreter(), (str(NOBODY),))
    assert found["got_out"] == []
    assert found["user"] == NOBODY
    assert found["open"] == []
