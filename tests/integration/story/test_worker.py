"""The worker when things go wrong: what it says, what it leaves behind, and who goes on."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from mlflow.tracking import MlflowClient

from deepsigns_registry.registry.client import make_client
from deepsigns_registry.registry.server import start_server
from deepsigns_registry.registry.transitions import PromotionState
from tests.support.patience import HANG
from tests.support.story import Deepsigns, Demo, changed

pytestmark = pytest.mark.integration

DATA = 'data = "training.npz"'


@pytest.fixture(scope="module")
def home(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what the demo left, to be changed."""
    folder = tmp_path_factory.mktemp("worker") / "home"
    ignore = shutil.ignore_patterns("audits", "unmarked*", "tampered", "deployed", "server.log")
    shutil.copytree(demo.folder, folder, ignore=ignore)
    return folder


@pytest.fixture(scope="module")
def environment(home: Path) -> Iterator[dict[str, str]]:
    """The environment of commands that talk to a server on that copy."""
    with start_server(home / "mlflow", config=home / "deepsigns.toml") as server:
        yield {"DEEPSIGNS_REGISTRY__TRACKING_URI": server.uri}


@pytest.fixture
def client(environment: dict[str, str]) -> MlflowClient:
    return make_client(environment["DEEPSIGNS_REGISTRY__TRACKING_URI"])


def test_a_model_that_cannot_be_marked_is_explained_to_the_worker_only(
    home: Path, environment: dict[str, str], deepsigns: Deepsigns
) -> None:
    with changed(home / "deepsigns.toml", DATA, f"{DATA}\nbits = 4096"):
        assert deepsigns("promote", "digits/1", folder=home, **environment).code == 0
        done = deepsigns("worker", "--once", folder=home, **environment)
    assert done.code == 2, done.out + done.err
    assert "failed: digits/1: the widest hidden activation, layer '" in done.out
    assert "has 512 neurons" in done.out
    shown = deepsigns("status", "digits/1", folder=home, **environment).out
    assert "champion: failed  this model cannot be marked as configured" in shown
    # Where the mark would sit is secret; tags of the registry are public.
    assert not any(word in shown for word in ("hidden", "features", "neurons"))


def test_a_process_that_dies_leaves_the_request_queued_and_says_why(
    home: Path, environment: dict[str, str], deepsigns: Deepsigns
) -> None:
    (home / "dying_data.py").write_text(
        "import os, signal\ndef load():\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    with changed(home / "deepsigns.toml", DATA, 'data = "dying_data:load"'):
        assert deepsigns("promote", "digits/1", folder=home, **environment).code == 0
        done = deepsigns("worker", "--once", folder=home, **environment)
    assert done.code == 3, done.out + done.err
    shown = deepsigns("status", "digits/1", folder=home, **environment).out
    assert "champion: queued  attempt 1: a job was ended by SIGKILL" in shown


def test_a_worker_that_is_told_to_end_cleans_up_and_gives_the_lease_back(
    home: Path,
    environment: dict[str, str],
    client: MlflowClient,
    deepsigns: Deepsigns,
    tmp_path: Path,
) -> None:
    fence = _fence(client)
    with changed(home / "deepsigns.toml", DATA, f"{DATA}\nseed = 7\nepochs = 500"):
        assert deepsigns("promote", "digits/1", folder=home, **environment).code == 0
        worker = subprocess.Popen(
            [sys.executable, "-m", "deepsigns_registry", "worker"],
            cwd=home,
            env={**os.environ, **environment, "TMPDIR": str(tmp_path)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            while not list(tmp_path.glob("deepsigns-worker-*/stage-*")):
                assert worker.poll() is None
                time.sleep(0.2)
            worker.send_signal(signal.SIGTERM)
            _, errors = worker.communicate(timeout=HANG)
        finally:
            worker.kill()
    assert worker.returncode == 3
    assert "error (could-not-check): interrupted\n" in errors
    assert not list(tmp_path.glob("deepsigns-worker-*"))
    assert _fence(client) == fence + 1
    done = deepsigns("worker", "--once", folder=home, **environment)
    assert "promoted: digits/1: champion -> digits/2" in done.out, done.out + done.err


def test_a_marked_version_that_is_gone_is_made_again(
    home: Path, environment: dict[str, str], client: MlflowClient, deepsigns: Deepsigns
) -> None:
    client.delete_registered_model_alias("digits", "champion")
    client.delete_model_version("digits", "2")
    assert deepsigns("promote", "digits/1", folder=home, **environment).code == 0
    done = deepsigns("worker", "--once", folder=home, **environment)
    assert "promoted: digits/1: champion -> digits/3" in done.out, done.out + done.err
    assert deepsigns("gate", "models:/digits@champion", folder=home, **environment).code == 0


def test_mended_data_in_the_same_file_gives_another_mark(
    home: Path, environment: dict[str, str], client: MlflowClient, deepsigns: Deepsigns
) -> None:
    path = home / "training.npz"
    whole = path.read_bytes()
    with np.load(path) as arrays:
        mended = {name: arrays[name] for name in arrays.files}
    mended = {
        name: value[:-5] if name.endswith("_train") else value for name, value in mended.items()
    }
    before = client.get_model_version_by_alias("digits", "champion").version
    try:
        np.savez(path, **mended)
        client.delete_registered_model_alias("digits", "champion")
        assert deepsigns("promote", "digits/1", folder=home, **environment).code == 0
        done = deepsigns("worker", "--once", folder=home, **environment)
        assert done.code == 0, done.out + done.err
        after = client.get_model_version_by_alias("digits", "champion").version
        assert after != before
    finally:
        path.write_bytes(whole)
    client.delete_registered_model_alias("digits", "champion")
    assert deepsigns("promote", "digits/1", folder=home, **environment).code == 0
    done = deepsigns("worker", "--once", folder=home, **environment)
    # The same data as before has its mark already.
    assert f"champion -> digits/{before}" in done.out, done.out + done.err
    assert "marked on" not in done.out


def test_a_mark_that_does_not_take_is_tried_in_other_layers_and_refused(
    home: Path, environment: dict[str, str], deepsigns: Deepsigns
) -> None:
    with changed(home / "deepsigns.toml", DATA, f"{DATA}\nlearning_rate = 1e-9\nrounds = 0"):
        assert deepsigns("promote", "digits/1", folder=home, **environment).code == 0
        done = deepsigns("worker", "--once", folder=home, **environment)
    assert done.code == 1, done.out + done.err
    shown = deepsigns("status", "digits/1", folder=home, **environment).out
    for said in (done.out, shown):
        assert "layers; in the last one after 1 round of 900 steps the mark is too weak" in said
        assert "reached log10 p" in said
        assert "raise epochs" in said
    given_up = list((home / "keystore").glob("*/given-up"))
    assert 2 <= len(given_up) <= 3
    assert not list((home / "checkpoints").glob("*"))


def _fence(client: MlflowClient) -> int:
    return PromotionState.from_tags(client.get_model_version("digits", "1").tags).fence
