import json
from collections.abc import Callable

import pytest

from deepsigns_registry.audit.expectations import Expectation, Judgement, Kind
from deepsigns_registry.audit.finding import Finding
from deepsigns_registry.audit.results import Outcome

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
    expected = {"attack", "strength", "accuracy", "whitebox_log10_p", "blackbox_log10_p", "verdict"}
    assert expected <= content["rows"][1].keys()
