from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepsigns_registry.attestation.statement import Fidelity, Parent, WatermarkPredicate
from deepsigns_registry.registry.progress import DataJudgement, Progress
from deepsigns_registry.registry.protocol import PromotionRequest
from deepsigns_registry.registry.shown import (
    line_of_marked,
    line_of_source,
    shown_tags,
    tags_of_marked,
    with_line,
)

DAY = int(datetime(2026, 11, 26, 9, 30, tzinfo=UTC).timestamp() * 1000)
PREDICATE = WatermarkPredicate(
    owner="a" * 64,
    marking="digits-1",
    request_id="r",
    commitments={"whitebox": "b" * 64},
    commitment_index=1,
    manifest_root="c" * 64,
    parent=Parent(name="digits", version="1", digest="d" * 64),
    bits=128,
    queries=40,
    fidelity=Fidelity(parent_accuracy=0.981, marked_accuracy=0.9804, drop=0.0006, interval=(0, 0)),
    tool="deepsigns-registry/1",
    created_at=datetime(2026, 11, 26, tzinfo=UTC),
)


def asked(**changed: object) -> PromotionRequest:
    fields = {
        "id": "r",
        "alias": "champion",
        "model": "digits",
        "version": "1",
        "requested_at": DAY,
        "requested_by": "risk team",
    }
    return PromotionRequest.model_validate({**fields, **changed})


@pytest.mark.parametrize(
    ("request_", "line", "tags"),
    [
        (
            asked(detail="marking, step 3 of 9", progress=Progress(percent=61.6)),
            "deepsigns: waits since 26 Nov 2026 to be marked for alias 'champion'",
            ("requested", "62", "marking, step 3 of 9"),
        ),
        (
            asked(state="done", detail="promoted as version 2", marked_version="2", ended_at=DAY),
            "deepsigns: marked as v2 on 26 Nov 2026; deploy v2, not this version",
            ("marked", None, "promoted as version 2"),
        ),
        (
            asked(state="failed", detail="too small\nto be marked", ended_at=DAY),
            "deepsigns: could not be marked on 26 Nov 2026: too small to be marked",
            ("failed", None, "too small to be marked"),
        ),
        (
            asked(state="superseded", detail="alias deleted"),
            None,
            ("superseded", None, "alias deleted"),
        ),
    ],
)
def test_a_request_in_words(
    request_: PromotionRequest, line: str | None, tags: tuple[str | None, ...]
) -> None:
    assert line_of_source([request_]) == line
    names = ("state", "percent", "reason")
    shown = {f"deepsigns.{name}": value for name, value in zip(names, tags, strict=True)}
    assert shown_tags([request_]) == {**shown, "deepsigns.requester": "risk team"}


def test_what_is_queued_is_told_first_and_a_withdrawn_wish_hides_no_mark() -> None:
    done = asked(state="done", marked_version="2", ended_at=DAY)
    later = asked(id="s", alias="blue", requested_at=DAY + 1)
    assert "alias 'blue'" in str(line_of_source([done, later]))
    withdrawn = later.model_copy(update={"state": "superseded"})
    assert "deploy v2" in str(line_of_source([done, withdrawn]))
    assert shown_tags([]) == {}
    assert line_of_source([]) is None


def test_a_marked_version_tells_its_origin_cost_and_proof() -> None:
    figures = {"whitebox_errors": 1.0, "whitebox_bits": 128.0, "accuracy": 0.98, "step": 900.0}
    request = asked(
        progress=Progress(figures=figures),
        judgement=DataJudgement(score=0.981, score_name="accuracy"),
    )
    assert line_of_marked(PREDICATE, name="digits", version="2", request=request) == (
        "deepsigns: marked from v1 on 26 Nov 2026, accuracy 0.981 -> 0.980; proof: white box 1 of "
        "128 bits wrong, signed, check it with `deepsigns gate digits/2`"
    )
    assert line_of_marked(PREDICATE, name="live", version="1", request=None) == (
        "deepsigns: marked from digits v1 on 26 Nov 2026, score 0.981 -> 0.980; proof: 128 bits "
        "and 40 queries, signed, check it with `deepsigns gate live/1`"
    )
    assert tags_of_marked(PREDICATE, request) == {
        "deepsigns.state": "marked",
        "deepsigns.reason": "marked from version 1 for alias 'champion'",
        "deepsigns.requester": "risk team",
    }


TEXTS = st.text(st.sampled_from("ab\n\r "), max_size=12)
LINES = st.sampled_from(["deepsigns: one", "deepsigns: two"])


@given(TEXTS, LINES, LINES)
def test_a_line_comes_changes_and_goes_and_leaves_all_else(text: str, one: str, two: str) -> None:
    told = with_line(text, None, one)
    assert told.split("\n")[-1] == one
    changed = with_line(told, one, two)
    assert changed == with_line(text, None, two)
    assert with_line(changed, two, None) == text


@given(TEXTS, TEXTS, LINES)
def test_what_people_write_around_a_line_stays(above: str, below: str, line: str) -> None:
    told = f"{above}\n{line}\n{below}"
    assert with_line(told, line, "deepsigns: new") == f"{above}\ndeepsigns: new\n{below}"
    assert with_line(told, line, None) == f"{above}\n{below}"


def test_a_line_that_somebody_changed_is_theirs() -> None:
    edited = "deepsigns: marked as v2, says Ada"
    assert with_line(edited, "deepsigns: marked as v2", "deepsigns: new") == (
        f"{edited}\n\ndeepsigns: new"
    )
    assert with_line(edited, "deepsigns: marked as v2", None) == edited
    assert with_line(None, None, None) == ""
