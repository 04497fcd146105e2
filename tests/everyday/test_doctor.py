"""`deepsigns doctor` against a real server, with and without its gate."""

from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from deepsigns_registry.config import load_settings
from deepsigns_registry.doctor.checks import requests, server
from deepsigns_registry.registry.server import Server, start_server
from tests.everyday.conftest import Register
from tests.support.installation import installed
from tests.support.story import Deepsigns

pytestmark = pytest.mark.deep


def test_an_installation(server: Server, home: Path, deepsigns: Deepsigns, tmp_path: Path) -> None:
    del home
    installed(tmp_path / "new", uri=server.uri)
    done = deepsigns("doctor", "--json", folder=tmp_path / "new")
    lines = done.answer["lines"]
    assert [line for line in lines if line["standing"] in {"wrong", "unchecked"}] == []
    assert done.code == 0
    said = {line["check"]: line for line in lines}
    gate, protected = [line["message"] for line in lines if line["check"] == "server"][-2:]
    assert gate.startswith("the server has the gate")
    assert protected.endswith("knows what is protected")
    assert {line["standing"] for line in lines if line["check"] == "versions"} == {"ok"}
    assert said["clock"]["standing"] == "ok"
    told = deepsigns("doctor", folder=tmp_path / "new")
    assert [line.split()[:2] for line in told.out.splitlines() if " -> " not in line][:-1] == [
        [line["standing"], line["check"]] for line in lines
    ]


def test_a_request_that_nobody_takes(
    client: MlflowClient,
    register: Register,
    model: Path,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name = "doctor's model"
    version = register(name, model)
    with pytest.raises(Exception, match="queued for marking"):
        client.set_registered_model_alias(name, "champion", version)
    settings = load_settings(home / "deepsigns.toml")
    assert [line.standing for line in requests.check(settings)] == ["ok"]
    monkeypatch.setattr(requests, "_LONG", 0.0)
    monkeypatch.setattr(requests, "_MOST", 1000)
    lines = [line for line in requests.check(settings) if name in line.message]
    assert [line.standing for line in lines] == ["attention"]
    assert lines[0].advice.endswith(f'''deepsigns status "{name}/{version}"''')


def test_a_server_without_the_gate(tmp_path: Path) -> None:
    with start_server(tmp_path / "server", config=None, gated=False) as running:
        settings = installed(tmp_path / "new", uri=running.uri)
        *_, line = server.check(settings)
        assert MlflowClient(running.uri).search_registered_models() == []
    assert line.standing == "wrong"
    assert "no gate" in line.message


def test_a_server_without_settings(tmp_path: Path) -> None:
    with start_server(tmp_path / "server", config=None) as running:
        *_, gate, line = server.check(installed(tmp_path / "new", uri=running.uri))
    assert (gate.standing, line.standing) == ("ok", "wrong")
    assert "the server does not know what is protected" in line.message
