"""Permutation, splitting and structured pruning of models that were trained and exported."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from deepsigns_registry.attacks.attack import Attack
from deepsigns_registry.attacks.permute import Permute
from deepsigns_registry.attacks.quantize import Quantize
from deepsigns_registry.attacks.split import Split
from deepsigns_registry.attacks.structured_prune import StructuredPrune
from deepsigns_registry.errors import ConfigurationError, CouldNotCheckError
from deepsigns_registry.graph.channels import Freedom, channel_layout
from deepsigns_registry.graph.interpreter import OnnxTappedModel
from deepsigns_registry.watermark.adapters.eager import INPUT_SUFFIX, EagerTappedModel
from deepsigns_registry.watermark.data import LabelledData
from deepsigns_registry.watermark.tapped import Tapped, TappedModel
from tests.support.networks import difference

KEEPING: dict[str, tuple[Attack, float]] = {
    "permuted": (Permute(), 0.0),
    "scaled": (Permute(), 0.7),
    "split": (Split(), 0.25),
}
SIZES = [8, 32]
Floats = NDArray[np.float32]


def sizes(model: OnnxTappedModel) -> list[int]:
    return sorted(group.size for group in channel_layout(model).groups.values())


def answer(model: TappedModel, inputs: object) -> Tapped:
    with torch.no_grad():
        tapped: Tapped = model(torch.as_tensor(inputs))
    return tapped


@pytest.mark.parametrize("name", KEEPING)
def test_the_function_stays_and_the_tap_changes(
    name: str, view: OnnxTappedModel, data: LabelledData
) -> None:
    attack, strength = KEEPING[name]
    attacked = attack.apply(view, strength, data, seed=1)
    before, after = (answer(model, data.inputs[:64]) for model in (view, attacked))
    torch.testing.assert_close(after.outputs, before.outputs, rtol=1e-4, atol=1e-4)
    assert after.activation.shape == (64, 48 if name == "split" else 32)
    assert not torch.allclose(after.activation[:, :32], before.activation, atol=1e-2)


def test_any_adapter_becomes_a_file_with_the_same_tap(
    victim: TappedModel, data: LabelledData
) -> None:
    attacked = Permute().apply(victim, 0.7, data, seed=1)
    assert isinstance(attacked, OnnxTappedModel)
    before, after = (answer(model, data.inputs[:64]) for model in (victim, attacked))
    torch.testing.assert_close(after.outputs, before.outputs, rtol=1e-4, atol=1e-4)
    assert_same_neurons(before.activation.numpy(), after.activation.numpy())


def assert_same_neurons(
    before: Floats, after: Floats
) -> tuple[NDArray[np.intp], NDArray[np.intp], Floats]:
    """Live neurons of the first, where they are in the second, and the factors on them."""
    live = np.flatnonzero(before.any(axis=0))
    lengths = np.linalg.norm(before[:, live], axis=0)
    cosine = (before[:, live] / lengths).T @ (
        after / np.maximum(np.linalg.norm(after, axis=0), 1e-30)
    )
    found = linear_sum_assignment(-cosine)[1]
    assert cosine[np.arange(len(live)), found].min() > 1 - 1e-5
    factors = np.linalg.norm(after[:, found], axis=0) / lengths
    np.testing.assert_allclose(after[:, found], before[:, live] * factors, rtol=1e-3, atol=1e-4)
    return live, found, factors


def test_the_tap_holds_the_same_neurons_elsewhere_and_in_another_unit(
    view: OnnxTappedModel, data: LabelledData
) -> None:
    attacked = Permute().apply(view, 0.7, data, seed=1)
    assert attacked.tap == view.tap
    before, after = (answer(model, data.inputs).activation.numpy() for model in (view, attacked))
    live, found, factors = assert_same_neurons(before, after)
    # The standard deviation of n logarithms with sigma 0.7; four standard errors of it.
    assert np.log(factors).std() == pytest.approx(0.7, abs=4 * 0.7 / np.sqrt(2 * len(live)))
    # A random permutation has one fixed point on average; ten have a chance of 1e-7.
    assert (found == live).sum() < 10


def test_half_of_a_split_channel_is_read_from_each_copy(
    view: OnnxTappedModel, data: LabelledData
) -> None:
    attacked = Split().apply(view, 0.25, data, seed=1)
    assert sizes(view) == SIZES
    assert sizes(attacked) == [8 + 2 * 2, 32 + 2 * 8]
    incoming, outgoing = (
        weight.detach().reshape(len(weight), -1)
        for name, weight in attacked.named_parameters()
        if weight.ndim == 2
    )
    rows, read = incoming.double(), outgoing.double()
    equal = [
        (one, other)
        for one in range(len(rows))
        for other in range(one)
        if torch.equal(rows[one], rows[other])
    ]
    # Eight pairs of halves, and of eight dummies two pairs that cancel; four are not read.
    cancelling = [pair for pair in equal if torch.equal(read[:, pair[0]], -read[:, pair[1]])]
    assert (len(equal), len(cancelling)) == (8 + 2, 2)
    assert int((read == 0).all(dim=0).sum()) == 4
    halves = [pair for pair in equal if pair not in cancelling]
    shares = [float(read[0, one] / (read[0, one] + read[0, other])) for one, other in halves]
    assert all(0.1 <= share <= 0.9 for share in shares)
    assert np.std(shares) > 0.05


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_pruned_layers_keep_their_largest_channels(
    view: OnnxTappedModel, data: LabelledData, share: float
) -> None:
    pruned = StructuredPrune().apply(view, share, data, seed=0)
    assert sizes(pruned) == [
        left for left in (size - int(share * size) for size in SIZES) if left > 1
    ]
    kernels = [next(w for w in model.parameters() if w.ndim == 4) for model in (view, pruned)]
    before, after = (kernel.detach().flatten(1).norm(dim=1) for kernel in kernels)
    torch.testing.assert_close(after.sort()[0], before.sort()[0][-len(after) :])
    assert answer(pruned, data.inputs[:4]).activation.shape == (4, 32 - int(share * 32))


def test_a_few_channels_are_not_needed(
    view: OnnxTappedModel, data: LabelledData, accuracy: Callable[..., float]
) -> None:
    assert accuracy(StructuredPrune().apply(view, 0.2, data, seed=0), data) > 0.8


def test_attacks_can_follow_each_other(view: OnnxTappedModel, data: LabelledData) -> None:
    split = Split().apply(view, 0.5, data, seed=1)
    again = Split().apply(Permute().apply(split, 0.5, data, seed=2), 0.5, data, seed=3)
    assert sizes(again) == [32, 128]
    assert difference(view.write_back(), again.write_back(), data.inputs) < 1e-4


class _Residual(nn.Module):
    """A narrow WideResNet of three blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 6, 3, padding=1, bias=False)
        widths = [(6, 8), (8, 8), (8, 10)]
        self.first = nn.ModuleList(nn.BatchNorm2d(given) for given, _ in widths)
        self.inner = nn.ModuleList(nn.Conv2d(*pair, 3, padding=1) for pair in widths)
        self.second = nn.ModuleList(nn.BatchNorm2d(made) for _, made in widths)
        self.outer = nn.ModuleList(nn.Conv2d(made, made, 3, padding=1) for _, made in widths)
        self.shortcut = nn.ModuleList(
            nn.Identity() if given == made else nn.Conv2d(given, made, 1) for given, made in widths
        )
        self.last = nn.BatchNorm2d(10)
        self.head = nn.Linear(10, 4)

    def forward(self, values: Tensor) -> Tensor:
        values = self.stem(values)
        for first, inner, second, outer, shortcut in zip(
            self.first, self.inner, self.second, self.outer, self.shortcut, strict=True
        ):
            read = torch.relu(first(values))
            branch = outer(torch.relu(second(inner(read))))
            same = isinstance(shortcut, nn.Identity)
            values = branch + shortcut(values if same else read)
        outputs: Tensor = self.head(torch.relu(self.last(values)).mean(dim=(2, 3)))
        return outputs


