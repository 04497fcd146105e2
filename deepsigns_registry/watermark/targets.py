"""The loss of a model's own task (loss0 of the paper), and what it is trained towards."""

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from deepsigns_registry.watermark.data import LabelledData, Task
from deepsigns_registry.watermark.tapped import TappedModel, run_batched

__all__ = ["Targets", "task_loss", "task_targets"]


class Targets(NamedTuple):
    """What the outputs are trained towards.

    Attributes:
        values: One row a sample: int64 [samples] classes, float32 [samples, classes]
            probabilities, or float32 [samples, outputs].
        spread: Mean squared deviation of the values from their mean, which makes errors of
            any unit weigh the same against the losses of a mark; 1 for classes.
        own: Whether they are the outputs of the model itself.
    """

    values: NDArray[Any]
    spread: float
    own: bool = False


def task_targets(
    model: TappedModel,
    data: LabelledData,
    device: torch.device | str = "cpu",
    *,
    own: bool = False,
) -> Targets:
    """The targets of a fine-tuning; to be asked before the model changes.

    An embedding model is trained towards the outputs that it has now, as its own training loss
    is not at hand.

    Args:
        model: The parent.
        data: The training samples.
        device: Where the model runs.
        own: Train every model towards the outputs that it has now: what it would otherwise learn
            by heart, in data that is passed over many times, stays as it is.
    """
    if data.task == "classification":
        if not own:
            return Targets(data.labels, 1.0)
        logits = torch.from_numpy(run_batched(model, data.inputs, device)[0])
        return Targets(logits.softmax(dim=1).numpy(), 1.0, own)
    values = data.labels
    if data.task == "embedding":
        values = run_batched(model, data.inputs, device)[0]
    rows = values.reshape(len(values), -1).astype(np.float32)
    spread = max(float(rows.var(axis=0).mean()), float(np.finfo(np.float32).tiny))
    if own and data.task == "regression":
        outputs = run_batched(model, data.inputs, device)[0]
        rows = outputs.reshape(rows.shape)
    return Targets(rows, spread, own)


def task_loss(outputs: Tensor, targets: Tensor, task: Task, spread: float = 1.0) -> Tensor:
    """The loss of a batch, a scalar.

    Cross-entropy for classes; otherwise the squared error relative to the spread of the targets.

    Args:
        outputs: float [batch, outputs]; a regressor of one target may give [batch].
        targets: Rows of `Targets.values`.
        task: The task.
        spread: `Targets.spread`.

    Examples:
        >>> outputs, targets = torch.tensor([1.0, 3.0]), torch.tensor([[1.0], [1.0]])
        >>> float(task_loss(outputs, targets, "regression", spread=4.0))
        0.5
    """
    if task == "classification":
        return functional.cross_entropy(outputs, targets)
    return functional.mse_loss(outputs.reshape(targets.shape), targets) / spread
