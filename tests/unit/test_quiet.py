"""No process of ours leaves what its libraries collect, nor undoes what an operator chose."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from deepsigns_registry.quiet import OPTED_OUT, be_quiet


def test_an_operators_choice_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DO_NOT_TRACK", raising=False)
    monkeypatch.setenv("GX_ANALYTICS_ENABLED", "true")
    be_quiet()
    assert os.environ["DO_NOT_TRACK"] == "true"
    assert os.environ["GX_ANALYTICS_ENABLED"] == "true"


def test_the_runtime_writes_nothing_under_the_users_cache(tmp_path: Path) -> None:
    """Alone it writes a device identifier and a database, as soon as it is imported."""
    written = {}
    for first in ("onnxruntime", "deepsigns_registry.graph.locate"):
        home = tmp_path / first
        home.mkdir()
        kept = {name: value for name, value in os.environ.items() if name not in OPTED_OUT}
        kept |= {"HOME": str(home), "XDG_CACHE_HOME": str(home / ".cache")}
        subprocess.run([sys.executable, "-c", f"import {first}"], env=kept, check=True)
        written[first] = [path for path in home.rglob("*") if path.is_file()]
    # Versions before 1.29 collected nothing.
    assert not written["deepsigns_registry.graph.locate"], f"alone: {written['onnxruntime']}"
