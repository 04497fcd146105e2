"""Old folders of ours are found, and those in use are left out."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from deepsigns_registry.config import Settings
from deepsigns_registry.doctor.checks.leftovers import check
from tests.support.installation import installed


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    return installed(tmp_path / "home")


def made(folder: Path, *, days: float) -> Path:
    (folder / "work").mkdir(parents=True)
    then = time.time() - days * 86_400
    for path in (folder / "work", folder):
        os.utime(path, (then, then))
    return folder


def test_old_folders(settings: Settings, tmp_path: Path) -> None:
    made(tmp_path / "tmp" / "deepsigns-young", days=0.5)
    made(tmp_path / "tmp" / "other", days=9)
    (tmp_path / "tmp" / "deepsigns-link").symlink_to(tmp_path)
    (line,) = check(settings)
    assert line.standing == "ok"
    made(tmp_path / "tmp" / "deepsigns-old", days=9)
    made(settings.base / ".deepsigns-old", days=9)
    (line,) = check(settings)
    assert line.standing == "attention"
    assert line.message.startswith("2 temporary folders")
    assert line.advice.count("deepsigns-old") == 2
    assert (tmp_path / "tmp" / "deepsigns-old").exists()


def test_a_folder_that_changed_inside_is_young(settings: Settings, tmp_path: Path) -> None:
    folder = made(tmp_path / "tmp" / "deepsigns-a", days=9)
    os.utime(folder / "work")
    (line,) = check(settings)
    assert line.standing == "ok"


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="there is no /proc")
@pytest.mark.parametrize("how", ["cwd", "told"])
def test_a_folder_in_use(settings: Settings, tmp_path: Path, how: str) -> None:
    folder = made(tmp_path / "tmp" / "deepsigns-used", days=9)
    process = subprocess.Popen(
        [sys.executable, "-c", "print(flush=True); input()"],
        cwd=folder if how == "cwd" else tmp_path,
        env={"TMPDIR": str(folder)} if how == "told" else {},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        process.stdout.readline()
        (line,) = check(settings)
        assert line.standing == "ok"
    finally:
        process.communicate(b"\n")
    (line,) = check(settings)
    assert line.standing == "attention"
