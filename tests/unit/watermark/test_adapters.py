"""Eager modules and exported programs give the same view of a model."""

import copy
import io
import warnings
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.nn import functional

from deepsigns_registry.errors import UnmarkableError
from deepsigns_registry.watermark.adapters import eager, exported
from deepsigns_registry.watermark.adapters.choice import Width
from deepsigns_registry.watermark.adapters.eager import EagerTappedModel
from deepsigns_registry.watermark.adapters.exported import ExportedTappedModel
from deepsigns_registry.watermark.tapped import pool


class Convolutional(nn.Module):
    """Batch norm, dropout, and a rectifier that is no module."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2)
        )
        self.hidden = nn.Linear(64, 32)
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(32, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = torch.relu(self.hidden(self.features(inputs).flatten(1)))
        outputs: Tensor = self.head(self.drop(hidden))
        return outputs


def example(rows: int = 4) -> Tensor:
    return torch.rand(rows, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def network() -> Convolutional:
    torch.manual_seed(0)
    return Convolutional().eval()


def program(module: nn.Module, inputs: Tensor | None = None) -> ExportedProgram:
    given = example() if inputs is None else inputs
    return torch.export.export(module, (given,), dynamic_shapes=({0: Dim.AUTO},))


@pytest.mark.parametrize("tap", ["features.2", "features", "hidden"])
def test_both_adapters_read_the_same(tap: str) -> None:
    module = network()
    one, two = EagerTappedModel(module, tap), ExportedTappedModel(program(module), tap)
    for rows in (1, 4, 9):
        ours, theirs = one(example(rows)), two(example(rows))
        torch.testing.assert_close(ours.outputs, theirs.outputs)
        torch.testing.assert_close(ours.activation, theirs.activation)


def test_automatic_taps_are_the_last_hidden_activation() -> None:
    module = network()
    named = eager.choose_tap(module, example())
    assert named.tap == "drop"
    assert "output layer 'head' reads it" in named.reason
    found = exported.choose_tap(program(module))
    assert "output layer 'head' reads it" in found.reason
    ours = EagerTappedModel(module, named.tap)(example())
    theirs = ExportedTappedModel(program(module), found.tap)(example())
    torch.testing.assert_close(ours.activation, theirs.activation)
    assert float(ours.activation.detach().min()) == 0


def test_automatic_taps_prefer_a_module_path() -> None:
    module = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)).eval()
    assert eager.choose_tap(module, torch.rand(2, 4)).tap == "1"
    assert exported.choose_tap(program(module, torch.rand(2, 4))).tap == "1"


class Functional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.head = nn.Linear(4, 8), nn.Linear(8, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.head(torch.relu(self.hidden(inputs)))
        return outputs


def test_an_activation_without_a_module_is_read_at_the_next_one() -> None:
    module = Functional().eval()
    chosen = eager.choose_tap(module, torch.rand(5, 4))
    assert chosen.tap == "head:input"
    inputs = torch.rand(5, 4)
    read = EagerTappedModel(module, chosen.tap)(inputs).activation
    torch.testing.assert_close(read, torch.relu(module.hidden(inputs)))


def test_a_wrong_layer_lists_the_right_ones() -> None:
    module = network()
    with pytest.raises(UnmarkableError, match=r"no layer 'fc9'; choose one of: .*features\.2"):
        EagerTappedModel(module, "fc9")
    with pytest.raises(UnmarkableError, match=r"no layer 'fc9'; choose one of: .*features\.2"):
        ExportedTappedModel(program(module), "fc9")
    with pytest.raises(UnmarkableError, match="no layer 'fc9'"):
        exported.choose_tap(program(module), "fc9")
    with pytest.raises(UnmarkableError, match="no layer 'fc9'"):
        eager.choose_tap(module, example(), "fc9")


def test_a_named_layer_is_taken_as_it_is() -> None:
    module = network()
    assert eager.choose_tap(module, example(), "hidden").tap == "hidden"
    assert exported.choose_tap(program(module), "hidden").tap == "hidden"


def test_no_hidden_layer_is_refused() -> None:
    module = nn.Sequential(nn.Linear(4, 3)).eval()
    with pytest.raises(UnmarkableError, match="no hidden layer"):
        eager.choose_tap(module, torch.rand(2, 4))
    with pytest.raises(UnmarkableError, match="no hidden layer"):
        exported.choose_tap(program(module, torch.rand(2, 4)))


class Bottleneck(nn.Module):
    """Wide, then narrow before the output; attention-like products beside the layers."""

    def __init__(self) -> None:
        super().__init__()
        self.wide, self.narrow, self.head = nn.Linear(4, 64), nn.Linear(64, 8), nn.Linear(8, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        wide = functional.gelu(self.wide(inputs))
        narrow = torch.relu(self.narrow(wide))
        mixed = narrow + (narrow @ narrow.T).softmax(dim=1) @ narrow
        return functional.normalize(self.head(mixed), dim=1)


def test_a_narrow_end_moves_the_tap_to_a_wider_activation() -> None:
    module, inputs = Bottleneck().eval(), torch.rand(5, 4)
    stored = program(module, inputs)
    width = Width(wanted=48, least=24)
    ours = eager.choose_tap(module, inputs, width=width)
    theirs = exported.choose_tap(stored, width=width)
    assert (ours.tap, theirs.tap) == ("narrow:input", "gelu")
    for choice in (ours, theirs):
        assert f"'{choice.tap}', which layer 'narrow' reads, has 64 neurons" in choice.reason
        # What the log says names no layer.
        assert choice.public == (
            "an earlier hidden activation, because the last one is too narrow for the bits"
        )
    torch.testing.assert_close(
        EagerTappedModel(module, ours.tap)(inputs).activation,
        ExportedTappedModel(stored, theirs.tap)(inputs).activation,
    )
    assert eager.choose_tap(module, inputs).tap == "head:input"
    # Not wide enough to be wanted, but wide enough for the bits.
    assert eager.choose_tap(module, inputs, width=Width(100, 24)).tap == "narrow:input"


def test_a_model_without_a_wide_layer_is_refused() -> None:
    module, inputs = Bottleneck().eval(), torch.rand(5, 4)
    width = Width(wanted=128, least=96)
    told = "has 64 neurons, too few for the bits .* need 96; lower bits, or raise carriers"
    with pytest.raises(UnmarkableError, match=f"layer 'narrow:input', {told}"):
        eager.choose_tap(module, inputs, width=width)
    with pytest.raises(UnmarkableError, match=f"layer 'gelu', {told}"):
        exported.choose_tap(program(module, inputs), width=width)


def test_inputs_in_another_shape_are_no_hidden_layer() -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 3)).eval()
    for width in (Width(8, 8), Width(32, 32)):
        for choose, given in (
            (eager.choose_tap, (module, example())),
            (exported.choose_tap, (program(module),)),
        ):
            if width.least == 8:
                assert choose(*given, width=width).tap == "2"
                continue
            with pytest.raises(UnmarkableError, match="layer '2', has 8 neurons"):
                choose(*given, width=width)


def test_training_mode_is_refused_with_advice() -> None:
    for module in (
        network().train(),
        nn.Sequential(nn.Linear(4, 8), nn.Dropout(), nn.Linear(8, 3)),
    ):
        inputs = example() if isinstance(module, Convolutional) else torch.rand(2, 4)
        with pytest.raises(UnmarkableError, match=r"training mode; call model\.eval\(\)"):
            exported.choose_tap(program(module, inputs))


def test_a_static_batch_is_refused_with_advice() -> None:
    static = torch.export.export(network(), (example(1),))
    with pytest.raises(UnmarkableError, match="input_example of at least two rows"):
        ExportedTappedModel(static, "hidden")


class Interface(nn.Module):
    """Gives and takes what the test wants."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.way, self.hidden, self.head = way, nn.Linear(4, 8), nn.Linear(8, 3)

    def forward(self, first: Any, second: Tensor | None = None) -> Any:
        given = first[0] if self.way == "list" else first
        given = given if second is None else given + second
        outputs = self.head(torch.relu(self.hidden(given.float())))
        return {
            "two outputs": (outputs, given),
            "dict": {"logits": outputs},
            "labels": outputs.argmax(dim=1),
        }.get(self.way, outputs)


