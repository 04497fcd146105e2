"""What the black box adds to the fine-tuning: its queries, and a loss on their answers."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from deepsigns_registry.watermark.objective import InTurn
from deepsigns_registry.watermark.settings import MarkSettings
from deepsigns_registry.watermark.tapped import Tapped

__all__ = ["BlackBoxObjective"]


class BlackBoxObjective(InTurn):
    """Cross-entropy on the queries, or a margin, weighted.

    Args:
        queries: float32 [queries, ...].
        labels: int64 [queries].
        options: Weight and margin, and how often each query is seen.
        steps: How many the fine-tuning has.
    """

    queries: Tensor
    labels: Tensor

    def __init__(
        self,
        queries: NDArray[np.float32],
        labels: NDArray[np.int64],
        options: MarkSettings,
        steps: int,
    ) -> None:
        super().__init__()
        wanted = -(-len(queries) * options.repeats // steps)
        self._sample = min(max(wanted, 8), options.batch_size)
        self._weight = options.lambda_queries
        self._margin = options.query_margin
        # The record has them: a checkpoint need not.
        self.register_buffer("queries", torch.from_numpy(queries), persistent=False)
        self.register_buffer("labels", torch.from_numpy(labels), persistent=False)

    def samples(self, step_generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """The next queries of this round; see `Objective.samples`."""
        rows = self.next_of(len(self.queries), self._sample, step_generator)
        rows = rows.to(self.queries.device)
        return self.queries[rows], self.labels[rows]

    def loss(
        self,
        batch: Tapped,  # noqa: ARG002 - the training batch is the task's own
        batch_labels: Tensor,  # noqa: ARG002
        samples: Tapped | None,
        sample_labels: Tensor | None,
    ) -> Tensor:
        """What the answers lack; see `Objective.loss`."""
        assert samples is not None  # noqa: S101 - the loop gives what `samples` returned
        assert sample_labels is not None  # noqa: S101
        if self._margin is None:
            return self._weight * functional.cross_entropy(samples.outputs, sample_labels)
        wanted = samples.outputs.gather(1, sample_labels[:, None])[:, 0]
        others = samples.outputs.scatter(1, sample_labels[:, None], -torch.inf).logsumexp(dim=1)
        return self._weight * functional.relu(self._margin - (wanted - others)).mean()
