"""What is refused before any training, and what the person is told."""

import copy
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from deepsigns_registry.attacks import losses
from deepsigns_registry.errors import (
    ConfigurationError,
    DataError,
    InapplicableError,
    UnmarkableError,
)
from deepsigns_registry.watermark import blackbox, calibrated
from deepsigns_registry.watermark.adapters.eager import EagerTappedModel
from deepsigns_registry.watermark.blackbox import BlackBox
from deepsigns_registry.watermark.data import LabelledData, TrainingData
from deepsigns_registry.watermark.density import Density
from deepsigns_registry.watermark.embed import embed
from deepsigns_registry.watermark.extract import extract
from deepsigns_registry.watermark.key import RootKey
from deepsigns_registry.watermark.prepare import check_against_parent, prepare_record
from deepsigns_registry.watermark.settings import MarkSettings
from deepsigns_registry.watermark.suspect import TappedSuspect
from deepsigns_registry.watermark.task import are_probabilities
from deepsigns_registry.watermark.verdict import judge
from deepsigns_registry.watermark.whitebox import WhiteBox
from tests.support.matched import matched
from tests.support.training import train

if TYPE_CHECKING:
    from tests.unit.watermark.conftest import Marked

ROOT = RootKey(bytes(32), bytes(32))


def prepare(module: nn.Module, tap: str, data: TrainingData, settings: MarkSettings) -> None:
    prepare_record(EagerTappedModel(module, tap), data, ROOT, settings)


def layers(neurons: int, classes: int = 6) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(16, neurons), nn.ReLU(), nn.Linear(neurons, classes))


def test_a_narrow_layer_is_named_with_the_remedy(
    data: TrainingData, settings: MarkSettings
) -> None:
    with pytest.raises(
        UnmarkableError, match=r"layer '1' has 8 neurons.*choose a layer of at least 24 neurons"
    ):
        prepare(layers(8), "1", data, settings)


def test_bits_must_be_shared_equally(data: TrainingData, settings: MarkSettings) -> None:
    with pytest.raises(UnmarkableError, match="set bits to a multiple of 3"):
        prepare(layers(96), "1", data, replace(settings, carriers=3))


def test_classes_with_too_few_samples_are_grouped_otherwise(
    data: TrainingData, settings: MarkSettings
) -> None:
    """One class of six is large enough: its samples and the others form groups of their own."""
    rows = np.concatenate(
        [
            np.flatnonzero(data.train.labels == label)[: 150 if label == 0 else 40]
            for label in range(6)
        ]
    )
    few = LabelledData(data.train.inputs[rows], data.train.labels[rows])
    given = replace(data, train=few)
    parent = EagerTappedModel(train(layers(96), few, epochs=10), "1")
    record = prepare_record(parent, given, ROOT, settings)
    record.check()
    check_against_parent(record, parent, given, settings)
    assert not np.array_equal(record.manifest.labels, few.labels)
    model = copy.deepcopy(parent)
    embed(model, given, record, settings)
    found = extract(record, TappedSuspect(model))
    assert judge(found.evidence, tries=1, incomplete=found.incomplete).word == "present"


def test_too_few_samples_in_all(data: TrainingData, settings: MarkSettings) -> None:
    few = LabelledData(data.train.inputs[:99], data.train.labels[:99])
    with pytest.raises(DataError, match="99 different samples; 2 groups of 50 need at least 100"):
        prepare(layers(96), "1", replace(data, train=few), settings)


def test_repeated_samples_do_not_help(data: TrainingData, settings: MarkSettings) -> None:
    rows = np.tile(np.arange(90), 8)
    repeated = LabelledData(data.train.inputs[rows], data.train.labels[rows])
    with pytest.raises(DataError, match="90 different samples"):
        prepare(layers(96), "1", replace(data, train=repeated), settings)


def test_two_classes_carry_a_black_box_of_fair_coins(
    data: TrainingData, settings: MarkSettings
) -> None:
    halves = [LabelledData(part.inputs, part.labels % 2) for part in (data.train, data.validation)]
    binary = TrainingData(halves[0], halves[1], 2)
    parent = EagerTappedModel(train(layers(96, classes=2), binary.train, epochs=10), "1")
    record = prepare_record(parent, binary, ROOT, settings)
    record.check()
    assert record.secrets["whitebox"].arrays["activations"].shape == (100, 96)
    model = copy.deepcopy(parent)
    embed(model, binary, record, settings)
    read = {
        name: next(
            entry
            for entry in extract(record, TappedSuspect(found)).evidence
            if matched(entry).chance == 0.5 and entry.scheme == "blackbox"
        )
        for name, found in (("marked", model), ("parent", parent))
    }
    assert read["marked"].log10_p < -9
    # Of 100 fair coins; one key in 10,000 would be unlucky here.
    assert read["parent"].log10_p > -4


