"""The product's own path from a trained network to a mark read from its ONNX file.

Every call of the product that a trial makes stands here, in the order in which a worker makes
them. The jobs of the training child are called in this process.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import nn

from deepsigns_registry.config import load_settings
from deepsigns_registry.engine.jobs import JobProgress
from deepsigns_registry.errors import NotConvergedError, RefusedError
from deepsigns_registry.graph.export import export_onnx
from deepsigns_registry.graph.session import OnnxSuspect
from deepsigns_registry.registry.assemble import assemble, onnx_file
from deepsigns_registry.retraining.marking import MOST_LAYERS
from deepsigns_registry.retraining.names import MarkingNames
from deepsigns_registry.retraining.options import mark_settings, training_device
from deepsigns_registry.retraining.stage import (
    MARKED_ONNX,
    MARKED_PROGRAM,
    mark_model,
    prepare_mark,
    run_program,
)
from deepsigns_registry.retraining.unmarked import EXAMPLE_ROWS, Unmarked
from deepsigns_registry.watermark.data import TrainingData
from deepsigns_registry.watermark.embed import embed
from deepsigns_registry.watermark.extract import extract
from deepsigns_registry.watermark.fidelity import mark_cost
from deepsigns_registry.watermark.record import WatermarkRecord
from deepsigns_registry.watermark.schemes import probe_inputs
from deepsigns_registry.watermark.task import task_score
from deepsigns_registry.watermark.verdict import Verdict, judge, questions

__all__ = ["Journey", "Reading"]

_MODEL = "model"
_OWNER = bytes(32)


@dataclass(frozen=True)
class Reading:
    """What a file says to a record, and how well it does its task.

    Attributes:
        schemes: What the record holds, read or not.
        verdict: Of the schemes that could be read.
        incomplete: What could not be read; empty when the tap was verified.
        agreement: How like the parent's the tap is; None when it could not be read.
        score: Of the file's outputs on the validation samples.
        drop: Score of the parent less that of the file.
    """

    schemes: tuple[str, ...]
    verdict: Verdict
    incomplete: tuple[str, ...]
    agreement: float | None
    score: float
    drop: float


class Journey:
    """One network on its way, in a folder of its own.

    Args:
        network: The trained parent, in evaluation mode.
        data: What the owner trains and measures on.
        folder: An existing, empty folder.
        progress: Told what the product says of its progress.
    """

    def __init__(
        self, network: nn.Module, data: TrainingData, folder: Path, progress: JobProgress
    ) -> None:
        self._folder, self._data, self._progress = folder, data, progress
        self._source, self._config = folder / "source", folder / "deepsigns.toml"
        self._marked, self._record = folder / "marked", b""
        _log_version(network, data, self._source)
        _write_settings(data, self._config)
        self._names = MarkingNames.of("ordinary")
        self._data_digest, self._choices = "", 1
        self._parent_outputs: NDArray[np.float32] | None = None

    @property
    def limit(self) -> float:
        """The loss of score that the settings allow."""
        return load_settings(self._config).model(_MODEL).max_accuracy_drop

    def prepare(self, root: bytes) -> None:
        """Everything before training.

        Raises:
            DeepSignsError: The model or its data is refused.
        """
        scratch = self._folder / "scratch"
        scratch.mkdir(exist_ok=True)
        prepared = prepare_mark(
            progress=self._progress,
            source=self._source,
            config=self._config,
            model=_MODEL,
            root=root,
            owner=_OWNER,
            scratch=scratch,
            names=self._names,
        )
        prepared.judgement.require()
        self._record, self._data_digest = prepared.record, prepared.data
        self._choices = prepared.choices

    def train(self, root: bytes) -> None:
        """Embeds the mark, and writes the files that would be signed.

        Args:
            root: Of the secret, should another layer be tried.

        Raises:
            DeepSignsError: The model is refused after all.
        """
        given_up: list[str] = []
        while True:
            try:
                self._train(self._folder / f"stage-{len(given_up)}")
            except NotConvergedError:
                given_up.append(f"{self._names.base(self._data_digest)}-{len(given_up)}")
                if len(given_up) >= min(self._choices, MOST_LAYERS):
                    raise
                self._names = self._names.knowing(kept=(), given_up=given_up)
                self.prepare(root)
            else:
                return

    def _train(self, stage: Path) -> None:
        stage.mkdir()
        mark_model(
            progress=self._progress,
            source=self._source,
            config=self._config,
            model=_MODEL,
            record=self._record,
            checkpoints=stage / "checkpoints",
            marking="ordinary",
            out=stage,
        )
        assemble(self._source, stage / MARKED_PROGRAM, stage / MARKED_ONNX, self._marked)

    def read(self) -> Reading:
        """The mark, as the marked files carry it.

        Raises:
            DeepSignsError: The files cannot be read, or are not one model.
        """
        suspect = OnnxSuspect(onnx_file(self._marked))
        self._check_program(suspect)
        return self._read(suspect)

    def train_control(self) -> Path:
        """The same fine-tuning without a mark; the control's file."""
        device = training_device()
        unmarked = Unmarked.opened(self._source, self._config, _MODEL)
        tapped, data = unmarked.tapped(), unmarked.data
        settings = mark_settings(unmarked.section)
        embed(tapped, data, None, settings, device=device)
        tapped.to("cpu")
        exported = self._folder / "control.onnx"
        export_onnx(tapped, data.validation.inputs[:EXAMPLE_ROWS], exported)
        return exported

    def read_control(self, exported: Path) -> Reading:
        """The unmarked twin, read with the marked model's record."""
        return self._read(OnnxSuspect(exported))

    def _read(self, suspect: OnnxSuspect) -> Reading:
        record = WatermarkRecord.from_bytes(self._record)
        extraction = extract(record, suspect)
        verdict = judge(
            extraction.evidence,
            tries=questions(len(record.secrets)) * extraction.alignments,
            ways=extraction.alignments,
            incomplete=extraction.incomplete,
        )
        validation = self._data.validation
        outputs, _ = suspect.run(validation.inputs, tap=None)
        return Reading(
            tuple(record.secrets),
            verdict,
            extraction.incomplete,
            extraction.tap_agreement,
            task_score(outputs, validation.labels, validation.task),
            mark_cost(self._parent(), outputs, validation).drop,
        )

    def _parent(self) -> NDArray[np.float32]:
        if self._parent_outputs is None:
            self._parent_outputs = self._program(self._source, self._data.validation.inputs)
        return self._parent_outputs

    def _check_program(self, suspect: OnnxSuspect) -> None:
        """The PyTorch program and the ONNX file are one model."""
        record = WatermarkRecord.from_bytes(self._record)
        inputs = probe_inputs(record.secrets, self._data.validation.inputs[:EXAMPLE_ROWS])
        expected, _ = suspect.run(inputs, tap=None)
        if not np.allclose(self._program(self._marked, inputs), expected, rtol=1e-3, atol=1e-3):
            raise RefusedError("the marked program and the ONNX file give different outputs")

    def _program(self, folder: Path, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        return run_program(
            progress=self._progress,
            folder=folder,
            inputs=inputs,
        ).outputs


def _log_version(network: nn.Module, data: TrainingData, folder: Path) -> None:
    """A version's folder, as `mlflow.pytorch.log_model` leaves it on a server."""
    import mlflow.pytorch

    mlflow.pytorch.save_model(
        network.eval(),
        folder,
        input_example=data.train.inputs[:EXAMPLE_ROWS],
        # What else MLflow infers by loading the model in another process.
        pip_requirements=["torch"],
    )


def _write_settings(data: TrainingData, path: Path) -> None:
    """Defaults only: the data is named, and the task of a regressor."""
    np.savez(
        path.with_name("data.npz"),
        x_train=data.train.inputs,
        y_train=data.train.labels,
        x_validation=data.validation.inputs,
        y_validation=data.validation.labels,
    )
    task = "" if data.task == "classification" else f'task = "{data.task}"\n'
    path.write_text(f'[models.{_MODEL}]\ndata = "data.npz"\n{task}', encoding="utf-8")
