import copy
import warnings

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from deepsigns_registry.attacks.layers import Layers
from deepsigns_registry.attacks.quantize import Quantize
from deepsigns_registry.graph.interpreter import OnnxTappedModel
from deepsigns_registry.watermark.adapters.eager import EagerTappedModel
from deepsigns_registry.watermark.data import LabelledData
from deepsigns_registry.watermark.tapped import TappedModel

INPUTS = torch.randn(16, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def last_of(model: TappedModel, inputs: Tensor = INPUTS) -> set[str]:
    last = {id(parameter) for parameter in Layers(model, inputs).last}
    return {name for name, parameter in model.named_parameters() if id(parameter) in last}


def test_every_adapter_shows_the_same_layers(victim: TappedModel, eager: EagerTappedModel) -> None:
    found = Layers(victim, INPUTS)
    assert [(layer.fan_in, layer.hidden) for layer in found.layers] == [
        (32, True),
        (128, True),
        (9, False),
    ]
    expected = [eager.module.get_parameter(name) for name in ("6.weight", "6.bias")]
    norms = sorted(float(parameter.detach().norm()) for parameter in found.last)
    assert norms == pytest.approx(sorted(float(one.detach().norm()) for one in expected))
    with torch.no_grad():
        activation = victim(INPUTS).activation
    last = found.layers[0]
    assert last.activity is not None
    torch.testing.assert_close(last.activity, activation.abs().mean(dim=0))
    assert found.whole


class _Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(8, 16)
        self.block = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.norm = nn.LayerNorm(16)
        self.head = nn.Linear(16, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        tokens: Tensor = self.block(self.embed(inputs[:, 0]))
        outputs: Tensor = self.head(self.norm(tokens).mean(dim=1))
        return outputs


def _as_onnx(module: nn.Module) -> OnnxTappedModel:
    fastpath = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                module.eval(),
                (INPUTS[:2],),
                dynamic_shapes=({0: torch.export.Dim.DYNAMIC},),
                verbose=False,
            )
    finally:
        torch.backends.mha.set_fastpath_enabled(fastpath)
    assert program is not None
    return OnnxTappedModel.from_proto(program.model_proto).eval()


@pytest.mark.parametrize("form", ["eager", "onnx"])
def test_attention_has_six_layers_and_one_last(form: str) -> None:
    torch.manual_seed(0)
    module = _Attention().eval()
    model = EagerTappedModel(module, "norm") if form == "eager" else _as_onnx(module)
    found = Layers(model, INPUTS)
    # Head, two of the block's network, its output and input projection, embedding; the products
    # of queries, keys and values are none.
    assert [layer.fan_in for layer in found.layers] == [16, 32, 16, 16, 16, 8]
    assert min(tuple(parameter.shape) for parameter in found.last) == (3,)
    assert len(found.last) == 2
    assert found.whole
    # An exporter keeps constants of formulas as tensors of one value.
    gains = [gain for gain in found.gains if gain.numel() > 1]
    assert sorted(float(gain.detach().mean()) for gain in gains) == [1.0, 1.0, 1.0]


def test_what_stands_behind_the_last_layer_belongs_to_it() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.hidden = nn.Linear(64, 5)
            self.head = nn.Linear(5, 3, bias=False)
            self.shift = nn.Parameter(torch.zeros(1, 3))
            self.temperature = nn.Parameter(torch.ones(()))

        def forward(self, inputs: Tensor) -> Tensor:
            outputs: Tensor = self.head(self.hidden(inputs.flatten(1)).relu())
            return (outputs + self.shift) * self.temperature

    model = EagerTappedModel(Scaled(), "hidden")
    # A shift of two dimensions is no weight.
    assert last_of(model) == {"module.head.weight", "module.shift", "module.temperature"}


def test_two_heads_are_both_last() -> None:
    class Sum(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Linear(64, 6)
            self.first = nn.Linear(6, 2)
            self.second = nn.Linear(6, 2)

        def forward(self, inputs: Tensor) -> Tensor:
            hidden = self.body(inputs.flatten(1)).relu()
            outputs: Tensor = self.first(hidden) + self.second(hidden)
            return outputs

    found = last_of(EagerTappedModel(Sum(), "body"))
    assert found == {
        f"module.{head}.{kind}" for head in ("first", "second") for kind in ("weight", "bias")
    }


def test_running_statistics_are_the_model_s_own_memory() -> None:
    module = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 3))
    norm = module[1]
    assert isinstance(norm, nn.BatchNorm2d)
    ((mean, variance),) = Layers(EagerTappedModel(module.eval(), "1"), INPUTS).statistics
    mean.fill_(3)
    variance.fill_(4)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert (norm.running_mean == 3).all()
    assert (norm.running_var == 4).all()