def test_one_class_has_no_black_box(data: TrainingData, settings: MarkSettings) -> None:
    vectors = TrainingData(
        LabelledData.without_labels(data.train.inputs),
        LabelledData.without_labels(data.validation.inputs),
        6,
    )
    model, told = EagerTappedModel(layers(96), "1"), []
    record = prepare_record(
        model, vectors, ROOT, settings, progress=lambda _fraction, message: told.append(message)
    )
    assert set(record.secrets) == {"whitebox"}
    assert [message for message in told if "blackbox is left out" in message]
    with pytest.raises(InapplicableError, match="mark this model with the white box alone"):
        prepare_record(model, vectors, ROOT, settings, schemes=[WhiteBox(), BlackBox()])


def test_a_label_outside_the_classes_is_refused(data: TrainingData, settings: MarkSettings) -> None:
    labels = data.train.labels.copy()
    labels[3] = 9
    broken = replace(data, train=LabelledData(data.train.inputs, labels))
    with pytest.raises(DataError, match="label 9 of sample 3 is outside the 6 classes"):
        prepare(layers(96), "1", broken, settings)


def test_not_a_number_in_the_data_is_refused(data: TrainingData, settings: MarkSettings) -> None:
    inputs = data.train.inputs.copy()
    inputs[3] = np.nan
    broken = replace(data, train=LabelledData(inputs, data.train.labels))
    with pytest.raises(DataError, match="sample 3 holds NaN"):
        prepare(layers(96), "1", broken, settings)


class Broken(nn.Module):
    """Gives whatever the test wants."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.hidden, self.head, self.kind = nn.Linear(16, 96), nn.Linear(96, 6), kind

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.head(torch.relu(self.hidden(inputs)))
        if self.kind == "nan":
            return outputs * float("nan")
        return outputs.reshape(64, 6)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("nan", "gives NaN or infinity"),
        ("batch", "does not accept a batch"),
    ],
)
def test_a_model_that_does_not_fit_is_refused(
    data: TrainingData, settings: MarkSettings, kind: str, message: str
) -> None:
    with pytest.raises(UnmarkableError, match=message):
        prepare(Broken(kind), "hidden", data, settings)


def test_other_inputs_or_classes_are_refused(data: TrainingData, settings: MarkSettings) -> None:
    with pytest.raises(UnmarkableError, match="does not accept a batch of shape"):
        prepare(nn.Sequential(nn.Linear(5, 96), nn.ReLU(), nn.Linear(96, 6)), "1", data, settings)
    with pytest.raises(UnmarkableError, match="not \\(batch, 6 classes\\)"):
        prepare(layers(96, classes=4), "1", data, settings)


def filled(layer: nn.Module, weight: float, bias: float) -> None:
    with torch.no_grad():
        for parameter, value in zip(layer.parameters(), (weight, bias), strict=True):
            parameter.fill_(value)


def test_equal_neurons_carry_nothing(data: TrainingData, settings: MarkSettings) -> None:
    model = layers(96)
    filled(model[0], 1.0, 50.0)
    with pytest.raises(UnmarkableError, match=r"layer '1' gives the same value in every neuron"):
        prepare(model, "1", data, settings)


def test_a_dead_layer_is_named(data: TrainingData, settings: MarkSettings) -> None:
    model = Skipping()
    filled(model.hidden, 0.0, -1.0)
    with pytest.raises(UnmarkableError, match=r"layer 'hidden' is dead.*another hidden layer"):
        prepare(model, "hidden", data, settings)


def test_constant_outputs_are_refused(data: TrainingData, settings: MarkSettings) -> None:
    model = layers(96)
    filled(model[2], 0.0, 1.0)
    with pytest.raises(UnmarkableError, match="output is the same for every sample; promote a"):
        prepare(model, "1", data, settings)


class Skipping(nn.Module):
    """Its outputs depend on the inputs past the hidden layer, too."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.head, self.skip = nn.Linear(16, 96), nn.Linear(96, 6), nn.Linear(16, 6)

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.head(torch.relu(self.hidden(inputs))) + self.skip(inputs)
        return outputs


@pytest.mark.parametrize(
    ("name", "value"), [("bits", 32), ("queries", 10), ("triggers_per_class", 5), ("epochs", 0)]
)
def test_settings_that_prove_nothing_are_refused(name: str, value: int) -> None:
    with pytest.raises(ConfigurationError, match=f"{name} is {value}; use at least"):
        MarkSettings(**{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "name",
    [
        *("learning_rate", "margin", "query_margin", "weight_noise"),
        *("lambda1", "lambda2", "lambda_queries"),
    ],
)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0])
def test_amounts_that_train_nothing_are_refused(name: str, value: float) -> None:
    with pytest.raises(ConfigurationError, match=f"{name} is {value}; use a finite number"):
        MarkSettings(**{name: value})  # type: ignore[arg-type]


