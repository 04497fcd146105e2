"""Whether features that the parent reads are missing from the data: constant where they varied."""

import numpy as np
import torch
from numpy.typing import NDArray

from deepsigns_registry.retraining.fitness.exact import MATTERS, RATE, least_share
from deepsigns_registry.retraining.fitness.example import Comparison
from deepsigns_registry.retraining.fitness.finding import Finding
from deepsigns_registry.retraining.fitness.seen import Answered, chosen_rows
from deepsigns_registry.watermark.tapped import TappedModel, run_batched

__all__ = ["judge_constant"]

_TRIED = 1_500


def judge_constant(
    model: TappedModel,
    seen: Answered,
    example: NDArray[np.float32] | None,
    compared: Comparison | None,
    device: torch.device,
) -> list[Finding]:
    """Refuses data in which features are constant that vary in the example and decide answers.

    Two things are proven: that rows of the example stand in the data but for those features, or
    that rows of the data's own distribution would not all be as odd in it as the example's, at
    `exact.RATE`; and that with the example's values in those features
    the classifier answers otherwise, in a share of the samples that matters. A feature that the
    parent never looks at may be as constant as it likes.

    Args:
        model: The unmarked parent, a classifier.
        seen: What it answers.
        example: float32 [rows, ...], the version's input example.
        compared: What it says of the data.
        device: Where the model runs.
    """
    if example is None or compared is None or not compared.constant:
        return []
    if not compared.partly and (compared.made_up or compared.chance > RATE):
        return []
    rows = chosen_rows(len(seen.inputs), _TRIED)
    flat = seen.inputs.reshape(len(seen.inputs), -1)
    still = flat.min(axis=0) == flat.max(axis=0)
    filled = flat[rows]
    donors = np.random.default_rng(0).integers(0, len(example), len(rows))
    filled[:, still] = example.reshape(len(example), -1)[donors][:, still]
    outputs = run_batched(model, filled.reshape(len(rows), *seen.inputs.shape[1:]), device)[0]
    changed = int((outputs.argmax(axis=1) != seen.answers[rows]).sum())
    if least_share(changed, len(rows)) <= MATTERS:
        return []
    return [
        Finding(
            "lost-features",
            refuses=True,
            message=f"data: {compared.constant} features are constant that vary in the version's "
            f"input example, and with its values there the parent answers {changed} of "
            f"{len(rows)} samples otherwise: its accuracy of {seen.right.mean():.3f} is on data "
            "that lacks them",
            advice="give every column that the version was trained with",
        )
    ]
