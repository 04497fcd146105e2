"""The policy and this machine's own key."""

from pathlib import Path

import pytest

from deepsigns_registry.config import load_settings
from deepsigns_registry.doctor.checks.policy import check
from deepsigns_registry.errors import ConfigurationError
from tests.support.installation import installed


def test_new_settings_trust_the_worker(tmp_path: Path) -> None:
    assert [line.standing for line in check(installed(tmp_path))] == ["ok", "ok"]


@pytest.mark.parametrize(
    ("old", "new", "lacking"),
    [
        ('"watermark", "audit", "command"', '"watermark", "audit"', "command"),
        ("keys/worker.pub.pem", "keys/owner.pub.pem", "watermark, command"),
    ],
)
def test_a_key_that_is_not_trusted(tmp_path: Path, old: str, new: str, lacking: str) -> None:
    file = installed(tmp_path).path
    file.write_text(file.read_text().replace(old, new))
    first, last = check(load_settings(file))
    assert (first.standing, last.standing) == ("ok", "wrong")
    assert f"to sign {lacking}:" in last.message


def test_audits_need_the_key_where_something_is_audited(tmp_path: Path) -> None:
    more = '\n[[deployments]]\nname = "d"\nmodel = "m"\ntarget = "x.onnx"\n'
    file = installed(tmp_path, more).path
    file.write_text(file.read_text().replace('"watermark", "audit", ', '"watermark", '))
    *_, last = check(load_settings(file))
    assert (last.standing, "to sign audit:" in last.message) == ("wrong", True)


def test_a_policy_that_trusts_nobody(tmp_path: Path) -> None:
    file = installed(tmp_path).path
    file.write_text("")
    with pytest.raises(ConfigurationError, match="trusts nobody"):
        list(check(load_settings(file)))
