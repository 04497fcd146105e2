import math
import subprocess
import sys

import pytest

from deepsigns_registry.watermark.evidence import Evidence, Matches
from deepsigns_registry.watermark.verdict import Verdict, judge


def whitebox(matches: int, trials: int = 128) -> Evidence:
    return Matches("whitebox", trials=trials, matches=matches, chance=0.5, level="a")


@pytest.mark.parametrize(
    ("trials", "least"),
    # The numbers of bits that reach 1e-6, from the binomial distribution.
    [(32, 30), (64, 51), (100, 74), (128, 92)],
)
def test_bits_that_reach_one_in_a_million(trials: int, least: int) -> None:
    assert whitebox(least, trials).log10_p <= -6 < whitebox(least - 1, trials).log10_p


def test_a_perfect_match_has_a_finite_logarithm() -> None:
    assert whitebox(128).log10_p == pytest.approx(-38.53, abs=0.01)
    huge = Matches("blackbox", trials=4096, matches=4096, chance=1e-3)
    assert huge.log10_p == pytest.approx(-3 * 4096)


def test_no_match_and_certain_matches_prove_nothing() -> None:
    assert whitebox(0).log10_p == 0
    assert Matches("blackbox", trials=10, matches=10, chance=1.0).log10_p == 0


def test_tries_are_paid_for() -> None:
    assert judge([whitebox(92)], tries=1).word == "present"
    weak = judge([whitebox(92)], tries=1000)
    assert weak.word == "undecided"
    assert weak.log10_p_adjusted("whitebox") == pytest.approx(whitebox(92).log10_p + 3)
    assert judge([whitebox(64)], tries=1000).log10_p_adjusted("whitebox") == 0


def test_either_scheme_is_enough() -> None:
    queries = Matches("blackbox", trials=400, matches=300, chance=1 / 9, level="oracle")
    assert judge([whitebox(64), queries], tries=10).word == "present"


def test_absent_needs_every_step() -> None:
    assert judge([whitebox(64)], tries=1).word == "absent"
    assert judge([whitebox(64)], tries=1, incomplete=["tap not verified"]).word == "undecided"
    assert judge([], tries=1).word == "undecided"


def test_between_the_thresholds_is_undecided() -> None:
    matches = next(m for m in range(64, 129) if -6 < whitebox(m).log10_p <= -2)
    assert judge([whitebox(matches)], tries=1).word == "undecided"


def test_json_holds_everything_a_report_needs() -> None:
    verdict = judge([whitebox(100)], tries=2, incomplete=["blackbox: refused"])
    assert verdict.to_json() == {
        "verdict": "present",
        "tries": 2,
        "reasons": list(verdict.reasons),
        "evidence": {
            "whitebox": {
                "trials": 128,
                "matches": 100,
                "errors": 28,
                "chance": 0.5,
                "level": "a",
                "log10_p": whitebox(100).log10_p,
                "log10_p_adjusted": whitebox(100).log10_p + math.log10(2),
            }
        },
    }
    assert "blackbox: refused" in verdict.reasons


def test_an_unknown_scheme_has_no_p() -> None:
    with pytest.raises(KeyError, match="whitebox"):
        Verdict("undecided", (), 1).log10_p_adjusted("whitebox")


def test_impossible_evidence_is_refused() -> None:
    with pytest.raises(ValueError, match="impossible evidence"):
        whitebox(129)
    with pytest.raises(ValueError, match="at least this one"):
        judge([], tries=0)


@pytest.mark.parametrize("module", ["verdict", "key", "manifest", "expand"])
def test_reading_verdicts_needs_no_torch(module: str) -> None:
    code = f"import sys, deepsigns_registry.watermark.{module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
