"""Every command against what the demo left: without a server where it reads, with one else.

And bad input: one clear line, the right exit code, nothing half-written.
"""

import json
import shutil
from pathlib import Path

import pytest

from deepsigns_registry.config import load_settings
from deepsigns_registry.registry.client import make_client
from tests.support.story import Deepsigns, Demo, changed, one_line

pytestmark = pytest.mark.integration


@pytest.fixture
def copy(demo: Demo, tmp_path: Path) -> Path:
    """The demo's folder without its MLflow part, for tests that change something."""
    folder = tmp_path / "copy"
    ignore = shutil.ignore_patterns("mlflow", "audits", "unmarked", "tampered")
    shutil.copytree(demo.folder, folder, ignore=ignore)
    return folder


class TestWithoutAServer:
    def test_the_gate_lets_the_champion_through(self, demo: Demo, deepsigns: Deepsigns) -> None:
        done = deepsigns("gate", "models:/digits@champion", "--json", folder=demo.folder)
        assert done.code == 0, done.err
        assert done.answer["predicate"]["parent"]["version"] == "1"

    def test_the_gate_refuses_the_unmarked_version(self, demo: Demo, deepsigns: Deepsigns) -> None:
        line = one_line(deepsigns("gate", "digits/1", folder=demo.folder), 1)
        assert line.startswith("error (refused): digits/1 has no watermark attestation; ")

    @pytest.mark.parametrize("uri", ["digits/7", "nobody/1", "models:/digits@nobody"])
    def test_what_does_not_exist_is_not_found(
        self, demo: Demo, deepsigns: Deepsigns, uri: str
    ) -> None:
        line = one_line(deepsigns("gate", uri, folder=demo.folder), 2)
        assert line.startswith("error (not-found): ")

    def test_an_error_is_json_too(self, demo: Demo, deepsigns: Deepsigns) -> None:
        done = deepsigns("gate", "digits/7", "--json", folder=demo.folder)
        assert done.code == done.document["exit_code"] == 2
        assert done.document["error"]["code"] == "not-found"

    def test_verify_finds_the_mark(self, demo: Demo, deepsigns: Deepsigns) -> None:
        done = deepsigns("verify", demo.summary["onnx"], folder=demo.folder)
        assert done.code == 0, done.err
        assert done.out.startswith("present: ")
        assert "an exact copy of digits/2" in done.out

    def test_fetch_delivers_what_was_verified(
        self, demo: Demo, deepsigns: Deepsigns, tmp_path: Path
    ) -> None:
        out = tmp_path / "model"
        done = deepsigns("fetch", "digits/2", "--out", str(out), folder=demo.folder)
        assert done.code == 0, done.err
        delivered = (out / "model.onnx").read_bytes()
        assert delivered == Path(demo.summary["onnx"]).read_bytes()
        again = one_line(deepsigns("fetch", "digits/2", "--out", str(out), folder=demo.folder), 2)
        assert "exists already" in again

    def test_fetch_leaves_nothing_behind_when_it_refuses(
        self, demo: Demo, deepsigns: Deepsigns, tmp_path: Path
    ) -> None:
        done = deepsigns("fetch", "digits/1", "--out", str(tmp_path / "m"), folder=demo.folder)
        one_line(done, 1)
        assert list(tmp_path.iterdir()) == []

    def test_status_tells_the_story(self, demo: Demo, deepsigns: Deepsigns) -> None:
        done = deepsigns("status", "digits", "--json", folder=demo.folder)
        (request,) = done.answer["requests"]
        assert (request["state"], request["marked_version"]) == ("done", "2")
        assert request["progress"]["percent"] == 100
        assert request["progress"]["figures"]["accuracy"] > 0.9

    def test_a_request_that_has_ended_is_not_waited_for(
        self, demo: Demo, deepsigns: Deepsigns
    ) -> None:
        done = deepsigns("status", "digits/1", "--watch", folder=demo.folder)
        assert done.code == 0, done.err
        assert done.out.startswith("digits/1  champion: done -> digits/2")

    def test_the_marking_has_a_run_of_its_own_that_tells_no_secret(self, demo: Demo) -> None:
        client = make_client(load_settings(demo.folder / "deepsigns.toml").tracking_uri)
        experiment = client.get_experiment_by_name("deepsigns-markings")
        assert experiment is not None
        (run,) = client.search_runs([experiment.experiment_id])
        assert (run.info.run_name, run.info.status) == ("digits/1", "FINISHED")
        assert run.data.metrics["accuracy"] > 0.9
        assert run.data.tags["deepsigns.model"] == "digits"
        everything = json.dumps(run.to_dictionary())
        assert not any(word in everything for word in ("hidden", "features", "AGE-SECRET-KEY"))

    def test_check_tells_how_the_unmarked_version_would_be_marked(
        self, demo: Demo, deepsigns: Deepsigns
    ) -> None:
        done = deepsigns("check", "digits/1", "--json", folder=demo.folder)
        assert done.code == 0, done.out + done.err
        found = done.answer
        assert found["markable"] is True
        assert found["inputs"] == {"shape": [1, 8, 8], "dtype": "float32"}
        assert found["schemes"] == ["blackbox", "spread", "whitebox"]
        assert found["judgement"]["fit"] is True
        assert all(width >= 24 for width in found["candidates"])
        assert not any(word in done.out for word in ("hidden.", "features."))

    def test_the_audit_is_not_due_again(self, demo: Demo, deepsigns: Deepsigns) -> None:
        done = deepsigns("audit", "run-due", folder=demo.folder)
        assert (done.code, done.out) == (0, "nothing is due\n"), done.err

    def test_promote_and_worker_say_that_they_need_the_server(
        self, demo: Demo, deepsigns: Deepsigns
    ) -> None:
        for command in (["promote", "digits/2"], ["worker", "--once"]):
            line = one_line(deepsigns(*command, folder=demo.folder), 2)
            assert "http:// address" in line

    def test_evidence_is_exported_and_checked_by_a_third_party(
        self, demo: Demo, deepsigns: Deepsigns, tmp_path: Path
    ) -> None:
        file, key = tmp_path / "evidence.zip", tmp_path / "public.pem"
        known = tmp_path / "archived.json"
        onnx = demo.summary["onnx"]
        export = ("evidence", "export", onnx, "--out", str(file), "--scanned", "3")
        done = deepsigns(*export, folder=demo.folder)
        assert done.code == 0, done.err
        assert "states, signed: 3 suspects scanned, this one included" in done.out
        assert "states, signed: 1 commitments by 1 owner keys" in done.out
        shutil.copy(demo.summary["attestation"]["public_key"], key)
        shutil.copy(demo.summary["attestation"]["bundle"], known)
        check = ("evidence", "verify", str(file), onnx, "--public-key", str(key))
        done = deepsigns(*check, "--attestation", str(known), folder=tmp_path)
        assert done.code == 0, done.out + done.err
        assert f"present: {onnx}" in done.out
        # The worker's attestation names its entry in the chain.
        assert "commitment 1 of its owner, and names its entry in the chain" in done.out
        assert " tries = 3 suspects x 1 commitments x " in done.out
        done = deepsigns(*check, folder=tmp_path)
        assert done.code == 3, done.out + done.err
        assert f"undecided: {onnx}" in done.out
        assert "give the attestation as you knew it before" in done.out
        known.write_bytes(known.read_bytes() + b"\n")
        done = deepsigns(*check, "--attestation", str(known), folder=tmp_path)
        assert f"{known}: is not spelled as it was written" in one_line(done, 4)

    def test_evidence_about_an_unmarked_file_is_refused(
        self, demo: Demo, deepsigns: Deepsigns, tmp_path: Path
    ) -> None:
        out = tmp_path / "evidence.zip"
        command = ("evidence", "export", "unmarked.onnx", "--out", str(out))
        one_line(deepsigns(*command, folder=demo.folder), 1)
        assert not out.exists()


