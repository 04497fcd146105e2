import copy
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from onnx import helper

from deepsigns_registry.attacks.finetune import Finetune
from deepsigns_registry.attacks.quantize import Quantize
from deepsigns_registry.errors import CouldNotCheckError, DataError
from deepsigns_registry.graph.interpreter import OnnxTappedModel
from deepsigns_registry.watermark.adapters.eager import EagerTappedModel
from deepsigns_registry.watermark.data import LabelledData

Accuracy = Callable[..., float]


@pytest.fixture
def relabelled(data: LabelledData) -> LabelledData:
    """The same images, every class called by the next one's number."""
    return replace(data, labels=(data.labels + 1) % 4)


def test_an_onnx_file_learns_what_it_is_given(
    view: OnnxTappedModel, relabelled: LabelledData, accuracy: Accuracy
) -> None:
    assert accuracy(view, relabelled) < 0.2
    told: list[float] = []
    tuned = Finetune(learning_rate=1e-2).apply(
        view, 10, relabelled, seed=0, progress=lambda share, _: told.append(share)
    )
    assert isinstance(tuned, OnnxTappedModel)
    assert accuracy(tuned, relabelled) > 0.9
    assert told == pytest.approx([(epoch + 1) / 10 for epoch in range(10)])
    assert not tuned.training


def test_the_model_given_and_the_generator_stay(
    eager: EagerTappedModel, data: LabelledData
) -> None:
    before, state = copy.deepcopy(eager.state_dict()), torch.get_rng_state()
    Finetune().apply(eager, 1, data, seed=3)
    assert all(torch.equal(before[name], value) for name, value in eager.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert not eager.training


def test_the_seed_decides_everything(view: OnnxTappedModel, data: LabelledData) -> None:
    files = [Finetune().apply(view, 1, data, seed=seed) for seed in (1, 1, 2)]
    first, again, other = [file.to_bytes() for file in files if isinstance(file, OnnxTappedModel)]
    assert first == again
    assert first != other


def test_a_file_that_gives_probabilities_is_trained_as_such(
    view: OnnxTappedModel, relabelled: LabelledData, accuracy: Accuracy
) -> None:
    model = view.write_back()
    model.graph.node.append(helper.make_node("Softmax", ["output"], ["probabilities"]))
    model.graph.output[0].name = "probabilities"
    tuned = Finetune(learning_rate=1e-2).apply(
        OnnxTappedModel.from_proto(model), 10, relabelled, seed=0
    )
    assert accuracy(tuned, relabelled) > 0.9


def test_what_is_still_float_in_a_quantised_file_is_trained(
    view: OnnxTappedModel, data: LabelledData
) -> None:
    quantized = Quantize().apply(view, 8.0, data, seed=0)
    tuned = Finetune().apply(quantized, 1, data, seed=0)
    pairs = zip(quantized.parameters(), tuned.parameters(), strict=True)
    assert all(not torch.equal(before, after) for before, after in pairs)


def test_a_loss_that_is_no_number_is_reported(eager: EagerTappedModel, data: LabelledData) -> None:
    inputs = data.inputs.copy()
    inputs[7] = np.nan
    with pytest.raises(CouldNotCheckError, match="loss is nan in epoch 1"):
        Finetune().apply(eager, 1, replace(data, inputs=inputs), seed=0)


def test_bad_data_is_refused(eager: EagerTappedModel, data: LabelledData) -> None:
    labels = data.labels.copy()
    labels[5] = 4
    with pytest.raises(DataError, match="label 4 of sample 5 is outside the 4 classes"):
        Finetune().apply(eager, 1, replace(data, labels=labels), seed=0)
    for bad in (LabelledData(data.inputs[:0], labels[:0]), replace(data, labels=labels[:3])):
        with pytest.raises(DataError, match="samples with"):
            Finetune().apply(eager, 1, bad, seed=0)
