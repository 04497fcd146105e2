"""A run that was interrupted gives what the whole run gives, and takes no foreign checkpoint."""

import copy
import io
import itertools
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from deepsigns_registry.errors import CheckpointError, ConfigurationError
from deepsigns_registry.watermark.data import LabelledData, TrainingData
from deepsigns_registry.watermark.embed import EmbedResult, embed
from deepsigns_registry.watermark.settings import MarkSettings
from deepsigns_registry.watermark.tapped import TappedModel

if TYPE_CHECKING:
    from tests.unit.watermark.conftest import Marked


@dataclass(frozen=True)
class Whole:
    """A run that nobody interrupted, and its checkpoints, one an epoch."""

    model: TappedModel
    result: EmbedResult
    settings: MarkSettings
    states: list[bytes]


@pytest.fixture(scope="module")
def whole(marked: "Marked") -> Whole:
    # 17 of 100 queries a step, 64 of 900 samples: no epoch ends where a round does.
    settings = replace(marked.settings, repeats=50)
    model, states = copy.deepcopy(marked.parent), list[bytes]()
    result = embed(
        model,
        marked.data,
        marked.record,
        settings,
        checkpoint=lambda _epoch, state: states.append(state),
    )
    return Whole(model, result, settings, states)


def equal(first: TappedModel, second: TappedModel) -> bool:
    pairs = zip(first.parameters(), second.parameters(), strict=True)
    return all(torch.equal(mine, theirs) for mine, theirs in pairs)


def resumed(
    marked: "Marked", whole: Whole, state: bytes, **changes: object
) -> tuple[TappedModel, EmbedResult]:
    model = copy.deepcopy(marked.parent)
    given = {"data": marked.data, "record": marked.record, "settings": whole.settings} | changes
    return model, embed(model, resume=state, **given)  # type: ignore[arg-type]


def test_checkpoints_change_nothing(marked: "Marked", whole: Whole) -> None:
    model = copy.deepcopy(marked.parent)
    assert embed(model, marked.data, marked.record, whole.settings) == whole.result
    assert equal(model, whole.model)


def test_a_run_resumed_after_any_epoch_is_the_same_bit_for_bit(
    marked: "Marked", whole: Whole
) -> None:
    assert len(whole.states) == whole.settings.epochs
    for state in whole.states:
        model, result = resumed(marked, whole, state)
        assert result == whole.result
        assert equal(model, whole.model)


def test_a_run_interrupted_again_and_again_is_the_same(marked: "Marked", whole: Whole) -> None:
    """Every epoch in a run of its own, that is ended as soon as its end is saved."""

    class EndedError(Exception):
        pass

    state = whole.states[0]
    for epoch in range(2, whole.settings.epochs + 1):
        kept: list[bytes] = []

        def end(done: int, content: bytes, kept: list[bytes] = kept, epoch: int = epoch) -> None:
            assert done == epoch * 90
            kept.append(content)
            raise EndedError

        with pytest.raises(EndedError):
            resumed(marked, whole, state, checkpoint=end)
        (state,) = kept
    model, result = resumed(marked, whole, state)
    assert result == whole.result
    assert equal(model, whole.model)