class TestWithTheServer:
    def test_promoting_the_marked_version_again_is_allowed(
        self, demo: Demo, server: str, deepsigns: Deepsigns
    ) -> None:
        done = deepsigns(
            *["promote", "digits/2", "--json"],
            folder=demo.folder,
            DEEPSIGNS_REGISTRY__TRACKING_URI=server,
        )
        assert done.code == 0, done.err
        assert done.answer["state"] == "promoted"

    def test_a_version_that_was_marked_before_is_not_marked_again(
        self, demo: Demo, server: str, deepsigns: Deepsigns
    ) -> None:
        environment = {"DEEPSIGNS_REGISTRY__TRACKING_URI": server}
        done = deepsigns("promote", "digits/1", folder=demo.folder, **environment)
        assert done.code == 0, done.err
        assert done.out.startswith("queued: ")
        done = deepsigns("worker", "--once", folder=demo.folder, **environment)
        assert done.code == 0, done.err
        assert "promoted: digits/1: champion -> digits/2" in done.out
        done = deepsigns("worker", "--once", folder=demo.folder, **environment)
        assert (done.code, done.out) == (0, "nothing to do\n")

    def test_data_that_cannot_be_used_fails_the_request_with_its_reason(
        self, demo: Demo, server: str, deepsigns: Deepsigns, tmp_path: Path
    ) -> None:
        (tmp_path / "broken.py").write_text(
            "import numpy as np\n"
            "def load():\n"
            "    x = np.full((9, 1, 8, 8), np.nan); y = np.zeros(9, dtype=int)\n"
            "    return (x, y), (x, y)\n"
        )
        environment = {
            "DEEPSIGNS_REGISTRY__TRACKING_URI": server,
            "PYTHONPATH": str(tmp_path),
        }
        config = demo.folder / "deepsigns.toml"
        with changed(config, 'data = "training.npz"', 'data = "broken:load"'):
            done = deepsigns("promote", "digits/1", folder=demo.folder, **environment)
            assert done.code == 0, done.err
            done = deepsigns("worker", "--once", folder=demo.folder, **environment)
        assert done.code == 2, done.out + done.err
        assert "failed: digits/1: train: sample 0 holds NaN" in done.out
        listed = deepsigns("status", "digits/1", folder=demo.folder, **environment)
        assert "champion: failed" in listed.out
        assert "holds NaN" in listed.out


