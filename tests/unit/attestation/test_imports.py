import subprocess
import sys

import pytest

MODULES = (
    "bundle", "chain", "commitment", "digests", "envelope", "files", "keys", "keystore", "policy",
    "sealing", "signing", "statement", "verification",
)  # fmt: skip

IMPORT_ALL = "import sys\n" + "".join(
    f"import deepsigns_registry.attestation.{module}\n" for module in MODULES
)


def _loaded(code: str) -> set[str]:
    printed = subprocess.run(
        [sys.executable, "-c", f"{code}\nprint(*{{name.split('.')[0] for name in sys.modules}})"],
        check=True,
        capture_output=True,
        text=True,
    )
    return set(printed.stdout.split())


@pytest.mark.parametrize("heavy", ["torch", "numpy", "onnx", "onnxruntime", "scipy", "mlflow"])
def test_a_server_needs_nothing_heavy(heavy: str) -> None:
    assert heavy not in _loaded(IMPORT_ALL)


def test_signing_libraries_load_only_when_used() -> None:
    assert not _loaded(IMPORT_ALL) & {"model_signing", "sigstore", "boto3", "securesystemslib"}


def test_even_verifying_needs_nothing_heavy() -> None:
    code = (
        IMPORT_ALL + "import model_signing.verifying, model_signing.signing\n"
        "import securesystemslib.dsse, in_toto_attestation.v1.statement\n"
    )
    assert not _loaded(code) & {"torch", "numpy", "onnx", "onnxruntime", "scipy", "mlflow"}
