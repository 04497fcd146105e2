"""The training process is killed; the next one goes on, and the file comes out the same."""

import multiprocessing
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
import yaml
from onnx import numpy_helper
from sklearn.datasets import load_digits
from torch import nn

from deepsigns_registry.engine.jobs import Figures
from deepsigns_registry.engine.local import LocalEngine
from deepsigns_registry.errors import CouldNotCheckError
from deepsigns_registry.retraining.checkpoints import Checkpoints
from deepsigns_registry.retraining.stage import MARKED_ONNX, mark_model, prepare_mark
from deepsigns_registry.watermark.data import LabelledData
from tests.support.training import train

EPOCHS = 6
MARKING = "m-1"
ROOT = bytes(range(32))


@dataclass
class Training:
    """One marking of a version's folder, and what its processes said."""

    folder: Path
    record: bytes
    told: list[str] = field(default_factory=list)

    def run(self, name: str, *, kill_at: str = "") -> Path:
        """Runs the stage in a child, which is killed as soon as it says `kill_at`."""
        out = self.folder / name
        out.mkdir()
        self.told.clear()

        def listen(
            _job: int, _fraction: float, words: str, _figures: Figures | None = None
        ) -> None:
            self.told.append(words)
            if kill_at and kill_at in words:
                (child,) = multiprocessing.active_children()
                assert child.pid is not None
                os.kill(child.pid, signal.SIGKILL)

        LocalEngine().run(mark_model, [self.job(out)], on_progress=listen)
        return out / MARKED_ONNX

    def job(self, out: Path) -> dict[str, object]:
        return {
            "source": self.folder / "source",
            "config": self.folder / "deepsigns.toml",
            "model": "digits",
            "record": self.record,
            "checkpoints": self.folder / "checkpoints",
            "marking": MARKING,
            "out": out,
        }

    @property
    def checkpoint(self) -> Path:
        return self.folder / f"checkpoints/{MARKING}.checkpoint"


def weights(file: Path) -> dict[str, bytes]:
    tensors = onnx.load(file).graph.initializer
    return {tensor.name: numpy_helper.to_array(tensor).tobytes() for tensor in tensors}


@pytest.fixture(scope="module", autouse=True)
def _patient_threads() -> Iterator[None]:
    # Threads that wait by spinning take the other tests' cores, ten times as long.
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("OMP_WAIT_POLICY", "passive")
        yield


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> Training:
    folder = tmp_path_factory.mktemp("resume")
    digits = load_digits()
    inputs, labels = (digits.data / 16).astype(np.float32), digits.target.astype(np.int64)
    np.savez(
        folder / "digits.npz",
        x_train=inputs[:1400],
        y_train=labels[:1400],
        x_validation=inputs[1400:],
        y_validation=labels[1400:],
    )
    (folder / "deepsigns.toml").write_text(
        f'[models.digits]\ndata = "digits.npz"\nepochs = {EPOCHS}\n'
    )
    (folder / "source/data").mkdir(parents=True)
    described = {"flavors": {"pytorch": {"model_data": "data"}}}
    (folder / "source/MLmodel").write_text(yaml.safe_dump(described))
    torch.manual_seed(0)
    layers = (nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10))
    network = nn.Sequential(*layers)
    train(network, LabelledData(inputs[:1400], labels[:1400]), epochs=20).eval()
    program = torch.export.export(
        network, (torch.zeros(2, 64),), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},)
    )
    torch.export.save(program, folder / "source/data/model.pt2")
    (record,) = LocalEngine().run(
        prepare_mark,
        [
            {
                "source": folder / "source",
                "config": folder / "deepsigns.toml",
                "model": "digits",
                "root": ROOT,
                "owner": bytes(32),
                "scratch": folder,
            }
        ],
    )
    return Training(folder, record.record)


@pytest.fixture(scope="module")
def whole(training: Training) -> dict[str, bytes]:
    """The weights of a marked file whose training nobody interrupted."""
    found = weights(training.run("whole"))
    assert [words for words in training.told if "epoch 1 of" in words]
    training.checkpoint.unlink()
    return found


def test_a_killed_training_goes_on_and_gives_the_same_file(
    training: Training, whole: dict[str, bytes]
) -> None:
    with pytest.raises(CouldNotCheckError, match="a job was ended by SIGKILL"):
        training.run("killed", kill_at="epoch 4 of 6")
    assert training.checkpoint.stat().st_mode & 0o777 == 0o600
    found = weights(training.run("resumed"))
    said = " ".join(training.told)
    assert "epoch 3 of 6" not in said
    assert "epoch 6 of 6" in said
    assert found == whole
    # Killed between the end of the training and the registration, it has nothing left to train.
    assert weights(training.run("again")) == whole
    assert "epoch 5 of 6" not in " ".join(training.told)
    training.checkpoint.unlink()


def test_a_checkpoint_of_another_training_costs_time_and_nothing_else(
    training: Training, whole: dict[str, bytes]
) -> None:
    kept = Checkpoints(training.checkpoint.parent, MARKING, ROOT)
    kept.save(4, b"opens, and is no state of this training")
    assert weights(training.run("from-the-beginning")) == whole
    assert "epoch 1 of 6" in " ".join(training.told)
    assert kept.load()
