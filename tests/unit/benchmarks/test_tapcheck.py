"""The count of networks that are taken for the parent's, on models of a second."""

import json

import pytest

from benchmarks.ordinary.shared import KIN, SHARED
from benchmarks.ordinary.tapcheck import main
from benchmarks.ordinary.zoo import ZOO


def test_names_are_told_apart() -> None:
    assert not ZOO.keys() & SHARED.keys()
    assert not KIN.keys() & (ZOO.keys() | SHARED.keys())


def test_strangers_are_counted_and_kin_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    names = ["breast-512-brief", "input-beside", "identity-start"]
    assert main(["--quick", "--json", "--only", *names]) == 0
    found = json.loads(capsys.readouterr().out)
    rows = {row["model"]: row for row in found["rows"]}
    assert list(rows) == names
    stranger, refused, kin = rows.values()
    # One brief sibling, one of other labels, two untrained; four keys, one layer.
    assert found["readings"] == 16 == sum(stranger["readings"].values())
    assert found["accepted"] == sum(stranger["accepted"].values()) == 0
    assert stranger["known"] == stranger["relatives"]
    assert set(stranger["relatives"]) == {"fine-tuned", "pruned 50%", "pruned 80%"}
    assert (refused["layers"], len(refused["refused"])) == (0, 1)
    assert sum(kin["accepted"].values()) == sum(kin["readings"].values()) > 0


def test_a_check_that_takes_everything_fails(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is kin is taken for the parent's: counted as a stranger it is more than is stated."""
    monkeypatch.setattr("benchmarks.ordinary.tapcheck.KIN", {})
    monkeypatch.setattr("benchmarks.ordinary.tapcheck.SHARED", KIN)
    assert main(["--quick", "--only", "identity-start"]) == 1
    assert "32 of 32 accepted" in capsys.readouterr().out
