"""A process that runs for weeks follows an edit of its settings whole, or not at all."""

import os
import pickle
import threading
import time
from pathlib import Path

import pytest

from deepsigns_registry.attestation.keys import generate_signing_key
from deepsigns_registry.config import Settings, load_settings
from deepsigns_registry.errors import ConfigurationError
from deepsigns_registry.retraining.fresh import FreshSettings

TEXT = """[owner]
name = "A"
[policy]
keys = [{ public_key = "keys/worker.pub.pem", may_sign = ["watermark", "command"] }]
[models.fraud]
data = "d.npz"
bits = 128
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    generate_signing_key(tmp_path / "keys/worker.pem", tmp_path / "keys/worker.pub.pem")
    path = tmp_path / "deepsigns.toml"
    edit(path, TEXT)
    return path


def edit(path: Path, text: str) -> None:
    """As an editor does that had saved it a while ago."""
    path.write_text(text)
    long_ago = time.time() - 60
    os.utime(path, (long_ago, long_ago))


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def fresh(config: Path, said: list[str]) -> FreshSettings:
    return FreshSettings(load_settings(config), said.append)


def test_an_edit_is_followed_and_named(fresh: FreshSettings, config: Path, said: list[str]) -> None:
    before = fresh.now
    assert fresh.read_anew().settings.models["fraud"].bits == 128
    assert said == []
    edit(config, TEXT.replace("128", "256") + '[models."a b"]\ndata = "geheim.npz"\n')
    after = fresh.read_anew()
    assert after is fresh.now
    assert after.settings.models["fraud"].bits == 256
    assert before.settings.models["fraud"].bits == 128
    (line,) = said
    assert line.startswith("settings read anew, changed: ")
    assert 'models."a b".data' in line
    assert "models.fraud.bits" in line
    # Names alone: a value may be a password.
    assert "geheim" not in line
    assert "256" not in line


BROKEN = {
    "no TOML": "[owner\n",
    "an unknown setting": f"{TEXT}bitz = 5\n",
    "half of the file": TEXT[: TEXT.index("[models")].replace("[policy]", "[audit]"),
    "nothing": "",
    "a key that is not there": TEXT.replace("[owner]", '[owner]\nsigning_key = "file:no.pem"'),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_leaves_the_last_good_settings(
    fresh: FreshSettings, config: Path, said: list[str], name: str
) -> None:
    before = fresh.now
    edit(config, BROKEN[name])
    for _ in range(3):
        assert fresh.read_anew() is before
    (line,) = said
    assert line.endswith("; going on with the settings that were read before")
    assert "\n" not in line
    edit(config, TEXT)
    fresh.read_anew()
    assert said[1:] == ["settings read anew, as they were before"]


def test_a_file_that_is_gone_is_said_once(
    fresh: FreshSettings, config: Path, said: list[str]
) -> None:
    config.unlink()
    assert fresh.read_anew().settings.models["fraud"].bits == 128
    assert "no such file" in said[0]


def test_a_key_that_was_replaced_in_its_place_is_used(
    fresh: FreshSettings, config: Path, said: list[str]
) -> None:
    before = fresh.now.signer.public_pem
    for name in ("worker.pem", "worker.pub.pem"):
        (config.parent / "keys" / name).unlink()
    generate_signing_key(config.parent / "keys/worker.pem", config.parent / "keys/worker.pub.pem")
    assert fresh.read_anew().signer.public_pem != before
    assert said == ["settings read anew, changed: the signing key"]


def test_the_environment_belongs_to_the_snapshot(
    fresh: FreshSettings, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEEPSIGNS_MODELS__FRAUD__EPOCHS", "3")
    assert fresh.read_anew().settings.models["fraud"].epochs == 3
    assert said == ["settings read anew, changed: models.fraud.epochs"]


def test_half_a_file_that_is_being_written_is_not_read(
    fresh: FreshSettings, config: Path, said: list[str]
) -> None:
    """The first half alone would be good settings, without a section for the model."""
    new = TEXT.replace("128", "256")

    def write() -> None:
        with config.open("w") as file:
            file.write(new[: new.index("[models")])
            file.flush()
            started.set()
            time.sleep(0.2)
            file.write(new[new.index("[models") :])

    started = threading.Event()
    thread = threading.Thread(target=write)
    thread.start()
    started.wait()
    assert fresh.read_anew().settings.models["fraud"].bits == 256
    thread.join()
    assert said == ["settings read anew, changed: models.fraud.bits"]


def test_a_key_that_nobody_trusts_does_not_begin(config: Path) -> None:
    edit(config, TEXT.replace('["watermark", "command"]', '["watermark"]'))
    with pytest.raises(ConfigurationError, match="trusts nobody to sign 'command'"):
        FreshSettings(load_settings(config), lambda _line: None)


def test_a_job_is_given_the_snapshot(fresh: FreshSettings, config: Path) -> None:
    given = pickle.dumps(fresh.now.settings)
    edit(config, "[owner\n")
    there: Settings = pickle.loads(given)  # noqa: S301 - our own
    assert load_settings(there) is there
    assert there.models["fraud"].bits == 128
    assert str(there) == str(fresh.now.settings)
