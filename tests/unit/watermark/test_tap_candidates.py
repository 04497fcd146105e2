"""Every layer that can hold a mark, in the order in which they are tried, and how it is built."""

import warnings
from pathlib import Path

import mlflow
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from deepsigns_registry.graph.export import export_onnx
from deepsigns_registry.graph.interpreter import OnnxTappedModel
from deepsigns_registry.retraining.source import load_program
from deepsigns_registry.watermark.adapters import eager, exported
from deepsigns_registry.watermark.adapters.choice import Width
from deepsigns_registry.watermark.adapters.eager import EagerTappedModel
from deepsigns_registry.watermark.adapters.exported import ExportedTappedModel
from deepsigns_registry.watermark.tap import Layout
from deepsigns_registry.watermark.tapped import TappedModel


class Recurrent(nn.Module):
    """A layer, a recurrence that reads it, a layer on the last step's state."""

    def __init__(self, kind: type[nn.GRU | nn.LSTM]) -> None:
        super().__init__()
        self.embed, self.middle, self.head = nn.Linear(4, 24), nn.Linear(32, 16), nn.Linear(16, 3)
        self.rnn = kind(24, 32, batch_first=True)

    def forward(self, inputs: Tensor) -> Tensor:
        steps = self.rnn(torch.relu(self.embed(inputs)))[0]
        outputs: Tensor = self.head(torch.relu(self.middle(steps[:, -1])))
        return outputs


