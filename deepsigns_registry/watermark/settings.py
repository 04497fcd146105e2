"""How a model is marked: sizes of the secret, weights of the losses, the fine-tuning."""

from dataclasses import dataclass
from typing import Literal, get_args

from deepsigns_registry.errors import ConfigurationError

__all__ = ["MarkSettings", "Precision"]

Precision = Literal["auto", "float32", "bfloat16"]


@dataclass(frozen=True)
class MarkSettings:
    """Everything that preparation and embedding can be told.

    Attributes:
        bits: Length of the signature in all; shared equally by the carrier classes.
        carriers: Number of carrier classes (fewer when the model has fewer classes).
        triggers_per_class: Trigger samples of each carrier class, at least 50.
        queries: Number of secret queries, all counted.
        sources: Training samples that the queries are blended from.
        epochs: Passes over the training data.
        minimum_steps: Small data sets are passed over more often, until this many steps.
        learning_rate: Peak rate of Adam; it falls to zero along a cosine.
        batch_size: Training samples a step.
        repeats: How often each trigger and query is seen in all, about.
        lambda1: Weight of loss1 (activations on their centres, centres apart).
        lambda2: Weight of loss2 (signature bits at the centres and at the triggers).
        lambda_queries: Weight of the cross-entropy of the queries.
        margin: Distance from the threshold that loss2 asks for, in standard deviations of a
            random projection of the unmarked parent's class means.
        seed: Order of batches; the secret never depends on it.
        precision: Of the forward passes; losses and weights are float32. `auto` is bfloat16 on
            CUDA hardware that computes with it, float32 elsewhere.
        channels_last: Lay images out by position while training, where the model convolves
            them: faster, and the same up to rounding.
    """

    bits: int = 128
    carriers: int = 4
    triggers_per_class: int = 50
    queries: int = 400
    sources: int = 400
    epochs: int = 5
    minimum_steps: int = 1000
    learning_rate: float = 2e-3
    batch_size: int = 64
    repeats: int = 50
    lambda1: float = 0.02
    lambda2: float = 2.0
    lambda_queries: float = 0.7
    margin: float = 2.0
    seed: int = 0
    precision: Precision = "auto"
    channels_last: bool = True

    def __post_init__(self) -> None:
        bounds = {
            "bits": 64,
            "carriers": 2,
            "triggers_per_class": 50,
            "queries": 100,
            "sources": 20,
            "epochs": 1,
            "minimum_steps": 1,
            "batch_size": 2,
            "repeats": 1,
        }
        for name, least in bounds.items():
            if getattr(self, name) < least:
                raise ConfigurationError(
                    f"{name} is {getattr(self, name)}", advice=f"use at least {least}"
                )
        if self.precision not in get_args(Precision):
            raise ConfigurationError(
                f"precision is {self.precision!r}",
                advice=f"use one of: {', '.join(get_args(Precision))}",
            )
