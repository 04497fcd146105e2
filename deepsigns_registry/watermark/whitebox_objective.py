"""What the white box adds to the fine-tuning: loss1 and loss2 of the paper, hardened."""

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from deepsigns_registry.watermark.objective import Objective
from deepsigns_registry.watermark.scheme import SchemeSecret
from deepsigns_registry.watermark.settings import MarkSettings
from deepsigns_registry.watermark.tapped import Tapped

__all__ = ["WhiteBoxObjective"]

# Neurons a bit from which the whole margin is asked for. Below, bits times margin squared stays the
# same: it is how far a mean moves, and a tap whose means moved too far is not told by value.
_ROOMY = 16


class WhiteBoxObjective(Objective):
    """loss1 and loss2 over the triggers that a step sees, and over its training batch."""

    carriers: Tensor
    triggers: Tensor
    trigger_labels: Tensor
    projection: Tensor
    signs: Tensor
    bystanders: Tensor
    distances: Tensor

    def __init__(self, secret: SchemeSecret, options: MarkSettings, steps: int) -> None:
        super().__init__()
        arrays = secret.arrays
        carriers = torch.from_numpy(arrays["carriers"].astype(np.int64))
        triggers = torch.from_numpy(arrays["triggers"].astype(np.float32))
        means = torch.from_numpy(arrays["means"].astype(np.float32))
        bystanders = torch.from_numpy(arrays["bystanders"].astype(np.float32))
        self._options = options
        self._scale = float(str(secret.meta["scale"]))
        neurons, bits = arrays["projection"].shape
        self._margin = options.margin * min(1.0, math.sqrt(neurons / (_ROOMY * bits)))
        # Every step needs some triggers of each carrier to estimate its mean.
        wanted = -(-len(triggers) * options.repeats // steps)
        self._sample = min(max(wanted, 4 * len(carriers)), len(triggers), options.batch_size)
        self.centres = nn.Parameter(means.clone())
        per_class = len(triggers) // len(carriers)
        projection = torch.from_numpy(arrays["projection"].astype(np.float32))
        signs = torch.from_numpy(arrays["bits"].astype(np.float32)) * 2 - 1
        constants = {
            "carriers": carriers,
            "triggers": triggers,
            "trigger_labels": carriers.repeat_interleave(per_class),
            # A vector times centred columns is the centred vector times the columns.
            "projection": (projection - projection.mean(dim=0)) / self._scale,
            "signs": signs.repeat(2, 1),
            "bystanders": bystanders,
            "distances": _squared_distances(means, bystanders),
        }
        for name, value in constants.items():
            # The record has them: a checkpoint need not.
            self.register_buffer(name, value, persistent=False)

    def samples(self, step_generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """As many triggers of each carrier class; see `Objective.samples`."""
        per_class = len(self.triggers) // len(self.carriers)
        each = max(1, self._sample // len(self.carriers))
        drawn = torch.rand(len(self.carriers), per_class, generator=step_generator)
        within = drawn.argsort(dim=1)[:, :each]
        first = torch.arange(0, len(self.triggers), per_class)
        rows = (within + first[:, None]).flatten().to(self.triggers.device)
        return self.triggers[rows], self.trigger_labels[rows]

    def loss(
        self,
        batch: Tapped,
        batch_labels: Tensor,
        samples: Tapped | None,
        sample_labels: Tensor | None,
    ) -> Tensor:
        """lambda1 loss1 + lambda2 loss2; see `Objective.loss`."""
        assert samples is not None  # noqa: S101 - the loop gives what `samples` returned
        assert sample_labels is not None  # noqa: S101
        triggers = samples.activation.reshape(len(self.carriers), -1, samples.activation.shape[-1])
        loss1 = (triggers - self.centres[:, None]).square().sum(-1).mean()
        # No branch on a value here: an accelerator would have to be waited for.
        matches = (batch_labels[:, None] == self.carriers).float()
        away = (batch.activation - matches @ self.centres).square().sum(-1)
        members = matches.sum(dim=1)
        loss1 = loss1 + (away * members).sum() / members.sum().clamp(min=1)
        # The paper subtracts the distances between centres, which has no lower bound; here the
        # centres are only held as far apart as the parent had them.
        if len(self.bystanders):
            apart = _squared_distances(self.centres, self.bystanders)
            loss1 = loss1 + functional.relu(self.distances - apart).mean()
        read = torch.cat([self.centres, triggers.mean(dim=1)])
        z = read @ self.projection * self.signs
        # The paper's cross-entropy on a clamped sigmoid has no gradient where it is most wrong.
        # A squared hinge pulls the worst bits hardest and stops at the margin; relative to the
        # margin, so that a layer which can only have a small one is not pulled less for it.
        missing = functional.relu(1 - z / self._margin)
        loss2 = self._options.margin**2 * missing.square().mean()
        weighted: Tensor = self._options.lambda1 * loss1 / self._scale**2
        return weighted + self._options.lambda2 * loss2


def _squared_distances(first: Tensor, second: Tensor) -> Tensor:
    return (first[:, None] - second).square().sum(-1)
