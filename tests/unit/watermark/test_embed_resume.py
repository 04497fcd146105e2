"""A run that was interrupted gives what the whole run gives, and takes no foreign checkpoint."""

import copy
import io
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from deepsigns_registry.errors import ConfigurationError, CouldNotCheckError
from deepsigns_registry.watermark.data import LabelledData, TrainingData
from deepsigns_registry.watermark.embed import EmbedResult, embed
from deepsigns_registry.watermark.settings import MarkSettings
from deepsigns_registry.watermark.tapped import TappedModel

if TYPE_CHECKING:
    from tests.unit.watermark.conftest import Marked


@pytest.fixture(scope="module")
def states(marked: "Marked") -> list[bytes]:
    """The checkpoints of the run that made `marked.model`, one an epoch."""
    kept: list[bytes] = []
    result = embed(
        copy.deepcopy(marked.parent),
        marked.data,
        marked.record,
        marked.settings,
        checkpoint=lambda _epoch, state: kept.append(state),
    )
    assert result == marked.result
    return kept


def equal(first: TappedModel, second: TappedModel) -> bool:
    pairs = zip(first.parameters(), second.parameters(), strict=True)
    return all(torch.equal(mine, theirs) for mine, theirs in pairs)


def resumed(marked: "Marked", state: bytes, **changes: object) -> tuple[TappedModel, EmbedResult]:
    model = copy.deepcopy(marked.parent)
    given = {"data": marked.data, "record": marked.record, "settings": marked.settings} | changes
    return model, embed(model, resume=state, **given)  # type: ignore[arg-type]


def test_a_run_resumed_after_any_epoch_is_the_same_bit_for_bit(
    marked: "Marked", states: list[bytes]
) -> None:
    assert len(states) == marked.settings.epochs
    for state in states:
        model, result = resumed(marked, state)
        assert result == marked.result
        assert equal(model, marked.model)


def test_a_run_interrupted_again_and_again_is_the_same(
    marked: "Marked", states: list[bytes]
) -> None:
    """Every epoch in a run of its own, that is ended as soon as the epoch is saved."""

    class Ended(Exception):
        pass

    state = states[0]
    for epoch in range(2, marked.settings.epochs + 1):
        kept: list[bytes] = []

        def end(done: int, content: bytes, kept: list[bytes] = kept, epoch: int = epoch) -> None:
            assert done == epoch
            kept.append(content)
            raise Ended

        with pytest.raises(Ended):
            embed(
                copy.deepcopy(marked.parent),
                marked.data,
                marked.record,
                marked.settings,
                resume=state,
                checkpoint=end,
            )
        (state,) = kept
    model, result = resumed(marked, state)
    assert result == marked.result
    assert equal(model, marked.model)


def test_a_run_without_a_mark_is_resumed_as_well(marked: "Marked") -> None:
    kept: list[bytes] = []
    whole = copy.deepcopy(marked.parent)
    embed(
        whole,
        marked.data,
        None,
        marked.settings,
        checkpoint=lambda _epoch, state: kept.append(state),
    )
    model, _ = resumed(marked, kept[1], record=None)
    assert equal(model, whole)


def test_finished_epochs_are_not_repeated(marked: "Marked", states: list[bytes]) -> None:
    told: list[tuple[float, str]] = []
    resumed(marked, states[2], progress=lambda fraction, words: told.append((fraction, words)))
    assert told[0] == (3 / 5, "epoch 4 of 5")
    assert told[-1] == (1.0, "epoch 5 of 5")


def test_a_checkpoint_is_data_and_holds_no_trigger_and_no_query(
    marked: "Marked", states: list[bytes]
) -> None:
    state = torch.load(io.BytesIO(states[0]), weights_only=True)
    shapes = [tuple(value.shape) for own in state["objectives"] for value in own.values()]
    # The centres of the white box, and the order of the queries left in this round.
    assert shapes[0] == (4, 96)
    assert len(shapes) == 2
    for array in ("triggers", "projection"):
        secret = marked.record.secrets["whitebox"].arrays[array]
        assert np.ascontiguousarray(secret).tobytes()[:256] not in states[0]


def shifted(marked: "Marked") -> TrainingData:
    inputs = marked.data.train.inputs.copy()
    inputs[7, 3] += 1
    return replace(marked.data, train=LabelledData(inputs, marked.data.train.labels))


@pytest.mark.parametrize("what", ["data", "record", "settings", "model"])
def test_a_checkpoint_of_another_run_is_refused(
    marked: "Marked", states: list[bytes], what: str
) -> None:
    changes = {
        "data": shifted(marked),
        "record": None,
        "settings": replace(marked.settings, lambda2=1.0),
    }
    model = copy.deepcopy(marked.sibling if what == "model" else marked.parent)
    before = copy.deepcopy(model)
    given = {"data": marked.data, "record": marked.record, "settings": marked.settings}
    given |= {name: value for name, value in changes.items() if name == what}
    with pytest.raises(ConfigurationError, match="another model, record, data or settings"):
        embed(model, resume=states[0], **given)  # type: ignore[arg-type]
    assert equal(model, before)


@pytest.mark.parametrize("damage", ["empty", "half", "text", "other"])
def test_bytes_that_are_no_checkpoint_are_refused(
    marked: "Marked", states: list[bytes], damage: str
) -> None:
    buffer = io.BytesIO()
    torch.save([1, 2], buffer)
    content = {
        "empty": b"",
        "half": states[0][: len(states[0]) // 2],
        "text": b"not a checkpoint at all",
        "other": buffer.getvalue(),
    }[damage]
    with pytest.raises(CouldNotCheckError, match="this is no checkpoint"):
        resumed(marked, content)


def test_a_checkpoint_that_would_run_code_is_refused(marked: "Marked") -> None:
    buffer = io.BytesIO()
    torch.save({"format": print}, buffer)
    with pytest.raises(CouldNotCheckError, match="this is no checkpoint"):
        resumed(marked, buffer.getvalue())


def test_settings_name_the_precisions() -> None:
    with pytest.raises(ConfigurationError, match="use one of: auto, float32, bfloat16"):
        MarkSettings(precision="float16")  # type: ignore[arg-type]
