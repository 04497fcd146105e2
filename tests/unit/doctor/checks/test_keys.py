"""Keys and their modes; nothing of what they hold is said."""

from pathlib import Path

import pytest

from deepsigns_registry.config import Settings
from deepsigns_registry.doctor.checks.keys import check
from tests.support.installation import installed


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return installed(tmp_path)


def standings(settings: Settings) -> dict[str, str]:
    """The standing of the line that names each file."""
    found: dict[str, str] = {}
    for line in check(settings):
        name = next(
            word
            for word in line.message.replace(",", "").replace(":", "").split()
            if "/keys/" in word
        )
        found[Path(name).name] = line.standing
    return found


FRESH = {
    "worker.pem": "ok",
    "sealing.key": "ok",
    "owner.pub.pem": "ok",
    "sealing.pub": "ok",
    "owner.pem": "attention",
}


def test_new_keys(settings: Settings) -> None:
    assert standings(settings) == FRESH
    for line in check(settings):
        assert "AGE-SECRET" not in line.message + line.advice


@pytest.mark.parametrize("name", ["worker.pem", "sealing.key"])
def test_a_key_that_everybody_reads(settings: Settings, name: str) -> None:
    (settings.base / "keys" / name).chmod(0o644)
    assert standings(settings) == {**FRESH, name: "wrong"}


@pytest.mark.parametrize("name", ["worker.pem", "sealing.key", "owner.pub.pem", "sealing.pub"])
def test_a_key_that_is_none(settings: Settings, name: str) -> None:
    (settings.base / "keys" / name).write_text("no key")
    assert standings(settings) == {**FRESH, name: "wrong"}


@pytest.mark.parametrize(
    ("name", "standing"),
    [("worker.pem", "attention"), ("sealing.key", "attention"), ("owner.pub.pem", "wrong")],
)
def test_a_key_that_is_missing(settings: Settings, name: str, standing: str) -> None:
    (settings.base / "keys" / name).unlink()
    assert standings(settings) == {**FRESH, name: standing}


def test_a_machine_without_private_keys(settings: Settings) -> None:
    for name in ("worker.pem", "sealing.key", "owner.pem"):
        (settings.base / "keys" / name).unlink()
    (line,) = check(settings)
    assert line.standing == "ok"