@pytest.mark.parametrize("step", [1, 7, 29])
def test_a_run_of_one_epoch_is_resumed_inside_it(
    marked: "Marked", step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deepsigns_registry.watermark.pace._SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    settings = replace(marked.settings, epochs=1, minimum_steps=30, repeats=5)
    model, states = copy.deepcopy(marked.parent), dict[int, bytes]()
    result = embed(model, marked.data, marked.record, settings, checkpoint=states.__setitem__)
    assert list(states) == list(range(1, 31))
    again = copy.deepcopy(marked.parent)
    told: list[float] = []
    resumed = embed(
        again,
        marked.data,
        marked.record,
        settings,
        resume=states[step],
        progress=lambda fraction, _words: told.append(fraction),
    )
    assert resumed == result
    assert equal(again, model)
    assert told[0] == step / 30


def test_checkpoints_come_by_the_clock(marked: "Marked", monkeypatch: pytest.MonkeyPatch) -> None:
    now = itertools.count()
    monkeypatch.setattr(time, "monotonic", lambda: float(next(now)))
    monkeypatch.setattr("deepsigns_registry.watermark.pace._SECONDS_BETWEEN_CHECKPOINTS", 10.0)
    settings, steps = replace(marked.settings, epochs=1, minimum_steps=30, repeats=5), list[int]()
    embed(
        copy.deepcopy(marked.parent),
        marked.data,
        marked.record,
        settings,
        checkpoint=lambda step, _state: steps.append(step),
    )
    # The clock is read once a step, and once more when a state was written.
    assert steps == [10, 20, 30]


def test_a_run_without_a_mark_is_resumed_as_well(marked: "Marked", whole: Whole) -> None:
    kept: list[bytes] = []
    control = copy.deepcopy(marked.parent)
    embed(
        control,
        marked.data,
        None,
        whole.settings,
        checkpoint=lambda _epoch, state: kept.append(state),
    )
    model, _ = resumed(marked, whole, kept[1], record=None)
    assert equal(model, control)


def test_finished_epochs_are_not_repeated(marked: "Marked", whole: Whole) -> None:
    told: list[tuple[float, str]] = []
    resumed(
        marked,
        whole,
        whole.states[2],
        progress=lambda fraction, words: told.append((fraction, words)),
    )
    assert told[0] == (3 / 5, "epoch 4 of 5")
    assert told[-1] == (1.0, "epoch 5 of 5")


def test_a_checkpoint_is_data_and_holds_no_trigger_and_no_query(
    marked: "Marked", whole: Whole
) -> None:
    state = torch.load(io.BytesIO(whole.states[0]), weights_only=True)
    shapes = [tuple(value.shape) for own in state["objectives"] for value in own.values()]
    # The centres of the white box, and the 20 queries left in this round.
    assert shapes == [(4, 96), (20,)]
    for array in ("triggers", "projection"):
        secret = marked.record.secrets["whitebox"].arrays[array]
        assert np.ascontiguousarray(secret).tobytes()[:256] not in whole.states[0]


def shifted(marked: "Marked") -> TrainingData:
    inputs = marked.data.train.inputs.copy()
    inputs[7, 3] += 1
    return replace(marked.data, train=LabelledData(inputs, marked.data.train.labels))


@pytest.mark.parametrize("what", ["data", "record", "settings", "model"])
def test_a_checkpoint_of_another_run_is_refused(marked: "Marked", whole: Whole, what: str) -> None:
    changes = {
        "data": shifted(marked),
        "record": None,
        "settings": replace(whole.settings, lambda2=1.0),
    }
    model = copy.deepcopy(marked.sibling if what == "model" else marked.parent)
    before = copy.deepcopy(model)
    given = {"data": marked.data, "record": marked.record, "settings": whole.settings}
    given |= {name: value for name, value in changes.items() if name == what}
    with pytest.raises(CheckpointError, match="another model, record, data or settings"):
        embed(model, resume=whole.states[0], **given)  # type: ignore[arg-type]
    assert equal(model, before)


@pytest.mark.parametrize("damage", ["empty", "half", "text", "other"])
def test_bytes_that_are_no_checkpoint_are_refused(
    marked: "Marked", whole: Whole, damage: str
) -> None:
    buffer = io.BytesIO()
    torch.save([1, 2], buffer)
    content = {
        "empty": b"",
        "half": whole.states[0][: len(whole.states[0]) // 2],
        "text": b"not a checkpoint at all",
        "other": buffer.getvalue(),
    }[damage]
    with pytest.raises(CheckpointError, match="this is no checkpoint"):
        resumed(marked, whole, content)


def test_a_checkpoint_that_would_run_code_is_refused(marked: "Marked", whole: Whole) -> None:
    buffer = io.BytesIO()
    torch.save({"format": print}, buffer)
    with pytest.raises(CheckpointError, match="this is no checkpoint"):
        resumed(marked, whole, buffer.getvalue())


def test_settings_name_the_precisions() -> None:
    with pytest.raises(ConfigurationError, match="use one of: auto, float32, bfloat16"):
        MarkSettings(precision="float16")  # type: ignore[arg-type]
