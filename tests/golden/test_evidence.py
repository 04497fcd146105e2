"""The published vectors of evidence, the reference and the package all say the same."""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from deepsigns_registry.watermark.evidence import Correlation, Evidence, Matches
from deepsigns_registry.watermark.expand import _gaussian_table
from deepsigns_registry.watermark.sign_sum import log10_sign_sum
from deepsigns_registry.watermark.verdict import joint_log10_p, judge
from tests.golden import evidence_vectors

Vectors = dict[str, list[dict[str, Any]]]


@pytest.fixture(scope="module")
def vectors() -> Vectors:
    found: Vectors = json.loads(evidence_vectors.FILE.read_text())
    return found


def agrees(found: float, published: float) -> bool:
    """As section 1 has it."""
    return found == pytest.approx(published, rel=1e-9, abs=1e-9)


@dataclass(frozen=True)
class Stated(Evidence):
    """A third party's evidence: it states its own p-value."""

    stated: float = 0.0

    @property
    def log10_p(self) -> float:
        return self.stated

    @property
    def score(self) -> float:
        return 1

    @property
    def said(self) -> str:
        return "stated"

    def figures(self) -> dict[str, float]:
        return {"trials": self.trials}


def test_the_reference_gives_the_published_vectors() -> None:
    assert evidence_vectors.rendered() == evidence_vectors.FILE.read_text()


def test_matches(vectors: Vectors) -> None:
    for given in vectors["matches"]:
        chance = 1 / given["values"]
        found = Matches("whitebox", given["trials"], given["matches"], chance)
        assert agrees(found.log10_p, given["log10_p"])


def test_correlations(vectors: Vectors) -> None:
    for given in vectors["correlation"]:
        found = Correlation("spread", 1000, given["deviations"], given["parts"])
        assert agrees(found.log10_p, given["log10_p"])


def test_sums_of_signs(vectors: Vectors) -> None:
    for given in vectors["sign_sum"]:
        found = log10_sign_sum(np.array(given["weights"]), np.array(given["signs"], dtype=np.int8))
        assert agrees(found, given["log10_p"])


def test_several_schemes_together(vectors: Vectors) -> None:
    for given in vectors["together"]:
        assert agrees(joint_log10_p(given["each"]), given["log10_p"])


def test_verdicts(vectors: Vectors) -> None:
    for given in vectors["verdicts"]:
        evidence = [Stated(f"s{i}", 1, stated=p) for i, p in enumerate(given["log10_p"])]
        incomplete = [] if given["every_step_ran"] else ["s0: a step could not run"]
        found = judge(evidence, tries=given["tries"], ways=given["ways"], incomplete=incomplete)
        assert found.word == given["verdict"]
        if given["together"] is None:
            assert found.log10_p_joint is None
        else:
            assert found.log10_p_joint is not None
            assert agrees(found.log10_p_joint, given["together"])
    assert {given["verdict"] for given in vectors["verdicts"]} == {
        "present",
        "absent",
        "undecided",
    }


def test_the_grid_s_moments_stay_below_the_normal_ones() -> None:
    """The claim of section 3: ln E exp(t g) <= t^2 / 2 for every t."""
    grid = _gaussian_table().astype(np.float64)
    assert abs(grid).max() < 4.325
    assert float((grid**2).mean()) == pytest.approx(0.99998, abs=5e-6)
    for t in np.concatenate([np.linspace(0.01, 12, 400), np.geomspace(12, 1000, 40)]):
        exponents = t * grid
        largest = exponents.max()
        moment = largest + np.log(np.exp(exponents - largest).mean())
        assert moment < t * t / 2
