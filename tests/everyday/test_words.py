"""What a person reads sends them the right way."""

import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import HTTPServer, SimpleHTTPRequestHandler
from pathlib import Path

import pytest
import yaml

from tests.everyday.conftest import Register
from tests.support.story import Deepsigns, one_line

GOLDEN = Path(__file__).parents[1] / "golden"


@contextmanager
def https_server(folder: Path) -> Iterator[str]:
    """One whose certificate nobody signed."""
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=localhost", "-keyout", key, "-out", certificate),
        ],
        check=True,
        capture_output=True,
    )
    server = HTTPServer(("127.0.0.1", 0), SimpleHTTPRequestHandler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"https://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.deep
def test_a_certificate_is_no_server_that_is_down(tmp_path: Path, deepsigns: Deepsigns) -> None:
    with https_server(tmp_path) as uri:
        (tmp_path / "deepsigns.toml").write_text(f'[registry]\ntracking_uri = "{uri}"\n')
        line = one_line(deepsigns("status", "fraud", folder=tmp_path), 3)
    assert "certificate is not accepted: self-signed certificate" in line
    assert "MLFLOW_TRACKING_SERVER_CERT_PATH" in line
    assert "does not answer" not in line


FLAVOURS = {
    "sklearn": {"sklearn": {"pickled_model": "model.pkl"}, "python_function": {}},
    "xgboost": {"xgboost": {"data": "model.ubj"}, "python_function": {}},
    "pickled": {"pytorch": {"model_data": "data"}, "python_function": {}},
}


@pytest.mark.deep
@pytest.mark.parametrize("flavour", FLAVOURS)
def test_what_can_never_be_marked_is_refused_at_once(
    model: Path, register: Register, deepsigns: Deepsigns, flavour: str
) -> None:
    (model / "data" / "model.pt2").unlink()
    (model / "data" / "model.pth").write_bytes(b"weights")
    (model / "MLmodel").write_text(yaml.safe_dump({"flavors": FLAVOURS[flavour]}))
    version = register(flavour, model)
    line = one_line(deepsigns("promote", f"{flavour}/{version}"), 1)
    assert line.startswith("error (refused): ")
    assert "cannot be marked" in line
    assert "nothing was queued" in line
    assert deepsigns("status", flavour).out == "no promotion requests\n"


@pytest.mark.deep
def test_a_promotion_that_waits_is_called_queued(
    model: Path, register: Register, deepsigns: Deepsigns
) -> None:
    version = register("waits", model)
    foreseen = deepsigns("promote", f"waits/{version}", "--dry-run")
    assert foreseen.out.startswith(f"queued (dry run): waits/{version} would be queued")
    assert deepsigns("status", "waits").out == "no promotion requests\n"
    done = deepsigns("promote", f"waits/{version}")
    assert done.code == 0
    assert done.out.startswith(f"queued: waits/{version} is queued for marking")
    assert "refused" not in done.out


def test_a_wrong_public_key_is_called_one(deepsigns: Deepsigns, tmp_path: Path) -> None:
    v1, v2 = GOLDEN / "evidence" / "v1", GOLDEN / "evidence" / "v2"
    files = [str(v2 / "evidence.zip"), str(v2 / "suspect.onnx")]
    done = deepsigns(
        "evidence", "verify", *files, "--public-key", str(v1 / "signer.pub.pem"), folder=tmp_path
    )
    line = one_line(done, 4)
    assert line.startswith("error (untrusted-signer): ")
    assert "tampered" not in line
    # There are no settings here.
    assert "deepsigns.toml" not in line
    assert "name the public key of the signer" in line


def test_there_is_one_marking_of_errors() -> None:
    sources = (Path(__file__).parents[2] / "deepsigns_registry" / "cli").glob("*.py")
    assert not [path for path in sources if '"no"' in path.read_text()]
