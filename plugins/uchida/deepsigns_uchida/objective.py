"""What the scheme adds to the fine-tuning: the regulariser of the paper's section 3.2."""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from deepsigns_registry.errors import UnmarkableError
from deepsigns_registry.watermark.objective import Objective
from deepsigns_registry.watermark.scheme import SchemeSecret
from deepsigns_registry.watermark.tapped import Tapped

__all__ = ["UchidaObjective"]


class UchidaObjective(Objective):
    """lambda times the binary cross-entropy between sigmoid(X w) and the bits."""

    needs_weight = True
    matrix: Tensor
    bits: Tensor

    def __init__(self, secret: SchemeSecret, strength: float) -> None:
        super().__init__()
        self._strength = strength
        matrix = secret.arrays["matrix"].astype(np.float32)
        bits = secret.arrays["bits"].astype(np.float32)
        self.register_buffer("matrix", torch.from_numpy(matrix), persistent=False)
        self.register_buffer("bits", torch.from_numpy(bits), persistent=False)

    def samples(self, step_generator: torch.Generator) -> None:
        """None: the mark needs no samples of its own; see `Objective.samples`."""

    def loss(
        self,
        batch: Tapped,
        batch_labels: Tensor,  # noqa: ARG002 - the mark is in the weights alone
        samples: Tapped | None,  # noqa: ARG002
        sample_labels: Tensor | None,  # noqa: ARG002
    ) -> Tensor:
        """The regulariser; see `Objective.loss`."""
        if batch.weight is None:
            raise UnmarkableError(
                "uchida: the model shows no weight behind the tap", advice="choose another layer"
            )
        values = batch.weight.mean(dim=0).flatten()
        # A product of matrices would be rounded to bfloat16 where the loop allows it.
        logits = (self.matrix * values).sum(dim=1)
        return self._strength * functional.binary_cross_entropy_with_logits(logits, self.bits)
