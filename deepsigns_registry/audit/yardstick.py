"""How well a file answers: the owner's data, and what the answers are compared with."""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepsigns_registry.config import Settings
from deepsigns_registry.errors import CouldNotCheckError, DeepSignsError
from deepsigns_registry.retraining.data import load_apart
from deepsigns_registry.watermark.data import Task, TrainingData
from deepsigns_registry.watermark.task import SCORES, task_score

__all__ = ["Yardstick", "score_of"]

# The unmarked parent is not at hand: what an embedding model lost, it lost since deployment.
_SCORES: dict[Task, str] = {**SCORES, "embedding": "cosine to the deployed file"}


def score_of(task: Task) -> str:
    """What the score of a task is called in an audit.

    Examples:
        >>> score_of("regression")
        'R2'
    """
    return _SCORES[task]


@dataclass(frozen=True, repr=False)
class Yardstick:
    """What the answers of the deployed file and of its attacked copies are measured by.

    Attributes:
        data: The owner's; None where it could not be loaded.
        problem: Why not. The mark can be read without it; only score and attacks need it.
        targets: What the answers are compared with; None until the deployed file has answered.
    """

    data: TrainingData | None
    problem: DeepSignsError | None = None
    targets: NDArray[Any] | None = None

    @classmethod
    def of(cls, settings: Settings, model: str) -> "Yardstick":
        """That of a registered model."""
        try:
            return cls(load_apart(settings, model))
        except DeepSignsError as error:
            return cls(None, error)

    def at(self, outputs: NDArray[np.float32]) -> "Yardstick":
        """The same, with what the deployed file answered."""
        if self.data is None:
            return self
        given = self.data.validation
        return replace(self, targets=outputs if given.task == "embedding" else given.labels)

    def score(self, outputs: NDArray[np.float32]) -> float:
        """The task's score, at least 0; of an embedding model against the deployed file.

        Args:
            outputs: float32 [samples, outputs], to the validation samples.

        Raises:
            CouldNotCheckError: They are not so many as there are targets.
        """
        if self.data is None or self.targets is None:
            raise CouldNotCheckError("there is nothing to compare answers with")
        task = self.data.validation.task
        if task != "classification" and outputs.size != self.targets.size:
            raise CouldNotCheckError(
                f"the file answers with shape {outputs.shape}, the data has targets of shape "
                f"{self.targets.shape}",
                advice="give the data that this model was trained on",
            )
        score = task_score(outputs, self.targets, task)
        return max(score, 0.0) if math.isfinite(score) else 0.0
