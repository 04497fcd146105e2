"""Distributions made and installed in a test: the way a third party's code reaches ours."""

import subprocess
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.patience import HANG


@dataclass(frozen=True)
class Distribution:
    """A distribution of one module.

    Attributes:
        name: Of the distribution, and of its module.
        module: The module's source.
        group: Of the entry points.
        points: Entry points by name.
    """

    name: str
    module: str
    group: str
    points: dict[str, str]

    def wheel(self, folder: Path) -> Path:
        """Writes the wheel."""
        info = f"{self.name}-1.0.dist-info"
        points = "\n".join(f"{key} = {value}" for key, value in self.points.items())
        files = {
            f"{self.name}.py": self.module,
            f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {self.name}\nVersion: 1.0\n",
            f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            f"{info}/entry_points.txt": f"[{self.group}]\n{points}\n",
        }
        files[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"])
        path = folder / f"{self.name}-1.0-py3-none-any.whl"
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in files.items():
                archive.writestr(name, content)
        return path


def install(folder: Path, distributions: Sequence[Distribution]) -> Path:
    """Has pip install distributions into a folder, to be put on `sys.path`."""
    wheels = [str(distribution.wheel(folder)) for distribution in distributions]
    target = folder / "installed"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps"]
    command += ["--disable-pip-version-check", "--no-compile", "--target", str(target), *wheels]
    done = subprocess.run(command, capture_output=True, text=True, timeout=HANG, check=False)
    assert done.returncode == 0, done.stderr
    return target
