"""Overwriting: the thief embeds a mark of their own, with the same method and another key."""

import copy
import hashlib
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import torch

from deepsigns_registry.attacks.attack import Progress
from deepsigns_registry.attacks.retap import retapped
from deepsigns_registry.attacks.strength import parse_epochs
from deepsigns_registry.attacks.training import as_tensor, randomness, trainable
from deepsigns_registry.errors import CouldNotCheckError, UnmarkableError
from deepsigns_registry.watermark.data import LabelledData, TrainingData
from deepsigns_registry.watermark.embed import embed
from deepsigns_registry.watermark.key import RootKey
from deepsigns_registry.watermark.prepare import prepare_record
from deepsigns_registry.watermark.record import WatermarkRecord
from deepsigns_registry.watermark.scheme import Scheme
from deepsigns_registry.watermark.settings import MarkSettings
from deepsigns_registry.watermark.tapped import TappedModel
from deepsigns_registry.watermark.whitebox import width_needed

__all__ = ["Overwrite", "thief_root"]

# Signatures that a thief tries, longest first: a narrow layer carries only short ones.
_BITS = (1280, 640, 320, 128, 96, 64)
_EXAMPLES = 16
# Preparing is short beside the embedding.
_PREPARED = 0.05


class Overwrite:
    """Embedding of a second mark by `watermark.embed`; the strength is its number of epochs.

    The thief knows the method and not our key: the key is theirs, the tap the one that
    `layer = "auto"` chooses for the thief's settings, which is where an owner who left that
    setting alone, and asked for as many bits, has the mark.

    Args:
        settings: Of the thief's embedding; the epochs are the strength, and the length of the
            signature is shortened for a layer too narrow for it.
        schemes: Which schemes the thief embeds; white box and black box by default.

    Examples:
        >>> Overwrite().parse("5")
        5.0
    """

    name = "overwrite"

    def __init__(
        self, *, settings: MarkSettings | None = None, schemes: Iterable[Scheme] | None = None
    ) -> None:
        self._settings = settings or MarkSettings()
        self._schemes = None if schemes is None else tuple(schemes)

    def parse(self, strength: str) -> float:
        """Reads a number of epochs.

        Raises:
            ConfigurationError: It is no whole number from 1 to 1000.
        """
        return parse_epochs(self.name, strength)

    def apply(
        self,
        model: TappedModel,
        strength: float,
        data: LabelledData,
        *,
        seed: int,
        progress: Progress | None = None,
    ) -> TappedModel:
        """Marks a copy, on the device where the model is; see `Attack.apply`.

        Raises:
            DataError: The data is not what the model was made for, or too little.
            CouldNotCheckError: The model cannot carry another mark.
        """
        attacked = copy.deepcopy(model).eval()
        device = trainable(attacked, self.name)[0].device
        report = progress or (lambda _share, _message: None)
        try:
            examples = as_tensor(data.inputs[:_EXAMPLES], np.float32).to(device)
            with torch.no_grad():
                classes = attacked(examples).outputs.shape[-1]
            # A layer too narrow for these bits gets fewer; preparing says when even those fail.
            width = width_needed(self._settings, classes)._replace(least=1)
            with retapped(attacked, examples, self.name, width=width) as marked:
                training = TrainingData(data, data, classes)
                settings = replace(self._settings, epochs=int(strength), seed=seed)
                record, settings = self._prepared(marked, training, settings, device)
                with randomness(seed, device):
                    embed(
                        marked,
                        training,
                        record,
                        settings,
                        device=device,
                        progress=lambda share, message: report(
                            _PREPARED + (1 - _PREPARED) * share, message
                        ),
                        schemes=self._schemes,
                    )
        except UnmarkableError as error:
            raise CouldNotCheckError(
                f"attack {self.name}: {error.message}", advice=error.advice
            ) from error
        return attacked.eval()

    def _prepared(
        self, model: TappedModel, data: TrainingData, settings: MarkSettings, device: torch.device
    ) -> tuple[WatermarkRecord, MarkSettings]:
        """The thief's secret, of the longest signature that the layer carries."""
        root = thief_root(settings.seed)
        shorter = [bits for bits in _BITS if bits < settings.least_bits]
        for bits in (settings.bits, *shorter):
            chosen = replace(settings, bits=bits)
            try:
                record = prepare_record(
                    model,
                    data,
                    root,
                    chosen,
                    device=device,
                    schemes=self._schemes,
                    recognisable=False,
                )
            except UnmarkableError as error:
                refusal = error
            else:
                return record, chosen
        raise refusal


def thief_root(seed: int) -> RootKey:
    """The thief's key: as different from ours as any, and the same for the same seed.

    Examples:
        >>> thief_root(1) == thief_root(1), thief_root(1) == thief_root(2)
        (True, False)
    """
    secret = hashlib.sha256(f"thief's secret {seed}".encode()).digest()
    return RootKey(secret, hashlib.sha256(b"thief").digest())