CONVOLUTIONS = {
    "plain": nn.Conv2d(6, 4, 3),
    "grouped": nn.Conv2d(6, 4, 3, groups=2),
    "depthwise": nn.Conv2d(6, 12, 3, groups=6),
    "transposed": nn.ConvTranspose2d(6, 4, 3),
    "transposed and grouped": nn.ConvTranspose2d(6, 4, 3, groups=2),
    "one-dimensional": nn.Sequential(nn.Flatten(2), nn.Conv1d(6, 4, 3)),
    "linear": nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4)),
}


@pytest.mark.parametrize("kind", CONVOLUTIONS)
def test_a_silenced_neuron_is_no_longer_read(kind: str) -> None:
    torch.manual_seed(0)
    first = nn.Conv2d(1, 6, 3)
    reader = copy.deepcopy(CONVOLUTIONS[kind])
    model = EagerTappedModel(nn.Sequential(first, nn.Sigmoid(), reader, nn.Flatten()), "1")
    layer = Layers(model, INPUTS).layers[0]
    assert layer.hidden
    hidden = first(INPUTS).sigmoid()
    assert layer.activity is not None
    torch.testing.assert_close(layer.activity, hidden.mean(dim=(0, 2, 3)))
    silent = torch.tensor([1, 4])
    found = layer.silencing(silent)
    assert found is not None
    weight, mask = found
    assert 0 < float((mask == 0).float().mean()) == pytest.approx(2 / 6)
    hidden[:, silent] = 0
    with torch.no_grad():
        weight.mul_(mask)
        torch.testing.assert_close(model(INPUTS).outputs, reader(hidden).flatten(1))


def test_a_computed_weight_cannot_be_silenced() -> None:
    hidden = torch.nn.utils.parametrizations.weight_norm(nn.Linear(5, 3))
    model = EagerTappedModel(nn.Sequential(nn.Flatten(), nn.Linear(64, 5), nn.ReLU(), hidden), "2")
    layer = Layers(model, INPUTS).layers[0]
    assert layer.hidden
    assert {tuple(parameter.shape) for parameter in layer.parameters} >= {(3, 5), (3, 1)}
    assert layer.silencing(torch.tensor([0])) is None


def test_a_quantised_file_is_not_whole(view: OnnxTappedModel, data: LabelledData) -> None:
    for bits in (8.0, 7.0):
        found = Layers(Quantize().apply(view, bits, data, seed=0), INPUTS)
        assert not found.whole
        assert not found.layers
        assert not found.last


def test_an_onnx_product_with_its_weight_on_the_left() -> None:
    weight = np.random.default_rng(0).normal(size=(3, 64)).astype(np.float32)
    nodes = [
        helper.make_node("Flatten", ["input"], ["flat"]),
        helper.make_node("Transpose", ["flat"], ["turned"], perm=[1, 0]),
        helper.make_node("MatMul", ["w", "turned"], ["product"]),
        helper.make_node("Transpose", ["product"], ["output"], perm=[1, 0]),
    ]
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 1, 8, 8])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["batch", 3])],
        [numpy_helper.from_array(weight, "w")],
    )
    (layer,) = Layers(OnnxTappedModel.from_proto(helper.make_model(graph)), INPUTS).layers
    assert (layer.fan_in, layer.hidden) == (64, False)
    assert layer.activity is not None
    torch.testing.assert_close(layer.activity, INPUTS.flatten(1).abs().mean(dim=0))
