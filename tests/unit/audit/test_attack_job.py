import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from deepsigns_registry.audit.attack_job import attack_onnx, strength_of
from deepsigns_registry.errors import ConfigurationError
from deepsigns_registry.graph.export import export_onnx
from deepsigns_registry.watermark.adapters.eager import EagerTappedModel
from deepsigns_registry.watermark.data import LabelledData
from tests.support.patience import HANG

DATA = LabelledData(
    inputs=np.random.default_rng(0).normal(size=(32, 4)).astype(np.float32),
    labels=np.arange(32) % 3,
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    path = tmp_path_factory.mktemp("model") / "m.onnx"
    export_onnx(EagerTappedModel(module, "1"), DATA.inputs, path)
    return path.read_bytes()


def test_attacked_file_comes_back(model: bytes, tmp_path: Path) -> None:
    told: list[float] = []
    result = attack_onnx(
        progress=lambda fraction, _message: told.append(fraction),
        model=model,
        attack="prune:0.5",
        train=DATA,
        seed=0,
        seconds=HANG,
    )
    assert result.error == ""
    assert told[-1] == 1.0
    (tmp_path / "a.onnx").write_bytes(result.model)
    onnx.checker.check_model(str(tmp_path / "a.onnx"))
    assert result.model != model


@pytest.mark.parametrize(
    ("content", "attack", "code"),
    [
        (b"this is no model", "prune:0.5", "could-not-check"),
        (None, "melt:1", "configuration"),
        (None, "finetune:1", "could-not-check"),
    ],
)
def test_failing_attack_is_an_answer(
    model: bytes, content: bytes | None, attack: str, code: str
) -> None:
    wrong = LabelledData(inputs=DATA.inputs[:, :2], labels=DATA.labels)
    result = attack_onnx(
        progress=lambda _fraction, _message: None,
        model=model if content is None else content,
        attack=attack,
        train=wrong,
        seed=0,
        seconds=HANG,
    )
    assert result.model == b""
    assert result.error_code == code
    assert result.error
    assert "\n" not in result.error


_PLUGIN = """
class Melt:
    name = "melt"

    def parse(self, strength):
        return float(strength)

    def apply(self, model, strength, data, *, seed, progress=None):
        while strength > 2:
            pass
        if strength > 1:
            return None
        raise RuntimeError("melted\\nand dripped")
"""


@pytest.mark.parametrize(
    ("attack", "error"),
    [
        ("melt:1", "the attack failed: RuntimeError: melted"),
        ("melt:2", "attack 'melt:2' gave no ONNX graph back"),
    ],
)
def test_third_party_may_raise_what_it_likes(
    model: bytes, attack: str, error: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _install(tmp_path, monkeypatch)
    result = attack_onnx(
        progress=lambda _fraction, _message: None,
        model=model,
        attack=attack,
        train=DATA,
        seed=0,
        seconds=HANG,
    )
    strength = strength_of(attack)
    # It ran in the room, and nowhere else.
    assert "melting" not in sys.modules
    assert strength == float(attack.partition(":")[2])
    assert (result.model, result.error, result.error_code) == (b"", error, "could-not-check")


def test_an_attack_without_end_is_stopped(
    model: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _install(tmp_path, monkeypatch)
    result = attack_onnx(
        progress=lambda _fraction, _message: None,
        model=model,
        attack="melt:3",
        train=DATA,
        seed=0,
        seconds=2,
    )
    assert (result.model, result.error_code) == (b"", "could-not-check")
    assert result.error == "the process of the attack was stopped after 2 seconds"


@pytest.mark.parametrize(
    ("strength", "error"), [("nan", "said nothing that could be understood"), ("hot", "ValueError")]
)
def test_third_party_may_call_strong_what_it_likes(
    strength: str, error: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _install(tmp_path, monkeypatch)
    with pytest.raises(ConfigurationError, match=error):
        strength_of(f"melt:{strength}")


def _install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "melting-1.dist-info").mkdir()
    (tmp_path / "melting.py").write_text(_PLUGIN)
    (tmp_path / "melting-1.dist-info/METADATA").write_text("Name: melting\nVersion: 1\n")
    (tmp_path / "melting-1.dist-info/entry_points.txt").write_text(
        "[deepsigns_registry.attacks]\nmelt = melting:Melt\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
