"""How the pattern gets into the weights: added before the training, kept up after it."""

import torch
from torch import Tensor

from deepsigns_registry.watermark.objective import Objective
from deepsigns_registry.watermark.spread.hidden import Reach
from deepsigns_registry.watermark.spread.pattern import Carrier, Floats
from deepsigns_registry.watermark.tapped import Tapped, TappedModel

__all__ = ["SpreadObjective"]


class SpreadObjective(Objective):
    """Adds no samples and no loss.

    Added before the first step, the pattern is a small noise that the training makes good; what
    the training took from it is given back after the last step. Hidden, it is added after the last
    step alone, and only where it is not seen: the model differs from one that was trained without
    a mark by nothing else.

    Args:
        carriers: The matrices.
        patterns: float32 [rows, columns] for each.
        strength: Standard deviation of what is added, in those of the matrix.
        hidden: Whether it must not be seen; see `hidden`.
    """

    def __init__(
        self,
        carriers: list[Carrier],
        patterns: list[Floats],
        strength: float,
        *,
        hidden: bool = False,
    ) -> None:
        super().__init__()
        self._carriers, self._strength = carriers, strength
        self.reach = Reach([each.matrix.name for each in carriers]) if hidden else None
        self._patterns = [
            torch.from_numpy(pattern * carrier.signs[:, None])
            for carrier, pattern in zip(carriers, patterns, strict=True)
        ]

    def watch(self, model: TappedModel) -> None:
        """See `Objective.watch`."""
        if self.reach is not None:
            self.reach.watch(model)

    def samples(self, step_generator: torch.Generator) -> None:
        """None; see `Objective.samples`."""

    def loss(
        self,
        batch: Tapped,
        batch_labels: Tensor,  # noqa: ARG002 - the weights alone matter
        samples: Tapped | None,  # noqa: ARG002
        sample_labels: Tensor | None,  # noqa: ARG002
    ) -> Tensor:
        """Nothing; see `Objective.loss`."""
        if self.reach is not None:
            self.reach.look(batch.outputs)
        return batch.outputs.new_zeros(())

    def settle(self, model: TappedModel, factor: float) -> None:
        """Brings the pattern in the weights up to its strength; see `Objective.settle`."""
        parameters = dict(model.named_parameters())
        masks = None if self.reach is None else self.reach.masks()
        if masks is not None:
            # A stronger one would be seen.
            factor = min(factor, 1.0)
        with torch.no_grad():
            for place, (carrier, pattern) in enumerate(
                zip(self._carriers, self._patterns, strict=True)
            ):
                parameter = parameters[carrier.matrix.name]
                rows = carrier.rows(parameter)
                drawn = pattern.to(device=rows.device, dtype=rows.dtype)
                if masks is not None:
                    drawn = drawn * carrier.rows(masks[place])
                wanted = factor * self._strength * rows.square().mean().sqrt()
                # Nothing is added where no weight was reached, as before the first step.
                length = drawn.square().sum().clamp(min=torch.finfo(drawn.dtype).tiny)
                lacking = (wanted - (rows * drawn).sum() / length).clamp(min=0)
                if masks is not None:
                    # Where chance has left less than nothing, what is missing is left out.
                    lacking = torch.minimum(lacking, wanted)
                added = lacking * drawn
                # Rows may be a copy, as of a convolution whose channels are laid out last.
                added = added.T if carrier.matrix.transposed else added
                parameter.add_(added.reshape(parameter.shape))
