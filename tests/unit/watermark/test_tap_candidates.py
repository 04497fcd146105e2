"""Every layer that can hold a mark, in the order in which they are tried, and how it is built."""

import warnings
from pathlib import Path

import mlflow
import pytest
import torch
from torch import Tensor, nn

from deepsigns_registry.graph.export import export_onnx
from deepsigns_registry.graph.interpreter import OnnxTappedModel
from deepsigns_registry.retraining.source import load_program
from deepsigns_registry.watermark.adapters import eager, exported
from deepsigns_registry.watermark.adapters.choice import Width
from deepsigns_registry.watermark.adapters.eager import EagerTappedModel
from deepsigns_registry.watermark.adapters.exported import ExportedTappedModel
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


# The network, one row's shape, neurons and blocks of each candidate in order.
KINDS: dict[str, tuple[nn.Module, tuple[int, ...], list[tuple[int, int]]]] = {
    "gru": (Recurrent(nn.GRU), (5, 4), [(32, 1), (24, 1), (16, 1)]),
    "lstm": (Recurrent(nn.LSTM), (5, 4), [(32, 1), (24, 1), (16, 1)]),
    "transformer": (Attentive(), (5, 4), [(32, 1), (16, 1), (16, 1)]),
    "tokens": (Tokens(), (5, 4), [(40, 0)]),
    "batch norm": (convolutional(nn.BatchNorm2d(8)), (1, 8, 8), [(256, 16), (8, 1)]),
    "group norm": (convolutional(nn.GroupNorm(2, 8)), (1, 8, 8), [(256, 16), (8, 1)]),
    "1-D": (signal(), (1, 16), [(96, 8)]),
    "perceptron": (
        nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 24), nn.GELU(), nn.Linear(24, 3)),
        (4,),
        [(24, 1), (8, 1)],
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
        assert models[0].tap_blocks() == models[1].tap_blocks()
        found.append((one.neurons, models[0].tap_blocks()))
    assert found == wanted


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
    torch.testing.assert_close(
        flat.unflatten(1, (-1, model.tap_blocks())), layers[:3](inputs).flatten(2)
    )
    tap = export_onnx(model, inputs.numpy(), tmp_path / "m.onnx")
    graph = OnnxTappedModel.from_file(tmp_path / "m.onnx", tap)
    with pytest.raises(RuntimeError, match="run a batch"):
        graph.tap_blocks()
    torch.testing.assert_close(graph(inputs).activation, flat, rtol=1e-4, atol=1e-5)
    assert graph.tap_blocks() == model.tap_blocks() == 36


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
    ("way", "blocks"),
    [("last", 0), ("back", 36), ("steps", 36), ("two", 36), ("index", 0), ("parts", 0)],
)
def test_blocks_are_told_only_where_they_are_sure(way: str, blocks: int) -> None:
    module, inputs = Shuffled(way).eval(), rows((1, 8, 8))
    model = EagerTappedModel(module, "head:input")
    flat = model(inputs).activation
    assert model.tap_blocks() == blocks
    if blocks:
        wanted = torch.relu(module.conv(inputs)).flatten(2)
        torch.testing.assert_close(flat.unflatten(1, (-1, blocks)), wanted)


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
    assert model.tap_blocks() == 0
    with pytest.raises(RuntimeError, match="run a batch before"):
        EagerTappedModel(layers, "1").tap_blocks()