class Attentive(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.head = nn.Linear(4, 16), nn.Linear(16, 3)
        layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.blocks = nn.TransformerEncoder(layer, 1)

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.head(self.blocks(self.embed(inputs)).mean(1))
        return outputs


class Tokens(nn.Module):
    """Flattened with the positions first, so that a neuron's values do not stand together."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.head = nn.Linear(4, 8), nn.Linear(40, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.head(torch.relu(self.embed(inputs)).flatten(1))
        return outputs


def convolutional(norm: nn.Module) -> nn.Sequential:
    return nn.Sequential(
        *(nn.Conv2d(1, 8, 3, padding=1), norm, nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Dropout(), nn.Linear(256, 3)),
    )


def signal() -> nn.Sequential:
    return nn.Sequential(
        *(nn.Conv1d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool1d(2)),
        *(nn.Conv1d(8, 12, 3, padding=1), nn.Tanh(), nn.Flatten(), nn.BatchNorm1d(96)),
        *(nn.Linear(96, 3),),
    )


# The network, one row's shape, neurons and layout of each candidate in order.
KINDS: dict[str, tuple[nn.Module, tuple[int, ...], list[tuple[int, Layout]]]] = {
    "gru": (Recurrent(nn.GRU), (5, 4), [(32, Layout()), (24, Layout()), (16, Layout())]),
    "lstm": (Recurrent(nn.LSTM), (5, 4), [(32, Layout()), (24, Layout()), (16, Layout())]),
    "transformer": (Attentive(), (5, 4), [(32, Layout()), (16, Layout()), (16, Layout())]),
    "tokens": (Tokens(), (5, 4), [(40, Layout(5, 1))]),
    "batch norm": (
        convolutional(nn.BatchNorm2d(8)),
        (1, 8, 8),
        [(256, Layout(1, 16)), (8, Layout())],
    ),
    "group norm": (
        convolutional(nn.GroupNorm(2, 8)),
        (1, 8, 8),
        [(256, Layout(1, 16)), (8, Layout())],
    ),
    "1-D": (signal(), (1, 16), [(96, Layout(1, 8))]),
    "perceptron": (
        nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 24), nn.GELU(), nn.Linear(24, 3)),
        (4,),
        [(24, Layout()), (8, Layout())],
    ),
}


def rows(shape: tuple[int, ...]) -> Tensor:
    return torch.rand(4, *shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("kind", KINDS)
def test_both_adapters_order_every_layer_alike(kind: str, tmp_path: Path) -> None:
    module, shape, wanted = KINDS[kind]
    inputs, width = rows(shape), Width(20, 8)
    with warnings.catch_warnings():
        # MLflow's and torch's own deprecations, while they store the model.
        warnings.simplefilter("ignore")
        mlflow.pytorch.save_model(
            module.eval(), tmp_path / "m", input_example=inputs.numpy(), pip_requirements=["torch"]
        )
        program = load_program(tmp_path / "m")
    ours = eager.tap_candidates(module, inputs, width=width)
    theirs = exported.tap_candidates(program, width=width)
    assert ours[0] == eager.choose_tap(module, inputs, width=width)
    assert theirs[0] == exported.choose_tap(program, width=width)
    found = []
    for one, two in zip(ours, theirs, strict=True):
        assert one.tap not in one.public
        assert two.tap not in two.public
        models: list[TappedModel] = [
            EagerTappedModel(module, one.tap).eval(),
            ExportedTappedModel(program, two.tap),
        ]
        # The fast path of attention in evaluation runs no layer that could be read.
        with torch.no_grad():
            read = [model(inputs).activation for model in models]
        torch.testing.assert_close(read[0], read[1])
        assert read[0].shape[1] == one.neurons == two.neurons
        layout = models[0].tap_layout()
        assert layout == models[1].tap_layout()
        assert layout is not None
        found.append((one.neurons, layout))
    assert found == wanted


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_tells_how_its_tap_is_built_as_the_module_does(kind: str, tmp_path: Path) -> None:
    module, shape, wanted = KINDS[kind]
    inputs = rows(shape)
    choice = eager.tap_candidates(module.eval(), inputs, width=Width(20, 8))[0]
    model = EagerTappedModel(module, choice.tap).eval()
    tap = export_onnx(model, inputs.numpy(), tmp_path / "m.onnx")
    graph = OnnxTappedModel.from_file(tmp_path / "m.onnx", tap).eval()
    graph(inputs)
    assert graph.tap_layout() == wanted[0][1]


@pytest.mark.parametrize(
    "norm", [nn.BatchNorm2d(8), nn.GroupNorm(2, 8), nn.InstanceNorm2d(8, affine=True)]
)
def test_the_positions_of_a_channel_stand_together(norm: nn.Module, tmp_path: Path) -> None:
    layers = nn.Sequential(
        nn.Conv2d(1, 8, 3), norm, nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 3)
    ).eval()
    inputs = rows((1, 8, 8))
    model = EagerTappedModel(layers, "3")
    flat = model(inputs).activation
    torch.testing.assert_close(flat.unflatten(1, (-1, 36)), layers[:3](inputs).flatten(2))
    tap = export_onnx(model, inputs.numpy(), tmp_path / "m.onnx")
    graph = OnnxTappedModel.from_file(tmp_path / "m.onnx", tap)
    with pytest.raises(RuntimeError, match="run a batch"):
        graph.tap_layout()
    torch.testing.assert_close(graph(inputs).activation, flat, rtol=1e-4, atol=1e-5)
    assert graph.tap_layout() == model.tap_layout() == Layout(1, 36)


class Shuffled(nn.Module):
    """A feature map that is flattened with its channels last, or in an order of its own."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.conv, self.way, self.head = nn.Conv2d(1, 4, 3), way, nn.Linear(4 * 36, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = torch.relu(self.conv(inputs))
        if self.way == "last":
            hidden = hidden.permute(0, 2, 3, 1).flatten(1)
        elif self.way == "back":
            hidden = hidden.permute(0, -2, -1, 1).transpose(1, -1).transpose(2, 3).flatten(1)
        elif self.way == "steps":
            hidden = hidden.flatten(2).unsqueeze(1).squeeze(1).reshape(-1, 4 * 36)
        elif self.way == "two":
            hidden = torch.cat([hidden[:, :2].flatten(1), hidden[:, 2:].flatten(1)], dim=1)
        elif self.way == "index":
            hidden = hidden.flatten(1)[:, torch.arange(143, -1, -1)]
        else:
            hidden = hidden.flatten(1)[:, 3:][:, :-3].tile(1, 2)[:, : 4 * 36]
        outputs: Tensor = self.head(hidden)
        return outputs


@pytest.mark.parametrize(
    ("way", "layout"),
    [
        ("last", Layout(36, 1)),
        ("back", Layout(1, 36)),
        ("steps", Layout(1, 36)),
        ("two", Layout(1, 36)),
        ("index", None),
        ("parts", None),
    ],
)
def test_a_layout_is_told_only_where_it_is_sure(way: str, layout: Layout | None) -> None:
    module, inputs = Shuffled(way).eval(), rows((1, 8, 8))
    model = EagerTappedModel(module, "head:input")
    flat = model(inputs).activation
    assert model.tap_layout() == layout
    if layout:
        wanted = torch.relu(module.conv(inputs)).flatten(2)
        found = flat.unflatten(1, (layout.outer, -1, layout.inner))
        torch.testing.assert_close(found.transpose(1, 2).flatten(2), wanted)


class Steps(nn.Module):
    """What reads every step of a recurrence, and is given the input beside it or not."""

    def __init__(self, cell: type[nn.GRU] | type[nn.LSTM], way: str, steps: int) -> None:
        super().__init__()
        self.cell, self.way = cell(4, 12, batch_first=True), way
        self.project = nn.Linear(4, 12)
        self.head = nn.Linear(steps * (16 if way == "beside" else 12), 3)

    def forward(self, inputs: Tensor) -> Tensor:
        states: Tensor = self.cell(inputs)[0]
        if self.way == "projected":
            states = states + self.project(inputs)
        elif self.way == "beside":
            states = torch.cat([states, inputs], dim=2)
        elif self.way == "added":
            states = states + functional.pad(inputs, (0, 8))
        outputs: Tensor = self.head(states.flatten(1))
        return outputs


@pytest.mark.parametrize("cell", [nn.GRU, nn.LSTM])
@pytest.mark.parametrize("way", ["alone", "projected", "beside", "added"])
def test_steps_of_a_recurrence_stand_around_its_channels(
    cell: type[nn.GRU] | type[nn.LSTM], way: str
) -> None:
    """However long it is. What comes from the input as it is stands in no order of its own."""
    steps = 300 if way == "alone" else 5
    model = EagerTappedModel(Steps(cell, way, steps).eval(), "head:input")
    model(rows((steps, 4)))
    known = way in {"alone", "projected"}
    assert model.tap_layout() == (Layout(steps, 1) if known else None)


@pytest.mark.parametrize(("groups", "known"), [(1, True), (12, True), (4, False)])
def test_kernels_of_one_channel_keep_the_order_that_they_read(groups: int, *, known: bool) -> None:
    layers = nn.Sequential(
        *(nn.Conv2d(1, 12, 3), nn.Conv2d(12, 12, 3, groups=groups), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(12 * 16, 3)),
    ).eval()
    model = EagerTappedModel(layers, "3")
    model(rows((1, 8, 8)))
    assert model.tap_layout() == (Layout(1, 16) if known else None)
    given = EagerTappedModel(nn.Sequential(nn.Conv2d(12, 12, 3, groups=12), nn.Flatten()), "1")
    given(rows((12, 5, 5)))
    assert given.tap_layout() is None


def test_a_layer_that_was_asked_for_is_the_only_candidate() -> None:
    module, inputs = KINDS["perceptron"][0], rows((4,))
    program = torch.export.export(
        module.eval(), (inputs,), dynamic_shapes=({0: torch.export.Dim.AUTO},)
    )
    for found in (
        eager.tap_candidates(module, inputs, "1"),
        exported.tap_candidates(program, "1"),
    ):
        assert [(choice.tap, choice.neurons) for choice in found] == [("1", 8)]


def test_a_signal_is_tapped_between_convolutions_only_if_nothing_else_can_be() -> None:
    layers = nn.Sequential(
        *(nn.Conv1d(1, 8, 3), nn.ReLU(), nn.Conv1d(8, 3, 3), nn.AdaptiveAvgPool1d(1), nn.Flatten())
    ).eval()
    inputs = rows((1, 16))
    program = torch.export.export(layers, (inputs,), dynamic_shapes=({0: torch.export.Dim.AUTO},))
    assert [choice.tap for choice in eager.tap_candidates(layers, inputs)] == ["1"]
    assert [choice.tap for choice in exported.tap_candidates(program)] == ["1"]


def test_what_computes_nothing_has_no_blocks() -> None:
    layers = nn.Sequential(nn.ReLU(), nn.Flatten())
    model = EagerTappedModel(layers, "1")
    model(rows((4,)))
    assert model.tap_layout() is None
    with pytest.raises(RuntimeError, match="run a batch before"):
        EagerTappedModel(layers, "1").tap_layout()
