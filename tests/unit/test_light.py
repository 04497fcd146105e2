"""What a command does not need, it does not import: times in CI and light installations."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.patience import HANG

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests/golden"
EVIDENCE = GOLDEN / "evidence/v2"
CALL = """
import sys
from deepsigns_registry.cli import main
try:
    main(sys.argv[1:])
except SystemExit as ended:
    print("exit", ended.code)
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""
LATER = """
import sys
from deepsigns_registry.registry.light import light_mlflow
with light_mlflow():
    from deepsigns_registry.registry.gate import gate
    from deepsigns_registry.registry.reader import make_reader
import mlflow
assert "pandas" not in sys.modules and "MlflowClient" not in vars(mlflow)
reader = make_reader("sqlite:///" + sys.argv[1])
assert type(reader) is mlflow.MlflowClient
from mlflow.tracking import MlflowClient
assert MlflowClient is mlflow.MlflowClient
print("ok")
"""


def run(code: str, *arguments: str | Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=HANG,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def loaded(code: str, *arguments: str | Path) -> tuple[str, set[str]]:
    """How a command ended, and the packages that it imported."""
    *_, ended, packages = run(code, *arguments).splitlines()
    return ended, set(packages.split())


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    path = tmp_path / "deepsigns.toml"
    key = GOLDEN / "attestation/signer.pub.pem"
    path.write_text(
        '[registry]\ntracking_uri = "http://127.0.0.1:9"\n'
        f'[policy]\nkeys = [{{ public_key = "{key}", may_sign = ["watermark"] }}]\n'
    )
    return path


def test_evidence_is_verified_without_torch_and_scipy() -> None:
    ended, packages = loaded(
        CALL, "evidence", "verify", EVIDENCE / "evidence.zip", EVIDENCE / "suspect.onnx",
        "--public-key", EVIDENCE / "signer.pub.pem",
        "--attestation", EVIDENCE / "known.sigstore.json",
    )  # fmt: skip
    assert ended == "exit 0"
    assert "onnx" in packages
    assert not packages & {"torch", "scipy", "mlflow", "pandas", "boto3", "sigstore"}


@pytest.mark.parametrize("module", ["audit.verify", "evidence.verify", "evidence.export"])
def test_what_reads_marks_imports_neither_torch_nor_scipy(module: str) -> None:
    printed = run(f"import sys, deepsigns_registry.{module}\nprint(*sys.modules)")
    packages = {name.partition(".")[0] for name in printed.split()}
    assert "numpy" in packages
    assert not packages & {"torch", "scipy", "mlflow", "pandas", "matplotlib", "sklearn"}


def test_the_gate_of_a_folder_imports_no_more_than_signatures_need(settings: Path) -> None:
    folder = GOLDEN / "attestation/model"
    ended, packages = loaded(CALL, "gate", folder, "--config", settings)
    assert ended == "exit 0"
    assert "model_signing" in packages
    heavy = {"torch", "numpy", "onnx", "mlflow", "pandas", "fastapi", "boto3", "sigstore"}
    assert not packages & heavy


def test_the_gate_of_a_registry_imports_no_more_than_requests_need(settings: Path) -> None:
    ended, packages = loaded(CALL, "gate", "models:/fraud@champion", "--config", settings)
    # The request was made: nothing listens there.
    assert ended == "exit 3"
    assert "mlflow" in packages
    heavy = {"torch", "numpy", "onnx", "pandas", "fastapi", "sqlalchemy", "flask", "boto3"}
    assert not packages & heavy


def test_what_a_light_mlflow_lacks_comes_when_it_is_asked_for(tmp_path: Path) -> None:
    database = tmp_path / "mlflow.db"
    database.touch()
    assert run(LATER, database).strip() == "ok"
