"""Disk, runtime, isolation and recipes, as this machine has them."""

import shutil
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from deepsigns_registry.doctor.checks import disk, isolation, recipes, runtime
from deepsigns_registry.sandbox.doors import Doors
from tests.support.installation import installed


class Usage(NamedTuple):
    total: int
    used: int
    free: int


@pytest.mark.parametrize(
    ("free", "standing"), [(2**40, "ok"), (2**29, "attention"), (2**20, "wrong")]
)
def test_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, standing: str) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: Usage(2**41, 0, free))
    lines = list(disk.check(installed(tmp_path)))
    assert {line.standing for line in lines} == {standing}
    assert len(lines) == 4


@pytest.mark.parametrize(
    ("require", "doors", "standing"),
    [
        ("full", Doors(True, True, True, True, True, ("x",)), "ok"),
        ("full", Doors(files=True), "wrong"),
        ("limits", Doors(files=True), "attention"),
    ],
)
def test_isolation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, require: str, doors: Doors, standing: str
) -> None:
    monkeypatch.setattr(isolation, "tried_here", lambda: doors)
    (line,) = isolation.check(installed(tmp_path, f'\n[sandbox]\nrequire = "{require}"\n'))
    assert line.standing == standing


def test_the_provider_that_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "_DEVICE", tmp_path / "none")
    (line,) = runtime.check(installed(tmp_path))
    assert line.standing == "ok"
    assert "computes with" in line.message
    assert "CPU" in line.message
    # A device that nothing is computed with is pointed to.
    if "CUDA" not in line.message:
        monkeypatch.setattr(runtime, "_DEVICE", tmp_path)
        (line,) = runtime.check(installed(tmp_path / "other"))
        assert line.standing == "attention"


@pytest.mark.parametrize(("both", "standing"), [(True, "wrong"), (False, "attention")])
def test_runtimes_that_overwrite_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, both: bool, standing: str
) -> None:
    def version(name: str) -> str:
        if not both:
            raise metadata.PackageNotFoundError(name)
        return "1.23"

    monkeypatch.setattr(runtime, "version", version)
    line = next(runtime.check(installed(tmp_path)))
    assert line.standing == standing


RECIPES = """
[models.good]
data = "doctor_recipe_good:load"
[models.raises]
data = "doctor_recipe_raises:load"
[models.missing]
data = "doctor_recipe_none:load"
[models."a file"]
data = "data.npz"
[models.nofile]
data = "none.npz"
[models.text]
data = "text.parquet"
"""


def test_recipes(tmp_path: Path) -> None:
    settings = installed(tmp_path, RECIPES)
    (tmp_path / "doctor_recipe_good.py").write_text("def load(): raise SystemExit(9)\n")
    (tmp_path / "doctor_recipe_raises.py").write_text("raise SystemExit(9)\n")
    np.savez(tmp_path / "data.npz", x_train=np.zeros(3))
    (tmp_path / "text.parquet").write_text("no")
    lines = list(recipes.check(settings))
    found = {line.message.partition(":")[0]: line.standing for line in lines}
    assert found == {
        "[models.good]": "ok",
        "[models.raises]": "wrong",
        "[models.missing]": "wrong",
        '[models."a file"]': "ok",
        "[models.nofile]": "wrong",
        "[models.text]": "wrong",
    }
    assert not (tmp_path / "__pycache__").exists()


def test_no_recipes_are_right_for_a_server(tmp_path: Path) -> None:
    (line,) = recipes.check(installed(tmp_path))
    assert line.standing == "ok"
