"""What a marking sees of itself: the mark that its model carries so far, and what it costs."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from deepsigns_registry.watermark.data import LabelledData
from deepsigns_registry.watermark.evidence import Evidence, Matches
from deepsigns_registry.watermark.extract import extract
from deepsigns_registry.watermark.fidelity import Cost, mark_cost
from deepsigns_registry.watermark.record import WatermarkRecord
from deepsigns_registry.watermark.scheme import Scheme
from deepsigns_registry.watermark.suspect import TappedSuspect
from deepsigns_registry.watermark.tapped import TappedModel, run_batched
from deepsigns_registry.watermark.task import SCORES

__all__ = ["Observation", "Observer", "changed_answers"]


@dataclass(frozen=True)
class Observation:
    """What was seen of a model.

    Attributes:
        evidence: At most one entry a scheme.
        unread: What could not be read, one sentence each; a tap that is not recognised is here.
        cost: Compared with the parent on the validation samples.
        changed: Share of validation samples that a classifier answers otherwise than its parent,
            in [0, 1]; 0 for other tasks.
        tries: By what p-values are multiplied.
    """

    evidence: tuple[Evidence, ...]
    unread: tuple[str, ...]
    cost: Cost
    changed: float
    tries: int = 1

    def log10_p(self, scheme: str) -> float:
        """Adjusted for every try; 0 when the scheme left no evidence."""
        found = (entry.log10_p for entry in self.evidence if entry.scheme == scheme)
        return min(0.0, next(found, 0.0) + math.log10(self.tries))

    def figures(self, score: str) -> dict[str, float]:
        """Everything that everybody may read, by name.

        Args:
            score: What the score of the task is called.
        """
        named = {"whitebox": ("bits", "errors"), "blackbox": ("queries", "matches")}
        found = {score.replace(" ", "_"): self.cost.marked}
        if score == SCORES["classification"]:
            found["changed"] = self.changed
        for entry in self.evidence:
            if isinstance(entry, Matches):
                size, counted = named.get(entry.scheme, ("trials", "matches"))
                found[f"{entry.scheme}_{size}"] = entry.trials
                found[f"{entry.scheme}_{counted}"] = getattr(entry, counted)
            else:
                found |= {f"{entry.scheme}_{name}": v for name, v in entry.figures().items()}
        return found


class Observer:
    """Looks at one model as it is trained; see `Observation`.

    Args:
        parent: The unmarked parent, before it is trained; run once.
        record: The secret that is embedded, or None for a control.
        validation: The samples held out.
        device: Where the model runs.
        tries: By what p-values are multiplied.
        schemes: Where to find the record's schemes.
    """

    def __init__(
        self,
        parent: TappedModel,
        record: WatermarkRecord | None,
        validation: LabelledData,
        *,
        device: torch.device,
        tries: int = 1,
        schemes: Iterable[Scheme] | None = None,
    ) -> None:
        self._record, self._validation, self._device = record, validation, device
        self._tries = tries
        self._schemes = None if schemes is None else tuple(schemes)
        self._parent = run_batched(parent, validation.inputs, device)[0]
        self.score = SCORES[validation.task]

    def look(self, model: TappedModel, *, most: int | None = None) -> Observation:
        """Reads the mark and measures what it costs; the model is left as it is.

        Args:
            model: The model.
            most: Measure the cost on so many samples, evenly spread; on all by default.
        """
        samples, parent = self._validation, self._parent
        if most is not None and len(samples) > most:
            rows = np.linspace(0, len(samples) - 1, most).astype(np.int64)
            samples, parent = LabelledData(samples.inputs[rows], samples.labels[rows]), parent[rows]
        outputs = run_batched(model, samples.inputs, self._device)[0]
        found = None
        if self._record is not None:
            suspect = TappedSuspect(model, self._device)
            found = extract(self._record, suspect, schemes=self._schemes)
        return Observation(
            evidence=found.evidence if found else (),
            unread=found.incomplete if found else (),
            cost=mark_cost(parent, outputs, samples),
            changed=changed_answers(parent, outputs, samples),
            tries=self._tries,
        )


def changed_answers(
    parent: NDArray[np.float32], marked: NDArray[np.float32], data: LabelledData
) -> float:
    """Share of samples that a classifier answers otherwise than its parent; else 0.

    Args:
        parent: float32 [samples, classes].
        marked: float32 [samples, classes].
        data: The samples.
    """
    if data.task != "classification":
        return 0.0
    return float((parent.argmax(axis=1) != marked.argmax(axis=1)).mean())
