"""From a root key, a parent model and the owner's data to a watermark record, before training."""

import secrets
from collections.abc import Callable, Iterable

import numpy as np
import torch

from deepsigns_registry.errors import TamperedError, UnmarkableError
from deepsigns_registry.watermark.data import TrainingData
from deepsigns_registry.watermark.key import KEY_BYTES, RootKey
from deepsigns_registry.watermark.manifest import Manifest
from deepsigns_registry.watermark.record import WatermarkRecord, binding_nonce
from deepsigns_registry.watermark.scheme import Preparation, Scheme
from deepsigns_registry.watermark.schemes import builtin_schemes
from deepsigns_registry.watermark.settings import MarkSettings
from deepsigns_registry.watermark.tapped import TappedModel, run_batched

__all__ = ["Progress", "check_against_parent", "prepare_record"]

Progress = Callable[[float, str], None]


def prepare_record(
    model: TappedModel,
    data: TrainingData,
    root: RootKey,
    settings: MarkSettings,
    *,
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
    schemes: Iterable[Scheme] | None = None,
) -> WatermarkRecord:
    """Derives a watermark's secret; the model is not changed.

    Args:
        model: The unmarked parent, tapped at the layer that will carry the mark.
        data: The owner's data.
        root: A fresh root key.
        settings: Sizes of the secret.
        device: Where the model runs.
        progress: Called with a fraction in [0, 1] and what is being done.
        schemes: The schemes to prepare; white box and black box by default.

    Returns:
        The record, to be sealed before any training.

    Raises:
        DataError: The data holds NaN, wrong labels, or too few samples of a class.
        UnmarkableError: The model cannot carry the mark; names the layer and the remedy.
    """
    report = progress or (lambda _fraction, _message: None)
    place = torch.device(device)
    data = data.validated()
    _check_model(model, data, place)
    report(0.0, "listing the training samples")
    manifest = Manifest.of(data.train)
    chosen = tuple(schemes or builtin_schemes())
    prepared = {}
    for done, scheme in enumerate(chosen):
        report((done + 1) / (len(chosen) + 1), f"deriving the {scheme.name} secret")
        prepared[scheme.name] = scheme.prepare(
            Preparation(
                model=model,
                data=data,
                manifest=manifest,
                subkey=root.subkey(scheme.name),
                device=place,
                options=settings,
            )
        )
    salts = {name: secrets.token_bytes(KEY_BYTES) for name in prepared}
    whitebox = prepared.get("whitebox")
    reference = whitebox.arrays["means"] if whitebox else np.empty((0, 0), dtype=np.float32)
    report(1.0, "secret derived")
    return WatermarkRecord(
        root=root,
        salts=salts,
        nonces={name: binding_nonce(salts[name], prepared[name]) for name in prepared},
        secrets=prepared,
        manifest=manifest,
        tap="",
        reference=reference.astype(np.float32),
    )


def check_against_parent(
    record: WatermarkRecord,
    model: TappedModel,
    data: TrainingData,
    settings: MarkSettings,
    *,
    device: torch.device | str = "cpu",
    schemes: Iterable[Scheme] | None = None,
) -> None:
    """Prepares again from the parent and the data, and compares: what a sceptic does.

    `WatermarkRecord.check` needs neither, but cannot derive again which query candidates were
    rare and what the parent predicted there.

    Raises:
        TamperedError: Another parent, other data, or a secret that was picked by hand.
    """
    again = prepare_record(model, data, record.root, settings, device=device, schemes=schemes)
    for name, secret in again.secrets.items():
        for key, array in secret.arrays.items():
            given = record.secrets[name].arrays[key] if name in record.secrets else None
            exact = not np.issubdtype(array.dtype, np.floating)
            tolerance = 0.0 if exact else 1e-4
            if (
                given is None
                or given.shape != array.shape
                or not np.allclose(given, array, rtol=tolerance, atol=tolerance)
            ):
                raise TamperedError(
                    f"{name} secret: {key} cannot be derived again from this parent and this data",
                    advice="give the parent and the data whose digests the attestation names",
                )


def _check_model(model: TappedModel, data: TrainingData, device: torch.device) -> None:
    sample = data.train.inputs[: min(len(data.train), 64)]
    try:
        outputs, activation = run_batched(model, sample, device)
        run_batched(model, sample[:1], device)
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UnmarkableError(
            f"the model does not accept a batch of shape {sample.shape}: {reason}",
            advice="give the data in the shape that the model was trained on, with any batch size",
        ) from None
    if outputs.shape != (len(sample), data.classes):
        raise UnmarkableError(
            f"the model's output has shape {outputs.shape}, not (batch, {data.classes} classes)",
            advice="mark classifiers with one logit a class, and name all classes of the data",
        )
    if not np.isfinite(outputs).all() or not np.isfinite(activation).all():
        raise UnmarkableError(
            f"the model gives NaN or infinity at its output or at layer '{model.tap}'",
            advice="promote a model that works on its own training data",
        )
    sums = outputs.sum(axis=1)
    if (outputs >= 0).all() and np.allclose(sums, 1, atol=1e-4):
        raise UnmarkableError(
            "the model's outputs are probabilities, not logits",
            advice="register the model without its final softmax",
        )