class _Encoder(nn.Module):
    """A transformer encoder over the rows of an image, made by torch's own layers."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(8, 12)
        self.positions = nn.Parameter(torch.randn(8, 12))
        layer = nn.TransformerEncoderLayer(12, 2, 20, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.hidden = nn.Linear(12, 16)
        self.head = nn.Linear(16, 4)

    def forward(self, values: Tensor) -> Tensor:
        values = self.encoder(self.embed(values.flatten(1, 2)) + self.positions)
        outputs: Tensor = self.head(torch.relu(self.hidden(values.mean(dim=1))))
        return outputs


# Sizes of the groups, and how many of them can become wider: not the stream that a layer
# normalisation takes the mean of.
EXPORTED = [(_Residual, [6, 8, 8, 8, 10, 10], 6), (_Encoder, [12, 16, 20, 20], 3)]


@pytest.mark.parametrize(("kind", "expected", "wider"), EXPORTED)
def test_every_hidden_layer_of_an_exported_model_changes(
    kind: type[nn.Module], expected: list[int], wider: int, data: LabelledData
) -> None:
    torch.manual_seed(0)
    module = kind()
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.weight, 0.5, 2)
            for name, statistic in part.named_buffers():
                if name != "num_batches_tracked":
                    nn.init.uniform_(statistic, 0.1, 2)
    victim = EagerTappedModel(module.eval(), f"head{INPUT_SUFFIX}")
    permuted = Permute().apply(victim, 0.7, data, seed=1)
    assert sizes(permuted) == expected
    groups = channel_layout(permuted).groups.values()
    assert sum(Freedom.DUPLICATE in group.freedom for group in groups) == wider
    inputs = data.inputs[:16]
    expected_outputs = answer(victim, inputs).outputs
    for attacked in (permuted, Split().apply(permuted, 0.3, data, seed=1)):
        outputs = answer(attacked, inputs).outputs
        assert (outputs - expected_outputs).abs().max() < 1e-4 * expected_outputs.abs().max()


def test_a_model_that_must_be_exported_needs_inputs(eager: EagerTappedModel) -> None:
    nothing = LabelledData(np.empty((0, 1, 8, 8), np.float32), np.empty(0, np.int64))
    with pytest.raises(CouldNotCheckError, match=r"attack split: .* 0 example rows") as caught:
        Split().apply(eager, 0.5, nothing, seed=0)
    assert "/" not in caught.value.message
    assert caught.value.advice


def test_a_quantised_file_is_refused(view: OnnxTappedModel, data: LabelledData) -> None:
    quantized = Quantize().apply(view, Quantize().parse("int8"), data, seed=0)
    for attack in (Permute(), Split(), StructuredPrune()):
        with pytest.raises(CouldNotCheckError, match=f"attack {attack.name}: .*no channels"):
            attack.apply(quantized, 0.5, data, seed=0)


@pytest.mark.parametrize(
    ("attack", "strengths"),
    [
        (Permute(), ["-0.1", "3.1", "nan", "inf", "much", ""]),
        (Split(), ["0", "-1", "1.1", "nan", "inf", "half", ""]),
        (StructuredPrune(), ["0", "1", "-1", "nan", "inf", "half", ""]),
    ],
)
def test_a_bad_strength_is_refused(attack: Attack, strengths: list[str]) -> None:
    for strength in strengths:
        with pytest.raises(ConfigurationError, match=f"attack {attack.name}: strength") as caught:
            attack.parse(strength)
        assert f"{attack.name}:0" in caught.value.advice