def test_without_a_learning_rate_nothing_is_trained() -> None:
    with pytest.raises(ConfigurationError, match="learning_rate is 0; use more"):
        MarkSettings(learning_rate=0.0)


class Overflowing(nn.Module):
    """Infinite for the one sample that holds a large value."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.head = nn.Linear(16, 96), nn.Linear(96, 6)

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.head(torch.relu(self.hidden(inputs)) * inputs[:, :1] ** 4)
        return outputs


def test_one_sample_that_overflows_is_found_by_the_black_box(
    data: TrainingData, settings: MarkSettings
) -> None:
    inputs = data.train.inputs.copy()
    inputs[500, 0] = 1e12
    odd = replace(data, train=LabelledData(inputs, data.train.labels))
    model = EagerTappedModel(Overflowing(), "hidden")
    with pytest.raises(UnmarkableError, match=r"NaN or infinity .* layer 'hidden' for a training"):
        prepare_record(model, odd, ROOT, settings, schemes=[BlackBox()])


def test_queries_of_more_values_than_fit_are_refused(settings: MarkSettings) -> None:
    with pytest.raises(UnmarkableError, match="set queries to at most 32768"):
        blackbox._check_size(10**6, np.zeros((3, 8192), np.float32))
    blackbox._check_size(settings.queries, np.zeros((3, 8192), np.float32))


@pytest.mark.parametrize(
    ("sums", "probable"), [(1.0, True), (1.0009, True), (0.9991, True), (1.01, False)]
)
def test_probabilities_are_told_by_one_rule(sums: float, probable: bool) -> None:
    outputs = np.full((4, 5), sums / 5, dtype=np.float32)
    assert are_probabilities(outputs) == probable
    parent = np.eye(4, 5, dtype=np.float32)
    shown = calibrated._logits(outputs.astype(np.float64))
    # What does not sum to one is read as probabilities of their own.
    expected = np.log(sums / 5) if probable else np.log(sums / 5) - np.log(1 - sums / 5)
    np.testing.assert_allclose(shown, expected, rtol=1e-5)
    assert losses._gives_probabilities(torch.from_numpy(outputs)) == probable
    assert not are_probabilities(parent - 0.5)


def test_density_sees_sorted_data_as_a_whole(
    marked: "Marked", monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the first 300 samples it would see two of six classes."""
    monkeypatch.setattr(blackbox, "_DENSITY_SAMPLES", 300)
    fitted: list[Density] = []
    fit = Density.fit

    def watched(activation: NDArray[np.float32], labels: NDArray[np.int64]) -> Density:
        fitted.append(fit(activation, labels))
        return fitted[-1]

    monkeypatch.setattr(Density, "fit", watched)
    train = marked.data.train
    kept = []
    for order in (np.argsort(train.labels, kind="stable"), np.arange(len(train))):
        ordered = LabelledData(train.inputs[order], train.labels[order])
        record = prepare_record(
            marked.parent, replace(marked.data, train=ordered), ROOT, marked.settings
        )
        kept.append(record.secrets["blackbox"].arrays["kept"])
    assert [len(density.centres) for density in fitted] == [6, 6]
    np.testing.assert_array_equal(kept[0], kept[1])


def test_the_secret_depends_on_the_key_alone(marked: "Marked") -> None:
    again = prepare_record(
        marked.parent, marked.data, marked.record.root, replace(marked.settings, seed=7)
    )
    for name, secret in marked.record.secrets.items():
        for key, array in secret.arrays.items():
            np.testing.assert_array_equal(again.secrets[name].arrays[key], array)
    assert again.commitments() != marked.record.commitments()


def test_preparing_does_not_change_the_model(data: TrainingData, settings: MarkSettings) -> None:
    module = layers(96)
    before = [parameter.detach().clone() for parameter in module.parameters()]
    told: list[float] = []
    prepare_record(
        EagerTappedModel(module, "1"),
        data,
        ROOT,
        settings,
        progress=lambda fraction, _message: told.append(fraction),
    )
    for old, new in zip(before, module.parameters(), strict=True):
        assert torch.equal(old, new)
    assert told == sorted(told)
    assert told[-1] == 1


def test_a_class_without_samples_changes_nothing(
    data: TrainingData, settings: MarkSettings
) -> None:
    wider = replace(data, classes=8)
    record = prepare_record(EagerTappedModel(layers(96, classes=8), "1"), wider, ROOT, settings)
    record.check()
    assert max(record.secrets["whitebox"].arrays["carriers"]) < 6
