from collections.abc import Callable

import pytest

from deepsigns_registry.audit.expectations import Judgement, judge_table
from deepsigns_registry.audit.results import Row

MakeRow = Callable[..., Row]
NAN = float("nan")


def failed(judgement: Judgement) -> set[str]:
    return {entry.about for entry in judgement.expectations if not entry.success}


def test_good_table(row: MakeRow) -> None:
    judgement = judge_table([row(), row("prune:0.5", 0.5)], ["prune:0.5"], min_accuracy=0.97)
    assert failed(judgement) == set()
    assert judgement.success
    assert len(judgement.expectations) > 15


def test_table_of_one_row_without_attacks(row: MakeRow) -> None:
    assert judge_table([row()], []).success


@pytest.mark.parametrize(
    ("changes", "about", "kind"),
    [
        ({"accuracy": None}, "Every row has its accuracy", "complete"),
        ({"accuracy": NAN}, "Every row has its accuracy", "complete"),
        ({"accuracy": 1.5}, "Every accuracy lies between 0 and 1", "sound"),
        ({"verdict": "maybe"}, "Every verdict is present, absent or undecided", "sound"),
        ({"error": "it broke"}, "Every row was completed without an error", "complete"),
        ({"whitebox_log10_p": 0.5}, "White box: every p-value is a probability", "sound"),
        ({"whitebox_log10_p": -1e12}, "White box: every p-value is a probability", "sound"),
        (
            {"blackbox_log10_p_adjusted": float("-inf")},
            "Black box: every adjusted p-value is a probability",
            "sound",
        ),
        ({"blackbox_matches": 401}, "Black box: no count exceeds its total", "sound"),
        (
            {"whitebox_log10_p_adjusted": -38.6},
            "White box: adjusting for what was tried never strengthens the evidence",
            "sound",
        ),
    ],
)
def test_each_fault_is_seen_in_an_attacked_row(
    row: MakeRow, changes: dict[str, object], about: str, kind: str
) -> None:
    rows = [row(), row("prune:0.5", 0.5, **changes)]
    judgement = judge_table(rows, ["prune:0.5"])
    assert about in failed(judgement)
    assert not judgement.success
    assert {e.kind for e in judgement.expectations if e.about == about} == {kind}


def test_missing_and_doubled_rows(row: MakeRow) -> None:
    everything = "The deployed file and every planned attack have a row"
    assert everything in failed(judge_table([row()], ["prune:0.5"]))
    assert everything in failed(judge_table([row("prune:0.5", 0.5)], ["prune:0.5"]))
    assert "No row stands twice" in failed(judge_table([row(), row()], []))


def test_empty_table_fails_without_an_exception() -> None:
    judgement = judge_table([], ["prune:0.5"])
    assert judgement.failed("complete")
    assert not judgement.failed("policy")


def test_minimum_is_asked_of_the_deployed_file_alone(row: MakeRow) -> None:
    rows = [row(accuracy=0.9), row("prune:0.5", 0.5, accuracy=0.1)]
    assert judge_table(rows, ["prune:0.5"], min_accuracy=0.9).success
    judgement = judge_table(rows, ["prune:0.5"], min_accuracy=0.91)
    assert failed(judgement) == {"The deployed file's accuracy is at least 91.00%"}
    assert judgement.failed("policy")


def test_unread_scheme_is_a_note(row: MakeRow) -> None:
    lost = row(whitebox_bits=None, whitebox_bit_errors=None, whitebox_log10_p=None,
               whitebox_log10_p_adjusted=None)  # fmt: skip
    judgement = judge_table([lost], [])
    assert failed(judgement) == {"White box: the deployed file could be read"}
    assert judgement.success


def test_fault_says_what_was_seen(row: MakeRow) -> None:
    judgement = judge_table([row(), row("prune:0.5", 0.5, error="out of memory")], ["prune:0.5"])
    details = [entry.detail for entry in judgement.expectations if entry.detail]
    assert details == ["1 row(s): out of memory"]
    assert {entry["detail"] for entry in judgement.to_json()} == {"", *details}
