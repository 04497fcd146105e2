"""A pattern that is not to be seen lies only where a training has been, and is read from there."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor, nn

from deepsigns_registry.errors import InapplicableError
from deepsigns_registry.watermark.adapters.eager import EagerTappedModel
from deepsigns_registry.watermark.data import LabelledData, TrainingData
from deepsigns_registry.watermark.embed import Course, embed
from deepsigns_registry.watermark.extract import extract
from deepsigns_registry.watermark.key import RootKey
from deepsigns_registry.watermark.prepare import prepare_record
from deepsigns_registry.watermark.record import WatermarkRecord
from deepsigns_registry.watermark.settings import MarkSettings
from deepsigns_registry.watermark.spread import Spread
from deepsigns_registry.watermark.spread.hidden import STRENGTH, can_hide
from deepsigns_registry.watermark.suspect import TappedSuspect
from tests.support.training import train
from tests.unit.watermark.conftest import CLASSES, OWNER, blobs, multilayer

ONLY = (Spread(),)
HIDDEN = MarkSettings(minimum_steps=60, stealth=True)
DEAD_INPUT, DEAD_NEURON, PRUNED = 3, 7, slice(20, 40)


def without_one(data: LabelledData) -> LabelledData:
    inputs = data.inputs.copy()
    inputs[:, DEAD_INPUT] = 0
    return LabelledData(inputs, data.labels)


@dataclass(frozen=True)
class Story:
    data: TrainingData
    parent: EagerTappedModel
    record: WatermarkRecord
    model: EagerTappedModel
    control: EagerTappedModel

    def added(self) -> Iterator[tuple[Tensor, Tensor]]:
        """For each matrix what a control does not have, and the control's."""
        pairs = zip(self.model.parameters(), self.control.parameters(), strict=True)
        yield from (
            ((mine - plain).detach(), plain.detach()) for mine, plain in pairs if plain.ndim > 1
        )


@pytest.fixture(scope="module")
def story() -> Story:
    """Marked, and the same without a mark; an input and a neuron are dead, some weights pruned."""
    data = TrainingData(without_one(blobs(900, 1)), without_one(blobs(300, 2)), CLASSES).validated()
    module = train(multilayer(0, 400), data.train, epochs=5)
    layers = [layer for layer in module.children() if isinstance(layer, nn.Linear)]
    with torch.no_grad():
        layers[0].bias[DEAD_NEURON] = -1000
        layers[1].weight[PRUNED] = 0
    parent = EagerTappedModel(module, "3").eval()
    record = prepare_record(parent, data, RootKey(bytes(32), OWNER), HIDDEN, schemes=ONLY)
    model, control = copy.deepcopy(parent), copy.deepcopy(parent)
    embed(model, data, record, HIDDEN, schemes=ONLY)
    embed(control, data, None, HIDDEN)
    return Story(data, parent, record, model, control)


def test_nothing_is_added_to_weights_that_no_sample_reaches(story: Story) -> None:
    (first, _), (second, _), (last, _) = story.added()
    assert not first[:, DEAD_INPUT].any()
    assert not first[DEAD_NEURON].any()
    assert not second[:, DEAD_NEURON].any()
    assert not second[PRUNED].any()
    # What is left still is most of it.
    for added in (first, second, last):
        assert (added != 0).float().mean() > 0.6


def test_everywhere_else_it_is_as_weak_as_is_hidden(story: Story) -> None:
    assert story.record.secrets["spread"].meta["strength"] == STRENGTH
    for added, plain in story.added():
        where = added != 0
        # Chance correlates some weights with the pattern already: then less is lacking.
        assert added[where].std() < 1.1 * STRENGTH * plain.square().mean().sqrt()
    biases = zip(story.model.parameters(), story.control.parameters(), strict=True)
    assert all(torch.equal(mine, plain) for mine, plain in biases if plain.ndim == 1)


def test_it_is_read_from_the_model_alone(story: Story) -> None:
    for model, present in ((story.model, True), (story.control, False), (story.parent, False)):
        (found,) = extract(story.record, TappedSuspect(model), schemes=ONLY).evidence
        assert (found.log10_p < -9) == present


def test_a_scheme_that_is_weighed_more_is_hidden_as_well(story: Story) -> None:
    model = copy.deepcopy(story.parent)
    course = Course(factors={"spread": 9.0})
    embed(model, story.data, story.record, HIDDEN, schemes=ONLY, course=course)
    pairs = zip(model.parameters(), story.model.parameters(), strict=True)
    assert all(torch.equal(mine, theirs) for mine, theirs in pairs)


@pytest.mark.parametrize("interrupted", [0, 1])
def test_what_was_reached_goes_into_checkpoints(story: Story, interrupted: int) -> None:
    # Two epochs of 15 steps: the second one still looks at what samples reach.
    settings = replace(HIDDEN, epochs=2, minimum_steps=1)
    states: list[bytes] = []
    whole, again = copy.deepcopy(story.parent), copy.deepcopy(story.parent)
    embed(
        whole,
        story.data,
        story.record,
        settings,
        schemes=ONLY,
        checkpoint=lambda _step, state: states.append(state),
    )
    embed(again, story.data, story.record, settings, schemes=ONLY, resume=states[interrupted])
    pairs = zip(whole.parameters(), again.parameters(), strict=True)
    assert all(torch.equal(mine, theirs) for mine, theirs in pairs)


def test_frozen_and_quantised_matrices_are_left_alone(story: Story) -> None:
    model = copy.deepcopy(story.parent)
    first, second, last = (weight for weight in model.parameters() if weight.ndim > 1)
    first.requires_grad_(False)
    with torch.no_grad():
        last.copy_((last * 20).round() / 20)
    assert [can_hide(weight) for weight in (first, second, last)] == [False, True, False]
    record = prepare_record(model, story.data, RootKey(bytes(32), OWNER), HIDDEN, schemes=ONLY)
    named = record.secrets["spread"].meta["matrices"]
    assert isinstance(named, list)
    assert len(named) == 1
    second.requires_grad_(False)
    with pytest.raises(InapplicableError, match="0 of the model's 168800 weights could carry"):
        prepare_record(model, story.data, RootKey(bytes(32), OWNER), HIDDEN, schemes=ONLY)


def test_a_model_that_computes_without_gradients_is_refused(story: Story) -> None:
    class Untrainable(nn.Sequential):
        def forward(self, inputs: Tensor) -> Tensor:
            with torch.no_grad():
                for layer in self:
                    inputs = layer(inputs)
            return inputs

    model = EagerTappedModel(Untrainable(*multilayer(0, 400).children()), "3")
    with pytest.raises(InapplicableError, match="0 of the model's 168800 weights could carry"):
        prepare_record(model, story.data, RootKey(bytes(32), OWNER), HIDDEN, schemes=ONLY)


def test_a_model_of_few_weights_is_refused(story: Story) -> None:
    small = EagerTappedModel(multilayer(0), "3")
    with pytest.raises(InapplicableError, match=r"model's 11328 weights .* would be read"):
        prepare_record(small, story.data, RootKey(bytes(32), OWNER), HIDDEN, schemes=ONLY)
