import copy
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from deepsigns_registry.attacks.finetune import Finetune
from deepsigns_registry.attacks.finetune_last import FinetuneLast
from deepsigns_registry.attacks.finetune_reset import FinetuneReset
from deepsigns_registry.attacks.finetune_sgd import FinetuneSgd
from deepsigns_registry.attacks.finetune_slow import FinetuneSlow
from deepsigns_registry.attacks.quantize import Quantize
from deepsigns_registry.attacks.smooth import Smooth
from deepsigns_registry.errors import CouldNotCheckError, DataError
from deepsigns_registry.graph.interpreter import OnnxTappedModel
from deepsigns_registry.watermark.adapters.eager import EagerTappedModel
from deepsigns_registry.watermark.data import LabelledData
from deepsigns_registry.watermark.tapped import TappedModel

Accuracy = Callable[..., float]


def moved(before: TappedModel, after: TappedModel) -> dict[tuple[int, ...], float]:
    """How far each parameter went, root mean square, by its shape."""
    pairs = zip(before.parameters(), after.parameters(), strict=True)
    return {
        tuple(sorted(old.shape)): float((old - new).detach().square().mean().sqrt())
        for old, new in pairs
    }


def test_only_the_output_layer_is_trained(victim: TappedModel, data: LabelledData) -> None:
    tuned = FinetuneLast().apply(victim, 2, data, seed=0)
    distances = moved(victim, tuned)
    assert {shape for shape, distance in distances.items() if distance} == {(4,), (4, 32)}
    assert all(parameter.requires_grad for parameter in tuned.parameters())


def test_an_output_layer_learns_what_the_rest_still_tells(
    victim: TappedModel, data: LabelledData, accuracy: Accuracy
) -> None:
    relabelled = replace(data, labels=(data.labels + 1) % 4)
    assert accuracy(victim, relabelled) < 0.2
    tuned = FinetuneLast(learning_rate=3e-2).apply(victim, 10, relabelled, seed=0)
    assert accuracy(tuned, relabelled) > 0.9


def test_batch_statistics_stay_when_the_output_layer_alone_is_trained(data: LabelledData) -> None:
    module = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64), nn.Dropout(0.5), nn.Linear(64, 4))
    before = copy.deepcopy(module.state_dict())
    tuned = FinetuneLast().apply(EagerTappedModel(module, "2"), 1, data, seed=0)
    after = tuned.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[f"module.{name}"])}
    assert changed == {"3.weight", "3.bias"}
    everything = Finetune().apply(EagerTappedModel(module, "2"), 1, data, seed=0).state_dict()
    assert not torch.equal(everything["module.1.running_mean"], before["1.running_mean"])


def test_a_tenth_of_the_rate_goes_a_tenth_as_far(victim: TappedModel, data: LabelledData) -> None:
    fast = moved(victim, Finetune().apply(victim, 1, data, seed=0))
    slow = moved(victim, FinetuneSlow().apply(victim, 1, data, seed=0))
    # Adam's first steps are about as long as its rate, whatever the gradient.
    for shape, distance in slow.items():
        assert fast[shape] / 20 < distance < fast[shape] / 4


def test_descent_without_momentum_is_the_gradient_times_the_rate(data: LabelledData) -> None:
    torch.manual_seed(0)
    layer = nn.Linear(64, 4)
    model = EagerTappedModel(nn.Sequential(nn.Flatten(), layer), "0")
    outputs = model(torch.from_numpy(data.inputs)).outputs
    loss = functional.cross_entropy(outputs, torch.from_numpy(data.labels))
    (gradient,) = torch.autograd.grad(loss, [layer.weight])
    tuned = FinetuneSgd(batch_size=len(data)).apply(model, 1, data, seed=0)
    stepped = layer.weight - 0.05 * gradient
    torch.testing.assert_close(tuned.get_parameter("module.1.weight"), stepped)
    # The second step of two goes on with most of the first.
    plain, heavy = (
        FinetuneSgd(batch_size=len(data), momentum=momentum).apply(model, 2, data, seed=0)
        for momentum in (0.0, 0.9)
    )
    first = stepped - layer.weight
    difference = heavy.get_parameter("module.1.weight") - plain.get_parameter("module.1.weight")
    torch.testing.assert_close(difference, 0.9 * first, rtol=1e-3, atol=1e-6)


