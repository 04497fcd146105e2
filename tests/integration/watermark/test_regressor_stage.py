"""The retraining stage on what is no classifier, as the worker calls it, on a real table."""

import warnings
from pathlib import Path

import mlflow
import numpy as np
import pytest
import torch
from sklearn.datasets import load_diabetes
from torch import nn

from deepsigns_registry.config import load_settings
from deepsigns_registry.engine.jobs import Figures
from deepsigns_registry.errors import DataError, UnmarkableError
from deepsigns_registry.graph.session import OnnxSuspect
from deepsigns_registry.retraining.data import load_training_data
from deepsigns_registry.retraining.stage import (
    MARKED_ONNX,
    MARKED_PROGRAM,
    mark_model,
    prepare_mark,
    run_program,
)
from deepsigns_registry.watermark import embed as embedding
from deepsigns_registry.watermark.extract import extract
from deepsigns_registry.watermark.record import WatermarkRecord
from deepsigns_registry.watermark.verdict import judge

pytestmark = pytest.mark.integration

CONFIG = """
[models.progression]
data = "table.parquet"
task = "{task}"
bits = 64
epochs = 1
max_accuracy_drop = 0.1
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A table, and a version's folder with a regressor that MLflow stored."""
    import pandas as pd

    features, targets = load_diabetes(return_X_y=True)
    frame = pd.DataFrame(20 * features, columns=[f"f{column}" for column in range(10)])
    frame["label"] = targets
    frame["split"] = ["train"] * 342 + ["validation"] * 100
    frame.to_parquet(tmp_path / "table.parquet")
    (tmp_path / "deepsigns.toml").write_text(CONFIG.format(task="regression"))
    data = load_training_data(load_settings(tmp_path / "deepsigns.toml"), "progression")
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(10, 96), nn.ReLU(), nn.Linear(96, 96), nn.ReLU())
    module.append(nn.Linear(96, 1)).append(nn.Flatten(0))
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-2)
    inputs, wanted = torch.from_numpy(data.train.inputs), torch.from_numpy(data.train.labels)
    for _ in range(60):
        optimizer.zero_grad()
        torch.autograd.backward((module(inputs) - wanted[:, 0]).square().mean() / 5000)
        optimizer.step()
    with warnings.catch_warnings():
        # MLflow's and torch's own deprecations, while they store the model.
        warnings.simplefilter("ignore")
        mlflow.pytorch.save_model(
            module.eval(),
            tmp_path / "version",
            input_example=data.train.inputs[:4],
            pip_requirements=["torch"],
        )
    return tmp_path


def silent(_fraction: float, _message: str, /, figures: Figures | None = None) -> None:
    del figures


def prepared(home: Path, told: list[str]) -> bytes:
    def progress(_fraction: float, message: str, /, figures: Figures | None = None) -> None:
        del figures
        told.append(message)

    found = prepare_mark(
        progress=progress,
        source=home / "version",
        config=home / "deepsigns.toml",
        model="progression",
        root=bytes(32),
        owner=bytes(32),
        scratch=home,
    )
    found.judgement.require()
    return found.record


def test_a_regressor_goes_through_the_stage(home: Path) -> None:
    told: list[str] = []
    sealed = prepared(home, told)
    assert any(line.startswith("blackbox is left out: black box: a model for reg") for line in told)
    record = WatermarkRecord.from_bytes(sealed)
    record.check()
    (home / "out").mkdir()
    result = mark_model(
        progress=silent,
        source=home / "version",
        config=home / "deepsigns.toml",
        model="progression",
        record=sealed,
        checkpoints=home / "checkpoints",
        marking="m1",
        out=home / "out",
    )
    # Ordinary least squares reaches an R2 of about 0.5 on this table.
    assert 0.3 < result.cost.parent < 0.7
    assert result.cost.low < 0.1
    suspect = OnnxSuspect(home / "out" / MARKED_ONNX)
    found = extract(record, suspect)
    verdict = judge(found.evidence, tries=2, incomplete=found.incomplete)
    assert verdict.word == "present"
    assert {item.scheme for item in verdict.evidence} == {"whitebox", "spread"}
    (home / "version/data/model.pt2").write_bytes((home / "out" / MARKED_PROGRAM).read_bytes())
    probes = record.secrets["whitebox"].arrays["triggers"].astype(np.float32)
    program = run_program(
        progress=silent,
        folder=home / "version",
        inputs=probes,
    ).outputs
    np.testing.assert_allclose(program, suspect.run(probes, tap=None)[0], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ("layer = '9'", "the model has no layer '9'; choose one of: 0, 1, 2, 3"),
        ("layer = '1'\nbits = 512", "layer '1' has 96 neurons, too few for .* or lower bits"),
        ("bits = 1024\ncarriers = 2", "the widest hidden activation, layer '3', has 96 neurons"),
        ("triggers_per_class = 180", "342 different samples, 360 are needed"),
    ],
)
def test_what_cannot_be_marked_is_refused_before_training(
    home: Path, changes: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = home / "deepsigns.toml"
    path.write_text(path.read_text().replace("bits = 64\n", "") + changes)
    reached: list[object] = []
    monkeypatch.setattr(embedding._Run, "step", reached.append)
    with pytest.raises((UnmarkableError, DataError), match=message):
        prepared(home, [])
    assert not reached
