"""A classifier's last layer is passed over by every adapter, and stays in what is written back."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from deepsigns_registry.graph.export import export_onnx
from deepsigns_registry.graph.interpreter import OnnxTappedModel
from deepsigns_registry.graph.session import OnnxSuspect
from deepsigns_registry.watermark.adapters.eager import EagerTappedModel


class Shares(nn.Module):
    def forward(self, inputs: Tensor) -> Tensor:
        shares = inputs.exp()
        return shares / shares.sum(dim=1, keepdim=True)


def classifier(last: nn.Module) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3), last).eval()


ROWS = torch.randn(16, 4, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("last", "exact"),
    [(nn.Softmax(dim=1), True), (nn.Sigmoid(), True), (Shares(), False), (nn.Identity(), True)],
)
def test_every_adapter_gives_logits_and_keeps_the_last_layer(
    last: nn.Module, exact: bool, tmp_path: Path
) -> None:
    module = classifier(last)
    with torch.no_grad():
        logits, registered = module[:3](ROWS), module(ROWS)
    if not exact:  # the logarithm is a set of logits too, each row moved by a constant
        logits = logits.log_softmax(dim=1)
    eager = EagerTappedModel(module, "1")
    export_onnx(eager, ROWS.numpy(), tmp_path / "m.onnx")
    # The file keeps the last layer.
    given, _ = OnnxSuspect(tmp_path / "m.onnx").run(ROWS.numpy(), tap=None)
    np.testing.assert_allclose(given, registered, atol=1e-5)
    onnx = OnnxTappedModel.from_file(tmp_path / "m.onnx", logits=True)
    for model in (eager, copy.deepcopy(eager), onnx):
        with torch.no_grad():
            found, kept = model(ROWS).outputs, model.as_registered(ROWS).outputs
        torch.testing.assert_close(found, logits, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(kept, registered, atol=1e-5, rtol=1e-4)
    plain = OnnxTappedModel.from_file(tmp_path / "m.onnx")
    torch.testing.assert_close(plain(ROWS).outputs.detach(), registered, atol=1e-5, rtol=1e-4)
    regressor = EagerTappedModel(module, "1", task="regression")
    torch.testing.assert_close(regressor(ROWS).outputs.detach(), registered)


def test_one_row_or_a_chance_sum_decides_nothing() -> None:
    """Logits that happen to be at least 0 and to sum to one are logits still."""
    module = classifier(nn.Identity())
    model = EagerTappedModel(module, "1")
    with torch.no_grad():
        module.get_parameter("2.weight").mul_(0.3)
        module.get_parameter("2.bias").copy_(torch.tensor([0.5, 0.25, 0.25]))
        dead = torch.zeros(1, 4)
        module.get_parameter("0.bias").fill_(-1.0)
        outputs = model(dead).outputs
    torch.testing.assert_close(outputs, torch.tensor([[0.5, 0.25, 0.25]]))


def test_a_model_of_tokens_is_not_asked_for_numbers_that_are_none() -> None:
    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(20, 8)
            self.last = nn.Linear(8, 3)

        def forward(self, inputs: Tensor) -> Tensor:
            logits: Tensor = self.last(self.embedding(inputs.long()).mean(dim=1))
            return logits.softmax(dim=1) + 0

    rows = torch.arange(20.0).reshape(4, 5)
    with torch.no_grad():
        outputs = EagerTappedModel(Tokens(), "embedding")(rows).outputs
    torch.testing.assert_close(outputs.exp().sum(dim=1), torch.ones(4))