class TestBadInput:
    def test_no_settings_file(self, deepsigns: Deepsigns, tmp_path: Path) -> None:
        for command in ("gate a/1", "check a/1", "verify x.onnx", "status", "audit run"):
            line = one_line(deepsigns(*command.split(), folder=tmp_path), 2)
            assert "deepsigns.toml: no such file; run: deepsigns init" in line

    def test_check_of_what_is_not_there(self, copy: Path, deepsigns: Deepsigns) -> None:
        assert "no such folder" in one_line(deepsigns("check", "./nowhere", folder=copy), 2)
        line = one_line(deepsigns("check", "./keys", "--model", "other", folder=copy), 2)
        assert "no section [models.other]" in line

    def test_a_malformed_settings_file(self, deepsigns: Deepsigns, tmp_path: Path) -> None:
        (tmp_path / "deepsigns.toml").write_text("[registry")
        assert "not valid TOML" in one_line(deepsigns("gate", "a/1", folder=tmp_path), 2)

    def test_a_server_that_is_down(self, copy: Path, deepsigns: Deepsigns) -> None:
        down = {"DEEPSIGNS_REGISTRY__TRACKING_URI": "http://127.0.0.1:9"}
        for command in (["gate", "digits/2"], ["status"], ["worker", "--once"]):
            line = one_line(deepsigns(*command, folder=copy, **down), 3)
            assert line.startswith("error (could-not-check): ")

    def test_a_file_that_is_no_onnx_file(self, copy: Path, deepsigns: Deepsigns) -> None:
        (copy / "text.onnx").write_text("this is text")
        assert "text.onnx" in one_line(deepsigns("verify", "text.onnx", folder=copy), 3)
        one_line(deepsigns("verify", "missing.onnx", folder=copy), 2)

    def test_one_changed_byte(self, copy: Path, deepsigns: Deepsigns) -> None:
        path = copy / "deployed" / "model.onnx"
        content = bytearray(path.read_bytes())
        content[100] ^= 1
        path.write_bytes(content)
        line = one_line(deepsigns("gate", "./deployed", folder=copy), 4)
        assert line.startswith("error (tampered): ")

    def test_a_missing_and_a_wrong_owner_key(self, copy: Path, deepsigns: Deepsigns) -> None:
        key = copy / "keys" / "worker.pub.pem"
        key.rename(copy / "kept.pem")
        assert "worker.pub.pem" in one_line(deepsigns("gate", "./deployed", folder=copy), 2)
        shutil.copy(copy / "keys" / "owner.pub.pem", key)
        line = one_line(deepsigns("gate", "./deployed", folder=copy), 4)
        assert "not signed by a key that the policy trusts" in line
        (copy / "keys" / "owner.pub.pem").unlink()
        line = one_line(deepsigns("verify", "deployed/model.onnx", folder=copy), 2)
        assert "owner.pub.pem" in line

    def test_a_secret_sealed_to_another_key(self, copy: Path, deepsigns: Deepsigns) -> None:
        other = copy.parent / "other"
        assert deepsigns("init", "--owner", "B", "--out", str(other), folder=copy).code == 0
        shutil.copy(other / "keys" / "sealing.key", copy / "keys" / "sealing.key")
        line = one_line(deepsigns("verify", "deployed/model.onnx", folder=copy), 3)
        assert "AGE-SECRET-KEY" not in line
        (copy / "keys" / "sealing.key").unlink()
        one_line(deepsigns("verify", "deployed/model.onnx", folder=copy), 2)

    def test_an_unknown_deployment_and_a_bad_attack(self, copy: Path, deepsigns: Deepsigns) -> None:
        line = one_line(deepsigns("audit", "run", "nobody", folder=copy), 2)
        assert "no deployment named 'nobody'" in line
        with changed(copy / "deepsigns.toml", '"prune:0.3"', '"prune:1.5"'):
            assert "1.5" in one_line(deepsigns("audit", "run", folder=copy), 2)
        assert not list((copy / "audits").glob("*/*/report.html"))

    def test_a_deployed_file_that_is_gone_is_could_not_check(
        self, copy: Path, deepsigns: Deepsigns
    ) -> None:
        (copy / "deployed" / "model.onnx").unlink()
        done = deepsigns("audit", "run", "--json", folder=copy)
        assert done.code == 3, done.out + done.err
        (audit,) = done.answer["audits"]
        assert audit["outcome"] == "could-not-check"
