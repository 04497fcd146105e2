"""Which ordinary models cannot be taken, and with what words they are refused."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from deepsigns_registry.errors import CouldNotCheckError, UnmarkableError
from deepsigns_registry.graph.export import export_onnx
from deepsigns_registry.retraining.source import load_program
from deepsigns_registry.watermark.adapters.exported import (
    ExportedTappedModel,
    choose_tap,
)
from tests.support.ordinary import IMAGE, ROW, Base, Counting, Log, images, layers, rows


class Tokens(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.last = nn.Embedding(50, 16), nn.Linear(16, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.last(self.embed(inputs).mean(dim=1))
        return outputs


class Branching(Base):
    def hidden(self, inputs: Tensor) -> Tensor:
        chosen: Tensor = torch.cond(inputs.sum() > 0, torch.relu, torch.tanh, (self.first(inputs),))
        return chosen


class Noisy(Base):
    def hidden(self, inputs: Tensor) -> Tensor:
        hidden = torch.relu(self.first(inputs))
        return hidden + 0.1 * torch.randn_like(hidden)


class Dropping(Base):
    def hidden(self, inputs: Tensor) -> Tensor:
        return functional.dropout(torch.relu(self.first(inputs)), 0.3)


class Attending(Base):
    def hidden(self, inputs: Tensor) -> Tensor:
        tokens = self.first(inputs).unflatten(1, (4, 8))
        mixed: Tensor = functional.scaled_dot_product_attention(
            tokens, tokens, tokens, dropout_p=0.1
        )
        return mixed.flatten(1)


class Recurring(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.LSTM(4, 16, num_layers=2, dropout=0.3, batch_first=True)
        self.last = nn.Linear(16, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.last(self.rnn(inputs)[0][:, -1])
        return outputs


MODE = r"was exported in training mode; call model\.eval\(\) before mlflow\.pytorch\.log_model"
STATE = "outputs depend on state that changes when it runs"
REFUSED: dict[str, tuple[nn.Module, NDArray[np.generic], str]] = {
    "tokens": (
        Tokens().eval(), np.arange(48).reshape(4, 12) % 50, "input is int64: integer inputs.*not"
    ),
    "one row": (layers(nn.ReLU()).eval(), rows(*ROW)[:1], "batches of 1 row only; log it with an"),
    "batch norm": (layers(nn.BatchNorm1d(32)), rows(*ROW), f"layer '1' {MODE}"),
    "instance norm": (
        images(nn.InstanceNorm2d(8, track_running_stats=True)), rows(*IMAGE), f"layer '1' {MODE}"
    ),
    "dropout": (layers(nn.Dropout(inplace=True)), rows(*ROW), f"layer '1' {MODE}"),
    "functional dropout": (Dropping().eval(), rows(*ROW), r"needs training=self\.training"),
    "attention": (Attending().eval(), rows(*ROW), MODE),
    "recurrence": (Recurring(), rows(5, 4), f"layer 'rnn' {MODE}"),
    "rrelu": (layers(nn.RReLU()), rows(*ROW), f"layer '1' {MODE}"),
    "batch statistics": (
        layers(nn.BatchNorm1d(32, track_running_stats=False)).eval(),
        rows(*ROW),
        "layer '1' normalises over the batch, so that an answer depends on the other rows",
    ),
    "noise": (Noisy().eval(), rows(*ROW), "draws random numbers"),
    "state": (Counting("read").eval(), rows(*ROW), rf"{STATE} \('calls'\)"),
    "state through a view": (Counting("added").eval(), rows(*ROW), STATE),
    "spectral norm": (
        layers(nn.utils.parametrizations.spectral_norm(nn.Linear(32, 32))), rows(*ROW), STATE
    ),
    "control flow": (Branching().eval(), rows(*ROW), r"chooses while it runs.*\('cond'\)"),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_taken_is_refused_with_the_true_reason(kind: str, log: Log) -> None:
    module, example, words = REFUSED[kind]
    program = log(module, example)
    with pytest.raises(UnmarkableError, match=words) as caught:
        choose_tap(program)
    assert "\n" not in str(caught.value)
    assert "'1'" not in caught.value.public
    assert "worker's own output" not in caught.value.public


class Unexportable(Base):
    def hidden(self, inputs: Tensor) -> Tensor:
        hidden: Tensor = torch.special.bessel_j0(self.first(inputs))
        return hidden


class DoubleInside(Base):
    """ONNX has the operator, the runtime has none for this type."""

    def hidden(self, inputs: Tensor) -> Tensor:
        return functional.conv1d(
            torch.relu(self.first(inputs))[:, None].double(),
            torch.ones(1, 1, 1, dtype=torch.float64),
        )[:, 0].float()


@pytest.mark.parametrize(
    ("module", "words"),
    [
        (Unexportable(), r"cannot be exported to ONNX: operator prims\.bessel_j0\.default cannot"),
        (DoubleInside(), "the exported ONNX file does not run: Could not find an implementation"),
    ],
)
def test_what_onnx_cannot_hold_is_refused_once(
    module: nn.Module, words: str, log: Log, tmp_path: Path
) -> None:
    program = log(module.eval(), rows(*ROW))
    model = ExportedTappedModel(program, choose_tap(program).tap)
    with pytest.raises(UnmarkableError, match=words) as caught:
        export_onnx(model, np.asarray(rows(*ROW), np.float32), tmp_path / "m.onnx")
    assert "\n" not in str(caught.value)
    assert "the model cannot be exported to ONNX" in caught.value.public or (
        "the exported ONNX file does not run" in caught.value.public
    )


def test_an_operator_that_is_not_installed_is_named(log: Log, tmp_path: Path) -> None:
    log(layers(nn.ReLU()).eval(), rows(*ROW))
    stored = tmp_path / "model/data/model.pt2"
    with zipfile.ZipFile(stored) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(stored, "w") as archive:
        for name, content in entries.items():
            archive.writestr(
                name, content.replace(b"ops.aten.relu.default", b"ops.ours.relu.default")
            )
    with pytest.raises(UnmarkableError, match=r"not installed here: ours\.relu; build it of"):
        load_program(tmp_path / "model")
    stored.write_bytes(stored.read_bytes().replace(b"ours", b"mine"))
    with pytest.raises(CouldNotCheckError, match="cannot be loaded: BadZipFile"):
        load_program(tmp_path / "model")
