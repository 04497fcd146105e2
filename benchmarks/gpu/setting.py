"""The network, the data and the settings that the phases share."""

from dataclasses import dataclass

import numpy as np
import torch

from benchmarks.models import Shape, wide_resnet
from benchmarks.recipes import Recipe, train_owner
from deepsigns_registry.watermark.adapters.eager import EagerTappedModel, choose_tap
from deepsigns_registry.watermark.data import LabelledData, TrainingData
from deepsigns_registry.watermark.key import RootKey
from deepsigns_registry.watermark.settings import MarkSettings
from deepsigns_registry.watermark.whitebox import width_needed

__all__ = ["ROOT", "Setting"]

ROOT = RootKey(bytes(32), bytes(range(32)))
"""The key of every mark made here: the figures are of the method, not of a key."""

_CLASSES = 10
_SIDE = 32
# A class is a pattern of so many fields a side, under noise: hard enough that a network has to
# learn it, easy enough for a few epochs.
_FIELDS = 4
_NOISE = 0.35


@dataclass(frozen=True)
class Setting:
    """One run's size.

    Attributes:
        device: Where everything runs.
        tiny: WRN-10-1 on a few images of 8 x 8, instead of WRN-28-10 on 32 x 32.
    """

    device: torch.device
    tiny: bool

    @property
    def network(self) -> str:
        """Its name in the figures."""
        return "WRN-10-1" if self.tiny else "WRN-28-10"

    @property
    def shape(self) -> Shape:
        """Of an image."""
        side = _SIDE // 4 if self.tiny else _SIDE
        return 3, side, side

    def data(self) -> TrainingData:
        """Images drawn from a fixed seed: float32 [samples, 3, side, side] in [0, 1]."""
        train, validation = (600, 200) if self.tiny else (10_000, 2_000)
        return TrainingData(
            _images(train, 1, self.shape), _images(validation, 2, self.shape), _CLASSES
        ).validated()

    def parent(self, data: TrainingData) -> EagerTappedModel:
        """A network trained on the data and never marked, tapped where `auto` would."""
        torch.manual_seed(0)
        depth, width = (10, 1) if self.tiny else (28, 10)
        module = wide_resnet(self.shape, _CLASSES, depth=depth, width=width)
        recipe = Recipe(batch_size=32 if self.tiny else 128)
        train_owner(
            module,
            data.train,
            recipe,
            epochs=6 if self.tiny else 3,
            seed=0,
            device=self.device,
            mixed_precision=self.device.type == "cuda",
        )
        example = torch.from_numpy(data.train.inputs[:4]).to(self.device)
        width_wanted = width_needed(self.settings(), data.classes)
        return EagerTappedModel(module, choose_tap(module, example, width=width_wanted).tap)

    def settings(self) -> MarkSettings:
        """The product's defaults; less of everything in small."""
        if not self.tiny:
            return MarkSettings()
        return MarkSettings(
            bits=64, queries=100, sources=60, minimum_steps=150, repeats=30, batch_size=32
        )

    def wait(self) -> None:
        """Until everything that was started on the device is done."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def _images(samples: int, seed: int, shape: Shape) -> LabelledData:
    channels, height, width = shape
    fields = np.random.default_rng(0).random((_CLASSES, channels, _FIELDS, _FIELDS))
    patterns = fields.repeat(height // _FIELDS, axis=2).repeat(width // _FIELDS, axis=3)
    random = np.random.default_rng(seed)
    labels = random.permutation(np.arange(samples) % _CLASSES).astype(np.int64)
    noise = random.normal(scale=_NOISE, size=(samples, *shape)).astype(np.float32)
    inputs = patterns.astype(np.float32)[labels] + noise
    return LabelledData(inputs.clip(0, 1), labels)
