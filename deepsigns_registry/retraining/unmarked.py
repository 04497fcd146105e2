"""An unmarked version's model and its owner's data: judged, and given a secret, before training.

`deepsigns check` and the retraining stage go the same way through it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Self

from deepsigns_registry.config import Settings, load_settings
from deepsigns_registry.errors import UnmarkableError
from deepsigns_registry.retraining.data import load_training_data
from deepsigns_registry.retraining.options import (
    chosen_schemes,
    mark_settings,
    tap_choices,
    training_device,
)
from deepsigns_registry.retraining.source import load_program, output_width
from deepsigns_registry.sections import ModelSettings

if TYPE_CHECKING:
    from torch.export import ExportedProgram

    from deepsigns_registry.retraining.fitness import Judgement
    from deepsigns_registry.watermark.adapters.choice import TapChoice
    from deepsigns_registry.watermark.adapters.exported import ExportedTappedModel
    from deepsigns_registry.watermark.data import TrainingData
    from deepsigns_registry.watermark.key import RootKey
    from deepsigns_registry.watermark.record import WatermarkRecord

__all__ = ["EXAMPLE_ROWS", "Unmarked"]


EXAMPLE_ROWS = 4
"""Validation samples that an export is checked with."""


@dataclass(frozen=True)
class Unmarked:
    """A parent with its data.

    Attributes:
        program: The parent; never changed.
        section: Its settings.
        data: The owner's data.
    """

    program: "ExportedProgram"
    section: ModelSettings
    data: "TrainingData"

    @classmethod
    def opened(cls, source: Path, config: Path | Settings, model: str) -> Self:
        """Loads a version's program, and the owner's data.

        Args:
            source: Folder of the version.
            config: The settings, or their file.
            model: Name of the registered model.

        Raises:
            UnmarkableError: There is no program that could carry the mark.
            DataError: The owner's data cannot be used.
            CouldNotCheckError: A file of the version is damaged.
        """
        return cls.with_data(load_program(source), config, model)

    @classmethod
    def with_data(cls, program: "ExportedProgram", config: Path | Settings, model: str) -> Self:
        """The same of a program that was loaded already."""
        settings = load_settings(config)
        section = settings.model(model)
        width = output_width(program, section.task)
        return cls(program, section, load_training_data(settings, model, classes=width))

    @cached_property
    def choices(self) -> "tuple[TapChoice, ...]":
        """The hidden activations that could carry the mark, in the order in which they are tried.

        Raises:
            UnmarkableError: There is none.
        """
        return tap_choices(self.program, self.section)

    def tapped(self, choice: "TapChoice | None" = None) -> "ExportedTappedModel":
        """The parent on the training device, tapped where it would be marked first by default.

        Raises:
            UnmarkableError: It cannot be tapped there.
        """
        from deepsigns_registry.watermark.adapters.exported import ExportedTappedModel

        tap = (choice or self.choices[0]).tap
        return ExportedTappedModel(self.program, tap, task=self.section.task).to(training_device())

    def judged(self, source: Path, metrics: Mapping[str, float]) -> "Judgement":
        """Whether the data is the parent's.

        Args:
            source: Folder of the version.
            metrics: What was logged with it; may be empty.
        """
        from deepsigns_registry.retraining.fitness import Described, judge_data

        return judge_data(
            self.tapped(),
            self.data,
            Described.of(source, metrics),
            device=training_device(),
            options=mark_settings(self.section),
        )

    def secret(
        self,
        root: bytes,
        owner: bytes,
        *,
        scratch: Path,
        after: int = 0,
        progress: Callable[[float, str], None] = lambda _fraction, _message: None,
    ) -> "WatermarkRecord":
        """A secret for the first hidden activation that can carry the mark; nothing is trained.

        The parent is exported there, so that the record is complete before any training: the
        marked file will have the same graph.

        Args:
            root: The root key, 32 bytes.
            owner: The owner's identity, 32 bytes.
            scratch: Existing folder for the parent's export.
            after: How many activations are passed over, from the first; all of them in turn.
            progress: Called with a fraction in [0, 1] and what is being done.

        Raises:
            ConfigurationError: The settings name a scheme that is not installed.
            DataError: There are too few samples.
            UnmarkableError: None can carry it, or be exported; the reason of the first one.
        """
        from deepsigns_registry.watermark.key import RootKey

        refused: UnmarkableError | None = None
        for choice in self.choices[after % len(self.choices) :]:
            try:
                return self._secret(RootKey(root, owner), choice, scratch, progress)
            except UnmarkableError as error:
                refused = refused or error
        assert refused is not None  # noqa: S101 - there is at least one choice
        raise refused

    def _secret(
        self,
        root: "RootKey",
        choice: "TapChoice",
        scratch: Path,
        progress: Callable[[float, str], None],
    ) -> "WatermarkRecord":
        from deepsigns_registry.graph.export import export_onnx
        from deepsigns_registry.graph.wiring import parent_blueprint
        from deepsigns_registry.watermark.prepare import prepare_record

        model, schemes = self.tapped(choice), chosen_schemes(self.section)
        progress(0.0, "exporting the parent")
        exported = scratch / "parent.onnx"
        tap = export_onnx(model, self.data.validation.inputs[:EXAMPLE_ROWS], exported)
        blueprint = parent_blueprint(exported, tap)
        record = prepare_record(
            model,
            self.data,
            root,
            mark_settings(self.section),
            device=training_device(),
            progress=lambda fraction, message: progress(0.4 + 0.6 * fraction, message),
            schemes=schemes,
            blueprint=blueprint,
        )
        return record.with_tap(tap, blueprint, schemes=schemes)