ROWS = torch.rand(2, 4)


@pytest.mark.parametrize(
    ("way", "given", "words"),
    [
        ("two inputs", (ROWS, ROWS), "takes 2 inputs; register a model with one input tensor"),
        ("list", ([ROWS],), "input is a list, tuple or dict of tensors"),
        ("two outputs", (ROWS,), "gives 2 outputs"),
        ("dict", (ROWS,), "output is a dict around one tensor"),
        ("labels", (ROWS,), "output is int64, not numbers that can be trained"),
        ("bytes", (ROWS.to(torch.uint8),), "input is uint8: integer inputs"),
        ("flags", (ROWS > 0.5,), "input is bool"),
    ],
)
def test_another_interface_is_refused_with_its_own_reason(
    way: str, given: tuple[Any, ...], words: str
) -> None:
    batch = {0: Dim.AUTO}
    shapes = tuple([batch] if isinstance(part, list) else batch for part in given)
    stored = torch.export.export(Interface(way).eval(), given, dynamic_shapes=shapes)
    with pytest.raises(UnmarkableError, match=words) as caught:
        exported.choose_tap(stored)
    assert caught.value.public == str(caught.value)


def test_rows_of_any_size_are_refused() -> None:
    layers = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)
    )
    shapes = ({0: Dim.AUTO, 2: Dim.AUTO, 3: Dim.AUTO},)
    stored = torch.export.export(layers.eval(), (example(),), dynamic_shapes=shapes)
    with pytest.raises(UnmarkableError, match="accepts rows of any size: its input has shape"):
        exported.choose_tap(stored)


