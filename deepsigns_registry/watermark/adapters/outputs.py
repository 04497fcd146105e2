"""What a classifier's outputs are: logits, or what its last layer makes of them.

Marking works on logits. Of a final softmax or sigmoid the input is taken, where an adapter finds
it; of outputs that are probabilities in another way, the logarithm.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from deepsigns_registry.watermark.task import are_probabilities

__all__ = ["give_probabilities", "log_probabilities"]

_ROWS = 8


def give_probabilities(
    run: Callable[[Tensor], Tensor], row: Sequence[int], like: Tensor | None
) -> bool:
    """Whether a model's outputs are probabilities, found by running it on a few random rows.

    Args:
        run: Maps inputs [batch, ...] to outputs; run without gradients.
        row: Shape of one input.
        like: A parameter, for the inputs' type and device; None for float32 on the CPU.
    """
    noise = torch.randn(_ROWS, *row, generator=torch.Generator().manual_seed(0))
    inputs = noise if like is None else noise.to(like)
    with torch.no_grad():
        try:
            outputs = run(inputs)
        except IndexError:
            # Numbers of tokens are not negative, and a small one is in every vocabulary.
            outputs = run(inputs.abs())
    if outputs.ndim != 2 or outputs.shape[1] < 2:
        return False
    return are_probabilities(outputs.float().cpu().numpy())


def log_probabilities(outputs: Tensor) -> Tensor:
    """The logarithm of probabilities, which is a model's logits up to a constant in each row.

    Examples:
        >>> logits = torch.tensor([[0.0, 1.0, -2.0]])
        >>> found = log_probabilities(logits.softmax(dim=1))
        >>> bool(torch.allclose(found - found[0, 0], logits))
        True
    """
    return outputs.clamp_min(torch.finfo(outputs.dtype).tiny).log()
