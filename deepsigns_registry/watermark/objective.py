"""What a scheme adds to a fine-tuning."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from deepsigns_registry.watermark.batches import in_turn
from deepsigns_registry.watermark.tapped import Tapped, TappedModel

__all__ = ["InTurn", "Objective"]


class Objective(nn.Module, ABC):
    """What a scheme adds to the fine-tuning; its parameters are trained with the model's.

    Its `state_dict` goes into checkpoints: what changes from step to step is a parameter, a
    buffer or `get_extra_state`; what the record holds is a buffer that is not persistent.

    Attributes:
        needs_weight: Whether `loss` reads `batch.weight`, the weight behind the tap.
    """

    needs_weight: bool = False

    @abstractmethod
    def samples(self, step_generator: torch.Generator) -> tuple[Tensor, Tensor] | None:
        """Inputs and labels that are added to this step's batch, or None.

        Args:
            step_generator: The only source of randomness allowed; on the CPU.
        """

    @abstractmethod
    def loss(
        self,
        batch: Tapped,
        batch_labels: Tensor,
        samples: Tapped | None,
        sample_labels: Tensor | None,
    ) -> Tensor:
        """The weighted loss of this step, a scalar.

        Args:
            batch: What the model gave for the training batch.
            batch_labels: int64 [batch], the carrier class of each sample; see `Manifest`.
            samples: What it gave for this objective's samples, if there were any.
            sample_labels: int64 [samples].
        """

    def watch(self, model: TappedModel) -> None:
        """Is shown the model before its first step, or where a run goes on; by default nothing.

        Args:
            model: As the run found it; what a checkpoint holds is loaded after this.
        """

    def settle(self, model: TappedModel, factor: float) -> None:
        """Puts into the weights what no training puts there; by default nothing.

        Called before the first step and after the last.

        Args:
            model: Its parameters may be changed in place.
            factor: By what the scheme is weighed in this run.
        """


class InTurn(Objective):
    """An objective whose samples come in random order, each once before any comes again."""

    def __init__(self) -> None:
        super().__init__()
        self._order = torch.empty(0, dtype=torch.int64)

    def get_extra_state(self) -> Tensor:
        """The samples that have not come yet in this round."""
        return self._order.clone()

    def set_extra_state(self, state: Tensor) -> None:
        """Goes on with this round."""
        self._order = state.clone()

    def next_of(self, samples: int, size: int, step_generator: torch.Generator) -> Tensor:
        """Which samples come in this step: int64 [size]; see `batches.in_turn`."""
        rows, self._order = in_turn(self._order, size, samples, step_generator)
        return rows