def test_the_output_layer_starts_anew_and_all_is_trained(
    victim: TappedModel, data: LabelledData, accuracy: Accuracy
) -> None:
    distances = moved(victim, FinetuneReset().apply(victim, 1, data, seed=0))
    spread = {tuple(sorted(old.shape)): float(old.detach().std()) for old in victim.parameters()}
    assert distances[4, 32] > spread[4, 32]
    assert 0 < distances[32, 128] < 0.1
    tuned = FinetuneReset(learning_rate=1e-2).apply(victim, 5, data, seed=0)
    assert accuracy(tuned, data) > 0.9


@pytest.mark.parametrize("attack", [FinetuneLast(), FinetuneReset()])
def test_without_a_float_output_layer_it_says_so(
    attack: Finetune, view: OnnxTappedModel, data: LabelledData
) -> None:
    quantized = Quantize().apply(view, 8.0, data, seed=0)
    with pytest.raises(CouldNotCheckError, match="no output layer with float weights"):
        attack.apply(quantized, 1, data, seed=0)


def test_smoothing_lowers_the_confidence_it_asks_for(
    victim: TappedModel, data: LabelledData, accuracy: Accuracy
) -> None:
    tuned = Smooth(learning_rate=1e-2, smoothing=0.4).apply(victim, 15, data, seed=0)
    with torch.no_grad():
        outputs = tuned(torch.from_numpy(data.inputs)).outputs
    # The loss is least at a probability of 0.6 + 0.4 / 4.
    assert float(outputs.softmax(dim=1).max(dim=1).values.mean()) == pytest.approx(0.7, abs=0.05)
    assert accuracy(tuned, data) > 0.9


class _Regressor(nn.Module):
    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU())
        self.head = nn.Linear(16, outputs)

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.head(self.body(inputs))
        return outputs


@pytest.fixture
def regression(data: LabelledData) -> LabelledData:
    """Two targets, in units of very different size."""
    flat = data.inputs.reshape(len(data), -1)
    targets = np.stack([flat[:, :8].mean(axis=1), 100 * flat[:, 8:16].mean(axis=1)], axis=1)
    return LabelledData(data.inputs, targets.astype(np.float32))


def test_a_regressor_is_trained_on_its_targets(regression: LabelledData) -> None:
    torch.manual_seed(0)
    model = EagerTappedModel(_Regressor(2), "body")
    wanted = torch.from_numpy(regression.labels)
    errors = []
    for suspect in (model, Finetune(learning_rate=1e-2).apply(model, 30, regression, seed=0)):
        with torch.no_grad():
            outputs = suspect(torch.from_numpy(regression.inputs)).outputs
        errors.append(float(functional.mse_loss(outputs, wanted)))
    assert errors[1] < 0.1 * errors[0]
    with pytest.raises(CouldNotCheckError, match="needs classes, and these labels are for regr"):
        Smooth().apply(model, 1, regression, seed=0)
    with pytest.raises(DataError, match="2 targets a sample for a model of 3 outputs"):
        Finetune().apply(EagerTappedModel(_Regressor(3), "body"), 1, regression, seed=0)


def test_an_embedding_model_keeps_what_it_gives(data: LabelledData) -> None:
    torch.manual_seed(0)
    model = EagerTappedModel(_Regressor(6), "body")
    unlabelled = LabelledData.without_labels(data.inputs)
    reset = FinetuneReset(learning_rate=1e-2).apply(model, 30, unlabelled, seed=0)
    with torch.no_grad():
        ours, theirs = (m(torch.from_numpy(data.inputs)).outputs for m in (model, reset))
    similar = functional.cosine_similarity(ours, theirs).mean()
    assert float(similar) > 0.9
