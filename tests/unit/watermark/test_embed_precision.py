"""Lower precision and another layout change how a mark is embedded, and not the mark."""

import copy
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from deepsigns_registry.watermark.adapters.eager import EagerTappedModel
from deepsigns_registry.watermark.data import LabelledData, TrainingData
from deepsigns_registry.watermark.embed import embed
from deepsigns_registry.watermark.extract import extract
from deepsigns_registry.watermark.key import RootKey
from deepsigns_registry.watermark.precision import autocast, layout_for
from deepsigns_registry.watermark.prepare import prepare_record
from deepsigns_registry.watermark.record import WatermarkRecord
from deepsigns_registry.watermark.suspect import TappedSuspect
from deepsigns_registry.watermark.verdict import judge
from tests.support.matched import matched

if TYPE_CHECKING:
    from tests.unit.watermark.conftest import Marked


def test_a_mark_embedded_in_bfloat16_is_present(marked: "Marked") -> None:
    model = copy.deepcopy(marked.parent)
    seen: list[torch.dtype] = []
    handle = model.get_submodule("module.0").register_forward_hook(
        lambda _layer, _inputs, output: seen.append(output.dtype)
    )
    settings = replace(marked.settings, precision="bfloat16")
    result = embed(model, marked.data, marked.record, settings)
    handle.remove()
    # First the parent is asked for its answers, in float32.
    assert set(seen[seen.index(torch.bfloat16) :]) == {torch.bfloat16}
    assert all(weight.dtype == torch.float32 for weight in model.parameters())
    found = extract(marked.record, TappedSuspect(model))
    assert judge(found.evidence, tries=10, incomplete=found.incomplete).word == "present"
    assert matched(found.evidence[0]).errors == 0
    # bfloat16 keeps 8 bits: the losses are those of float32 up to a few steps of 2**-8.
    assert result.losses != marked.result.losses
    np.testing.assert_allclose(result.losses, marked.result.losses, rtol=0.05, atol=0.02)


def test_a_processor_computes_in_float32_unless_asked() -> None:
    for precision, wanted in [("auto", False), ("float32", False), ("bfloat16", True)]:
        with autocast(precision, torch.device("cpu")):  # type: ignore[arg-type]
            assert torch.is_autocast_enabled("cpu") == wanted


class Images(nn.Module):
    """A small convolutional network; one that views needs its feature maps contiguous."""

    def __init__(self, *, views: bool = False) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, 16, 3, padding=1)
        self.second = nn.Conv2d(16, 96, 3, padding=1, stride=2)
        self.head = nn.Linear(96 * 9, 6)
        self.views = views

    def forward(self, inputs: Tensor) -> Tensor:
        maps = torch.relu(self.second(torch.relu(self.first(inputs))))
        flat = maps.view(len(maps), -1) if self.views else maps.flatten(1)
        outputs: Tensor = self.head(flat)
        return outputs


@pytest.fixture(scope="module")
def images() -> TrainingData:
    random = np.random.default_rng(0)
    labels = np.arange(600) % 6
    centres = random.normal(size=(6, 2, 6, 6))
    inputs = (centres[labels] + random.normal(size=(600, 2, 6, 6))).astype(np.float32)
    parts = [LabelledData(inputs[rows], labels[rows]) for rows in (slice(480), slice(480, 600))]
    return TrainingData(parts[0], parts[1], 6).validated()


@pytest.fixture(scope="module")
def convolutional(
    images: TrainingData, marked: "Marked"
) -> tuple[EagerTappedModel, WatermarkRecord]:
    torch.manual_seed(0)
    model = EagerTappedModel(Images(), "second")
    return model, prepare_record(model, images, RootKey(bytes(32), bytes(32)), marked.settings)


def test_the_layout_changes_the_result_by_rounding_only(
    images: TrainingData,
    convolutional: tuple[EagerTappedModel, WatermarkRecord],
    marked: "Marked",
) -> None:
    parent, record = convolutional
    found = {}
    for channels_last in (True, False):
        model, layouts = copy.deepcopy(parent), list[bool]()
        handle = model.get_submodule("module.second").register_forward_hook(
            lambda _layer, _inputs, output, layouts=layouts: layouts.append(
                output.is_contiguous(memory_format=torch.channels_last)
            )
        )
        # Rounding grows from step to step; it is compared after few.
        settings = replace(
            marked.settings,
            epochs=1,
            minimum_steps=1,
            batch_size=96,
            learning_rate=1e-4,
            channels_last=channels_last,
        )
        embed(model, images, record, settings)
        handle.remove()
        assert set(layouts[2:]) == {channels_last}
        found[channels_last] = [weight.detach() for weight in model.parameters()]
        assert all(weight.is_contiguous() for weight in model.parameters())
    pairs = zip(found[True], found[False], parent.parameters(), strict=True)
    for last, contiguous, before in pairs:
        assert not torch.equal(contiguous, before)
        # Five steps of Adam at 1e-4; where a gradient is near zero, its sign is rounding.
        torch.testing.assert_close(last, contiguous, rtol=1e-4, atol=1e-4)


def test_the_layout_is_kept_where_a_model_needs_it() -> None:
    sample = torch.zeros(2, 2, 6, 6)
    for views, wanted in [(False, torch.channels_last), (True, torch.contiguous_format)]:
        model = EagerTappedModel(Images(views=views), "second")
        assert layout_for(model, sample) == wanted
        assert all(weight.is_contiguous() for weight in model.parameters())
    flat = EagerTappedModel(nn.Sequential(nn.Flatten(), nn.Linear(72, 6)), "0")
    assert layout_for(flat, sample) == torch.contiguous_format
