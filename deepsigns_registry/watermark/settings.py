"""How a model is marked: sizes of the secret, weights of the losses, the fine-tuning."""

import math
from dataclasses import dataclass
from typing import Literal, get_args

from deepsigns_registry.errors import ConfigurationError
from deepsigns_registry.watermark.queries import FAMILIES

__all__ = ["MarkSettings", "Precision"]

Precision = Literal["auto", "float32", "bfloat16"]

# Of a signature whose length nobody asked for.
_LEAST_BITS = 128
_MOST_CARRIERS = 10


@dataclass(frozen=True)
class MarkSettings:
    """Everything that preparation and embedding can be told.

    Attributes:
        bits: Length of the signature in all, shared equally by the carrier classes; None for 128,
            and more where the layer has room for them and the classes many samples.
        carriers: Number of carrier classes (fewer when the model has fewer classes), or the least
            of them where `bits` is None.
        triggers_per_class: Trigger samples of each carrier class, at least 50.
        queries: Number of secret queries, all counted.
        sources: Training samples that the queries are made from, at least 20.
        epochs: Passes over the training data.
        minimum_steps: Small data sets are passed over more often, until this many steps.
        learning_rate: Peak rate of Adam; it falls to zero along a cosine.
        batch_size: Training samples a step.
        repeats: How often each trigger and query is seen in all, about.
        lambda1: Weight of loss1 (activations on their centres, centres apart).
        lambda2: Weight of loss2 (signature bits at the centres and at the triggers).
        lambda_queries: Weight of the queries' loss.
        margin: Distance from the threshold that loss2 asks for, in standard deviations of a
            random projection of the unmarked parent's class means; less where a carrier has
            fewer than 16 neurons a bit.
        query_family: What queries look like; see `queries`.
        query_margin: Logits by which a query's label must lead before its loss ends; None for
            the cross-entropy, which costs less accuracy and withstands less.
        cells_probes: Ordinary samples that a suspect is asked by the scheme `cells`.
        cells_pool: Other ordinary samples whose outputs it moves while marking.
        cells_margin: How far it moves logits along each direction, in standard deviations over
            samples; outputs of other tasks by 0.015 of their own deviation for each unit. Beyond
            1.5 samples move on which classes are close, too: 4 leaves a trace in a student that
            learns from the labels alone.
        lambda_cells: Weight of its loss, which is relative to the shifts of the default margin.
        warm_up: Share of the steps in which the learning rate rises, in [0, 1).
        spread_strength: Standard deviation of the pattern in the weights, in those of each
            matrix; more, up to 0.1, where a model has few weights.
        stealth: Whether the pattern in the weights must not be seen by somebody who knows the
            method: it is weaker, and left out where it would show.
        pruning_masks: Hardening: every other step sees the model with its smallest weights
            pruned, a random share of each layer up to this one, in [0, 1). Costs accuracy and
            time; 0 is off.
        weight_noise: Hardening: every step sees the model with this much Gaussian noise on each
            weight, in standard deviations of its tensor; 0 is off.
        seed: Order of batches; the secret never depends on it.
        precision: Of the forward passes; losses and weights are float32. `auto` is bfloat16 on
            CUDA hardware that computes with it, float32 elsewhere.
        channels_last: Lay images out by position while training, where the model convolves
            them: faster, and the same up to rounding.
    """

    bits: int | None = None
    carriers: int = 4
    triggers_per_class: int = 50
    queries: int = 400
    sources: int = 400
    epochs: int = 1
    minimum_steps: int = 900
    learning_rate: float = 1.5e-3
    batch_size: int = 64
    repeats: int = 40
    lambda1: float = 0.01
    lambda2: float = 0.1
    lambda_queries: float = 0.2
    margin: float = 5.0
    query_family: str = "salt"
    query_margin: float | None = None
    cells_probes: int = 2000
    cells_pool: int = 5000
    cells_margin: float = 1.5
    lambda_cells: float = 0.2
    warm_up: float = 0.1
    spread_strength: float = 0.05
    stealth: bool = False
    pruning_masks: float = 0.0
    weight_noise: float = 0.0
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
            "cells_probes": 100,
            "cells_pool": 100,
            "epochs": 1,
            "minimum_steps": 1,
            "batch_size": 2,
            "repeats": 1,
        }
        for name, least in bounds.items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise ConfigurationError(f"{name} is {value}", advice=f"use at least {least}")
        for name in ("warm_up", "pruning_masks"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigurationError(
                    f"{name} is {getattr(self, name)}", advice="use a share from 0 to below 1"
                )
        self._check_amounts()
        if self.query_family not in FAMILIES:
            raise ConfigurationError(
                f"query_family is '{self.query_family}'",
                advice=f"use one of: {', '.join(FAMILIES)}",
            )
        if self.precision not in get_args(Precision):
            raise ConfigurationError(
                f"precision is {self.precision!r}",
                advice=f"use one of: {', '.join(get_args(Precision))}",
            )

    @property
    def least_bits(self) -> int:
        """The length of the signature, or the one that a layer must have room for.

        Examples:
            >>> MarkSettings().least_bits, MarkSettings(bits=64).least_bits
            (128, 64)
        """
        return _LEAST_BITS if self.bits is None else self.bits

    @property
    def most_carriers(self) -> int:
        """How many carrier classes there are in a wide layer, with samples in plenty.

        Examples:
            >>> MarkSettings().most_carriers, MarkSettings(bits=128).most_carriers
            (10, 4)
        """
        return self.carriers if self.bits is not None else max(self.carriers, _MOST_CARRIERS)

    def _check_amounts(self) -> None:
        for name in (
            *("learning_rate", "margin", "query_margin", "weight_noise", "spread_strength"),
            *("lambda1", "lambda2", "lambda_queries", "lambda_cells", "cells_margin"),
        ):
            value = getattr(self, name)
            # Only a logit margin may be missing.
            if value is not None and not 0 <= value < math.inf:
                raise ConfigurationError(
                    f"{name} is {value}", advice="use a finite number of at least 0"
                )
        if not self.learning_rate:
            raise ConfigurationError("learning_rate is 0", advice="use more, such as 0.0015")
