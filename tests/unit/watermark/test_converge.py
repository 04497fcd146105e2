"""A marking looks at itself: it goes on, backs off, resumes, and only then refuses."""

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch

from deepsigns_registry.errors import CheckpointError, NotConvergedError, RefusedError
from deepsigns_registry.watermark import converge as converging
from deepsigns_registry.watermark.converge import Control, Converged, converge
from deepsigns_registry.watermark.fidelity import Cost
from deepsigns_registry.watermark.plan import Goal
from deepsigns_registry.watermark.settings import MarkSettings
from deepsigns_registry.watermark.tapped import TappedModel

if TYPE_CHECKING:
    from tests.unit.watermark.conftest import Marked

GOAL = Goal(max_drop=0.05, max_changed=0.2)


@pytest.fixture(scope="module")
def brief(settings: MarkSettings) -> MarkSettings:
    """Too few steps for the mark, so that a further round is needed."""
    return replace(settings, epochs=1, minimum_steps=60)


def run(
    marked: "Marked", settings: MarkSettings, goal: Goal = GOAL, **more: object
) -> tuple[TappedModel, Converged]:
    model = copy.deepcopy(marked.parent)
    found = converge(
        model,
        marked.data,
        marked.record,
        settings,
        goal,
        fresh=lambda: copy.deepcopy(marked.parent),
        **more,  # type: ignore[arg-type] # each test passes what `converge` takes
    )
    return model, found


def test_a_short_round_is_followed_by_others_until_the_mark_is_there(
    marked: "Marked", brief: MarkSettings
) -> None:
    told: list[tuple[float, str, Mapping[str, float]]] = []
    _, found = run(
        marked, brief, progress=lambda share, text, figures: told.append((share, text, figures))
    )
    assert len(found.rounds) > 1
    assert all(found.seen.log10_p(name) <= GOAL.wanted for name in marked.record.secrets)
    assert not found.seen.unread
    shares = [share for share, _, _ in told]
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert any(text.startswith("marking, round 2") for _, text, _ in told)
    assert {"whitebox_errors", "blackbox_matches", "accuracy"} <= told[-1][2].keys()
    assert not any(marked.parent.tap in text.split() for _, text, _ in told)


def test_a_marking_goes_on_in_the_round_that_was_interrupted(
    marked: "Marked", brief: MarkSettings
) -> None:
    states: list[tuple[int, bytes]] = []
    whole, found = run(marked, brief, checkpoint=lambda step, state: states.append((step, state)))
    assert len(states) >= len(found.rounds)
    for _, state in (states[0], states[-1]):
        again, same = run(marked, brief, resume=state)
        assert same.seen == found.seen
        for mine, theirs in zip(again.parameters(), whole.parameters(), strict=True):
            assert torch.equal(mine, theirs)


def test_a_checkpoint_of_another_goal_is_refused(marked: "Marked", brief: MarkSettings) -> None:
    states: list[bytes] = []
    run(marked, brief, checkpoint=lambda _step, state: states.append(state))
    with pytest.raises(CheckpointError, match="another model, record, data or settings"):
        run(marked, brief, replace(GOAL, max_drop=0.04), resume=states[0])


def test_a_mark_that_stays_too_weak_is_refused_with_what_was_tried(
    marked: "Marked", brief: MarkSettings
) -> None:
    hopeless = replace(brief, learning_rate=1e-7)
    with pytest.raises(NotConvergedError) as error:
        run(marked, hopeless, replace(GOAL, rounds=1))
    said = str(error.value)
    assert said.startswith("after 2 rounds of 60 + ")
    assert "whitebox reached log10 p" in said
    assert "-9 is needed" in said
    assert "raise epochs" in said
    assert "layer" not in error.value.public


def test_a_mark_that_costs_too_much_is_refused_with_the_setting(
    marked: "Marked", settings: MarkSettings
) -> None:
    with pytest.raises(
        NotConvergedError, match=r"would cost .* points of accuracy .*max_accuracy_dr"
    ):
        run(marked, settings, replace(GOAL, max_drop=-0.5, rounds=0))


def test_a_gain_beyond_plain_fine_tuning_is_refused(marked: "Marked") -> None:
    found = run(marked, marked.settings)[1]
    seen, rounds = found.seen, found.rounds
    gained = Control(Cost(0.2, 0.9, -0.7, -0.75, -0.65), changed=0.0)
    with pytest.raises(RefusedError, match=r"70.00 points of accuracy more .* than the same fine"):
        converging._check(seen, gained, rounds, GOAL, "accuracy")
    # One sample in a hundred, which may be an accident.
    won = Control(Cost(0.9, 0.99, -0.09, -0.2, 0.02), changed=0.0)
    converging._check(seen, won, rounds, GOAL, "accuracy")


def test_a_mark_that_changes_too_many_answers_is_tried_elsewhere(marked: "Marked") -> None:
    found = run(marked, marked.settings)[1]
    seen, rounds = replace(found.seen, changed=0.5), found.rounds
    calm = Control(Cost(0.9, 0.9, 0.0, -0.01, 0.01), changed=0.1)
    with pytest.raises(
        NotConvergedError, match=r"after 1 round .* 40.0% more .*max_changed_answers"
    ):
        converging._check(seen, calm, rounds, GOAL, "accuracy")
    converging._check(seen, replace(calm, changed=0.4), rounds, GOAL, "accuracy")


def test_a_control_is_trained_only_when_something_asks_for_it(marked: "Marked") -> None:
    asked: list[TappedModel] = []

    def fresh() -> TappedModel:
        asked.append(copy.deepcopy(marked.parent))
        return asked[-1]

    calm = converge(
        copy.deepcopy(marked.parent), marked.data, marked.record, marked.settings, GOAL, fresh=fresh
    )
    assert (asked, calm.control) == ([], None)
    # Of data that is passed over once the labels are learned, and answers may change with them:
    # how many do is compared with a control. Here not even none are allowed.
    once = replace(marked.settings, epochs=1, minimum_steps=1, batch_size=8)
    goal = Goal(max_drop=0.5, max_changed=-1.0, wanted=-2.0, needed=-2.0, rounds=6)
    with pytest.raises(RefusedError, match="max_changed_answers"):
        converge(copy.deepcopy(marked.parent), marked.data, marked.record, once, goal, fresh=fresh)
    assert len(asked) == 1
