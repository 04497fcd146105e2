"""What the package promises about itself."""

import re
import subprocess
import sys
from pathlib import Path

import deepsigns_registry
from deepsigns_registry.cli import main


def test_the_root_has_few_names() -> None:
    assert deepsigns_registry.__all__ == ["__version__"]


def test_the_help_needs_neither_torch_nor_mlflow() -> None:
    code = (
        "import sys; from deepsigns_registry.cli import main; main(['--help'], "
        "standalone_mode=False); heavy = {'torch', 'mlflow', 'numpy', 'pydantic', 'boto3', 'onnx'};"
        "sys.exit(str(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Exit codes: 0 yes" in done.stdout


def test_every_command_that_an_error_recommends_exists() -> None:
    package = Path(deepsigns_registry.__file__).parent
    recommended = {
        (path.name, command)
        for path in package.rglob("*.py")
        for command in re.findall(r": deepsigns ([a-z-]+)", path.read_text("utf-8"))
    }
    assert recommended
    assert {entry for entry in recommended if entry[1] not in main.commands} == set()
