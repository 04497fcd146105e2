"""Ordinary models by the product's own path, with defaults: a few of `benchmarks ordinary`."""

import json
from typing import Any

import pytest

from benchmarks.__main__ import main
from benchmarks.ordinary.trial import ENOUGH

MARKED = ("fraud10-128-64", "cnn-instancenorm-flat")
REFUSED = "wine-128-64"


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    out = tmp_path_factory.mktemp("ordinary")
    names = ("--only", *MARKED, REFUSED)
    assert main(["ordinary", "--quick", "--workers", "1", "--out", str(out), *names]) == 0
    found: dict[str, Any] = json.loads((out / "ordinary.json").read_bytes())
    return found


def row(results: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(row for row in results["rows"] if row["model"] == name)
    return found


@pytest.mark.parametrize("name", MARKED)
def test_an_ordinary_model_is_marked(results: dict[str, Any], name: str) -> None:
    found = row(results, name)
    assert (found["marked"], found["reason"]) == (1, "")
    assert found["whitebox_log10_p"] <= ENOUGH
    assert found["blackbox_log10_p"] <= ENOUGH
    assert found["seconds"] > 0
    assert found["plain_seconds"] > 0


def test_too_little_data_is_refused_before_training(results: dict[str, Any]) -> None:
    found = row(results, REFUSED)
    assert (found["refused"], found["late"]) == (1, 0)
    assert "different training samples" in found["reason"]


def test_the_figures_are_of_everything_that_was_tried(results: dict[str, Any]) -> None:
    assert (results["models"], results["marked"], results["refused"]) == (3, 2, 1)
    assert (results["crashed"], results["twins_present"]) == (0, 0)
