from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from deepsigns_registry.audit import expectations
from deepsigns_registry.audit.columns import Reading
from deepsigns_registry.audit.expectations import Judgement
from deepsigns_registry.audit.results import Row

MakeReading = Callable[..., Reading]
MakeRow = Callable[..., Row]
TITLES = {"whitebox": "White box", "blackbox": "Black box", "uchida": "uchida"}
NAN = float("nan")
judge_table = partial(expectations.judge_table, schemes=("whitebox", "blackbox"))


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


@pytest.mark.parametrize("scheme", TITLES)
@pytest.mark.parametrize(
    ("changes", "about"),
    [
        ({"log10_p": 0.5}, "every p-value is a probability"),
        ({"log10_p": -1e12}, "every p-value is a probability"),
        ({"log10_p_adjusted": float("-inf")}, "every adjusted p-value is a probability"),
        (
            {"log10_p_adjusted": -1e3},
            "adjusting for what was tried never strengthens the evidence",
        ),
    ],
)
def test_each_faulty_reading_is_seen_in_an_attacked_row(
    row: MakeRow,
    reading: MakeReading,
    changes: dict[str, Any],
    about: str,
    scheme: str,
) -> None:
    good = tuple(map(reading, TITLES))
    bad = tuple(replace(entry, **changes) if entry.scheme == scheme else entry for entry in good)
    rows = [row(readings=good), row("prune:0.5", 0.5, readings=bad)]
    judgement = judge_table(rows, ["prune:0.5"], schemes=TITLES)
    assert f"{TITLES[scheme]}: {about}" in failed(judgement)
    assert all(entry.startswith(TITLES[scheme]) for entry in failed(judgement))
    assert judgement.failed("sound")


@pytest.mark.parametrize(
    ("scheme", "matches"), [("whitebox", -1), ("blackbox", 401), ("uchida", 129)]
)
def test_count_beyond_its_total_is_seen(
    row: MakeRow, reading: MakeReading, scheme: str, matches: int
) -> None:
    rows = [row(readings=(reading(scheme, score=matches),))]
    judgement = judge_table(rows, [], schemes=[scheme])
    assert failed(judgement) == {f"{TITLES[scheme]}: no count exceeds its total"}


def test_table_of_one_scheme_says_nothing_of_others(row: MakeRow, reading: MakeReading) -> None:
    judgement = judge_table(
        [row(readings=(reading("whitebox"),))], [], schemes=["whitebox"], score="R2"
    )
    assert judgement.success
    said = {entry.about for entry in judgement.expectations}
    assert not [about for about in said if about.startswith("Black box") or "accuracy" in about]
    assert {"Every row has its R2", "The deployed file's R2 is at least 0.0000"} <= said


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


@pytest.mark.parametrize("lost", TITLES)
def test_unread_scheme_is_a_note(row: MakeRow, reading: MakeReading, lost: str) -> None:
    readings = tuple(reading(scheme) for scheme in TITLES if scheme != lost)
    judgement = judge_table([row(readings=readings)], [], schemes=TITLES)
    assert failed(judgement) == {f"{TITLES[lost]}: the deployed file could be read"}
    assert judgement.success


def test_fault_says_what_was_seen(row: MakeRow) -> None:
    judgement = judge_table([row(), row("prune:0.5", 0.5, error="out of memory")], ["prune:0.5"])
    details = [entry.detail for entry in judgement.expectations if entry.detail]
    assert details == ["1 row(s): out of memory"]
    assert {entry["detail"] for entry in judgement.to_json()} == {"", *details}
