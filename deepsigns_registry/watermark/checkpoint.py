"""The state of a fine-tuning after any of its steps, as bytes, and what it belongs to."""

import hashlib
import io
import json
import pickle
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from deepsigns_registry.errors import CheckpointError
from deepsigns_registry.watermark.data import TrainingData
from deepsigns_registry.watermark.expand import encode
from deepsigns_registry.watermark.record import WatermarkRecord
from deepsigns_registry.watermark.settings import MarkSettings
from deepsigns_registry.watermark.tapped import TappedModel

__all__ = ["fingerprint", "pack", "unpack"]

_FORMAT = "deepsigns-registry/checkpoint/v0"


def fingerprint(
    model: TappedModel,
    data: TrainingData,
    record: WatermarkRecord | None,
    settings: MarkSettings,
    course: object = None,
) -> str:
    """SHA-256 over everything that decides a fine-tuning, hexadecimal.

    Args:
        model: The parent, before training.
        data: The owner's data.
        record: The secret that is embedded, or None.
        settings: The fine-tuning.
        course: How it differs from the settings; its `repr` says all of it.
    """
    commitments = record.commitments() if record else {}
    described = [_FORMAT, model.tap, commitments, asdict(settings), repr(course)]
    whole = hashlib.sha256(encode(json.dumps(described, sort_keys=True).encode()))
    samples = {"inputs": data.train.inputs, "labels": data.train.labels}
    tensors: dict[str, Tensor] = {name: torch.from_numpy(part) for name, part in samples.items()}
    for name, value in (*tensors.items(), *model.state_dict().items()):
        plain = value.detach().cpu().contiguous()
        whole.update(encode(name.encode(), f"{plain.dtype} {tuple(plain.shape)}".encode()))
        whole.update(plain.reshape(-1).view(torch.uint8).numpy().data)
    return whole.hexdigest()


def pack(state: Mapping[str, Any], belongs_to: str) -> bytes:
    """A state as bytes that `torch.load(..., weights_only=True)` reads.

    Args:
        state: Tensors, numbers, strings, and lists and dictionaries of them.
        belongs_to: The fingerprint.

    Examples:
        >>> unpack(pack({"step": 7}, "aa"), "aa")["step"]
        7
    """
    buffer = io.BytesIO()
    torch.save({"format": _FORMAT, "fingerprint": belongs_to, **state}, buffer)
    return buffer.getvalue()


def unpack(content: bytes, belongs_to: str) -> dict[str, Any]:
    """Reads what `pack` wrote.

    Raises:
        CheckpointError: The bytes are no checkpoint, or one of another fine-tuning.

    Examples:
        >>> unpack(pack({"step": 7}, "aa"), "bb")
        Traceback (most recent call last):
        deepsigns_registry.errors.CheckpointError: the checkpoint belongs to another model, ...
    """
    try:
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise CheckpointError(
            f"this is no checkpoint ({type(error).__name__})", advice="start without it"
        ) from None
    if not isinstance(state, dict) or state.get("format") != _FORMAT:
        raise CheckpointError("this is no checkpoint", advice="start without it")
    if state.get("fingerprint") != belongs_to:
        raise CheckpointError(
            "the checkpoint belongs to another model, record, data or settings",
            advice="start without it",
        )
    return state
