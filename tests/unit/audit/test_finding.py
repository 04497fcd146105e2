import json
from collections.abc import Callable

import pytest

from deepsigns_registry.audit.columns import Reading
from deepsigns_registry.audit.expectations import Expectation, Judgement, Kind
from deepsigns_registry.audit.finding import Finding
from deepsigns_registry.audit.results import Outcome, Row

MakeReading = Callable[..., Reading]
MakeRow = Callable[..., Row]
MakeFinding = Callable[..., Finding]


@pytest.mark.parametrize(
    ("outcome", "failing", "code"),
    [
        ("present", (), 0),
        ("present", ("note",), 0),
        ("present", ("complete",), 3),
        ("present", ("sound",), 3),
        ("present", ("policy",), 1),
        ("present", ("policy", "complete"), 1),
        ("absent", (), 1),
        ("absent", ("complete",), 1),
        ("undecided", (), 3),
        ("undecided", ("policy",), 1),
        ("could-not-check", ("complete",), 3),
        ("tampered", ("complete", "policy"), 4),
    ],
)
def test_exit_code(
    finding: MakeFinding, outcome: Outcome, failing: tuple[Kind, ...], code: int
) -> None:
    judgement = Judgement(tuple(Expectation("x", kind, success=False) for kind in failing))
    made = finding(outcome=outcome, judgement=judgement)
    assert made.exit_code == code
    assert made.passed == (code == 0)


def test_json_holds_the_rows_in_the_words_of_the_table(finding: MakeFinding) -> None:
    content = json.loads(json.dumps(finding().to_json(), allow_nan=False))
    assert content["outcome"] == "present"
    assert [row["label"] for row in content["rows"]] == ["deployed", "prune:0.5"]
    assert list(content["rows"][1]) == [
        "label", "attack", "strength", "accuracy",
        "whitebox_bits", "whitebox_bit_errors", "whitebox_log10_p", "whitebox_log10_p_adjusted",
        "blackbox_queries", "blackbox_matches", "blackbox_log10_p", "blackbox_log10_p_adjusted",
        "spread_values", "spread_deviations", "spread_log10_p", "spread_log10_p_adjusted",
        "cells_signs", "cells_matches", "cells_log10_p", "cells_log10_p_adjusted",
        "verdict", "seconds", "error", "error_code",
    ]  # fmt: skip


def test_other_schemes_follow_in_the_json_and_our_own_are_always_there(
    finding: MakeFinding, row: MakeRow, reading: MakeReading
) -> None:
    rows = (row(readings=(reading("uchida", score=120),)), row("x:1").failed("broke", "code"))
    schemes = ("whitebox", "uchida")
    content = finding(rows=rows, schemes=schemes, score="R2").to_json()
    assert content["schemes"] == ["whitebox", "uchida"]
    assert content["score"] == "R2"
    first, second = content["rows"]
    assert first["uchida_trials"] == 128
    assert first["uchida_matches"] == 120
    assert (first["uchida_log10_p"], first["uchida_log10_p_adjusted"]) == (-38.5, -37.9)
    assert first["whitebox_log10_p"] is first["blackbox_queries"] is None
    assert second.keys() == first.keys()