def test_write_back_keeps_the_graph_and_brings_the_weights() -> None:
    given = program(network())
    model = ExportedTappedModel(given, "features.2")
    before = model(example()).outputs.detach().clone()
    changed = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in changed.parameters():
            parameter.mul_(1.5)
    written = changed.write_back()
    torch.testing.assert_close(written.module()(example()), changed(example()).outputs)
    # Neither the model that was copied nor the program that was given changed.
    torch.testing.assert_close(model(example()).outputs, before)
    torch.testing.assert_close(given.module()(example()), before)
    buffer = io.BytesIO()
    torch.export.save(written, buffer)
    loaded = torch.export.load(io.BytesIO(buffer.getvalue()))
    again = ExportedTappedModel(loaded, "features.2")(example())
    torch.testing.assert_close(again.activation, changed(example()).activation)


def test_gradients_reach_every_parameter_and_modes_do_not_matter() -> None:
    model = ExportedTappedModel(program(network()), "features.2").train().eval()
    tapped = model(example())
    torch.autograd.backward(tapped.outputs.sum() + tapped.activation.sum())
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_what_mlflow_stores_is_marked_and_loads_again_without_pickle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    folder = tmp_path / "model"
    rows = example().numpy().astype(np.float32)
    with warnings.catch_warnings():
        # MLflow's and torch's own deprecations, while they store the model.
        warnings.simplefilter("ignore")
        mlflow.pytorch.save_model(network(), folder, input_example=rows, pip_requirements=["torch"])
        stored = folder / "data" / "model.pt2"
        loaded = torch.export.load(stored)
    model = ExportedTappedModel(loaded, exported.choose_tap(loaded).tap)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.5)
    torch.export.save(model.write_back(), stored)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        served = mlflow.pytorch.load_model(folder.as_posix())
    torch.testing.assert_close(served(example()), model(example()).outputs)


@pytest.mark.parametrize(
    ("shape", "pooled"),
    [((2, 5), (2, 5)), ((2, 7, 5), (2, 5)), ((2, 5, 3, 3), (2, 5)), ((2, 5, 3, 3, 3), (2, 5))],
)
def test_pooling_gives_one_value_a_neuron(shape: tuple[int, ...], pooled: tuple[int, ...]) -> None:
    assert pool(torch.rand(shape)).shape == pooled
