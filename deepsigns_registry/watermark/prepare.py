"""From a root key, a parent model and the owner's data to a watermark record, before training."""

import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType

import numpy as np
import torch
from numpy.typing import NDArray

from deepsigns_registry.errors import InapplicableError, TamperedError, UnmarkableError
from deepsigns_registry.watermark.blueprint import Blueprint
from deepsigns_registry.watermark.carriers import Grouping, group_samples
from deepsigns_registry.watermark.data import TrainingData
from deepsigns_registry.watermark.key import (
    KEY_BYTES,
    KEY_VERSION,
    RootKey,
    key_version,
    scheme_key,
)
from deepsigns_registry.watermark.manifest import Manifest
from deepsigns_registry.watermark.record import WatermarkRecord, binding_nonce
from deepsigns_registry.watermark.scheme import Preparation, Scheme, SchemeSecret
from deepsigns_registry.watermark.schemes import builtin_schemes, named_schemes
from deepsigns_registry.watermark.settings import MarkSettings
from deepsigns_registry.watermark.tapped import TappedModel, run_batched

__all__ = ["Progress", "check_against_parent", "prepare_record"]

Progress = Callable[[float, str], None]

# What another processor's sums change in the parent's values, relative and absolute.
_ROUNDING = 1e-4


def prepare_record(
    model: TappedModel,
    data: TrainingData,
    root: RootKey,
    settings: MarkSettings,
    *,
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
    schemes: Iterable[Scheme] | None = None,
    recognisable: bool = True,
    blueprint: Blueprint | None = None,
) -> WatermarkRecord:
    """Derives a watermark's secret; the model is not changed.

    Args:
        model: The unmarked parent, tapped at the layer that will carry the mark.
        data: The owner's data.
        root: A fresh root key.
        settings: Sizes of the secret.
        device: Where the model runs.
        progress: Called with a fraction in [0, 1] and what is being done.
        schemes: The schemes to prepare; by default those of white box and black box that are
            for this kind of model. What is left out is told to `progress`.
        recognisable: See `Preparation`.
        blueprint: Of the parent's exported file, see `Preparation`; None where suspects are no
            files.

    Returns:
        The record, to be sealed before any training.

    Raises:
        DataError: The data holds NaN, wrong labels, or too few samples of a class.
        UnmarkableError: The model cannot carry the mark; names the layer and the remedy.
        InapplicableError: A scheme that was asked for is not for this kind of model.
    """
    report = progress or (lambda _fraction, _message: None)
    place = torch.device(device)
    data = data.validated()
    _check_model(model, data, place)
    report(0.0, "listing the training samples")
    manifest = Manifest.of(data.train)
    grouping = group_samples(model, data.train, manifest.digests, settings, place)
    manifest = manifest.with_labels(grouping.labels)
    known = Preparation(
        model=model,
        data=data,
        manifest=manifest,
        subkey=b"",
        device=place,
        options=settings,
        recognisable=recognisable,
        blueprint=blueprint or Blueprint.empty(),
        from_file=blueprint is not None,
    )
    prepared = _prepared(known, root, schemes, report)
    return _recorded(root, manifest, prepared)


def _prepared(
    known: Preparation,
    root: RootKey,
    schemes: Iterable[Scheme] | None,
    report: Progress,
    given: Mapping[str, SchemeSecret] = MappingProxyType({}),
) -> dict[str, SchemeSecret]:
    """The secret of each scheme; `known` is everything that they share."""
    chosen = tuple(schemes or builtin_schemes())
    prepared: dict[str, SchemeSecret] = {}
    manifest_root = known.manifest.root
    for done, scheme in enumerate(chosen):
        fraction = (done + 1) / (len(chosen) + 1)
        report(fraction, f"deriving the {scheme.name} secret")
        try:
            key = scheme_key(root.subkey(scheme.name), root.owner, manifest_root)
            secret = scheme.prepare(replace(known, subkey=key, given=given.get(scheme.name)))
        except InapplicableError as error:
            if schemes is not None:
                raise
            report(fraction, f"{scheme.name} is left out: {error.message}")
        else:
            prepared[scheme.name] = replace(
                secret, meta={**secret.meta, "key_version": KEY_VERSION}
            )
    report(1.0, "secret derived")
    return prepared


def _recorded(
    root: RootKey, manifest: Manifest, prepared: dict[str, SchemeSecret]
) -> WatermarkRecord:
    salts = {name: secrets.token_bytes(KEY_BYTES) for name in prepared}
    return WatermarkRecord(
        root=root,
        salts=salts,
        nonces={name: binding_nonce(salts[name], prepared[name]) for name in prepared},
        secrets=prepared,
        manifest=manifest,
        tap="",
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
    rare and what the parent predicted there, nor which components its activations form.

    Raises:
        TamperedError: Another parent, other data, or a secret that was picked by hand.
    """
    place = torch.device(device)
    data = data.validated()
    data = _in_order(data, record.manifest)
    listed = Manifest.of(data.train)
    grouping = group_samples(model, data.train, listed.digests, settings, place)
    _check_manifest(record.manifest, listed, grouping)
    known = Preparation(
        model=model,
        data=data,
        manifest=record.manifest,
        subkey=b"",
        device=place,
        options=settings,
        blueprint=record.blueprint,
    )
    found = named_schemes(record.secrets, schemes)
    try:
        again = _prepared(
            known, record.root, found, lambda _fraction, _message: None, record.secrets
        )
    except InapplicableError as error:
        raise _not_derived(f"the record ({error.message})") from None
    for name, secret in again.items():
        _compare(record.secrets[name], secret)


def _compare(given: SchemeSecret, derived: SchemeSecret) -> None:
    """Numbers of a floating type may differ by what rounding does to them, nothing else may.

    A secret of version 0 may lack what later ones hold.
    """
    known, again = ({**secret.arrays, **secret.meta} for secret in (given, derived))
    if not key_version(given.meta):
        again = {name: again[name] for name in again.keys() & known.keys()}
    if known.keys() != again.keys():
        raise _not_derived(f"{given.scheme} secret: its parts")
    for name, value in again.items():
        mine, theirs = np.asarray(value), np.asarray(known[name])
        same = mine.shape == theirs.shape and mine.dtype == theirs.dtype
        if np.issubdtype(mine.dtype, np.floating):
            same = same and np.allclose(theirs, mine, rtol=_ROUNDING, atol=_ROUNDING)
        elif not (same and np.array_equal(theirs, mine)):
            same = False
        if not same:
            raise _not_derived(f"{given.scheme} secret: {name}")


def _in_order(data: TrainingData, manifest: Manifest) -> TrainingData:
    """The data in the order of the manifest, as far as its samples are the same."""
    listed = Manifest.of(data.train)
    if len(listed) != len(manifest):
        return data
    # The groups of data without classes are not known yet; equal samples share theirs.
    classes = data.task == "classification"
    ours, theirs = (
        np.lexsort(
            [part.labels if classes else np.zeros(len(part)), part.digests.copy().view("S32")[:, 0]]
        )
        for part in (listed, manifest)
    )
    rows = np.empty_like(ours)
    rows[theirs] = ours
    train = replace(data.train, inputs=data.train.inputs[rows], labels=data.train.labels[rows])
    return replace(data, train=train)


def _check_manifest(manifest: Manifest, listed: Manifest, grouping: Grouping) -> None:
    if not np.array_equal(manifest.digests, listed.digests):
        raise _not_derived("manifest: its samples")
    if not grouping.agrees(manifest.labels):
        raise _not_derived("manifest: its carrier classes")


def _not_derived(what: str) -> TamperedError:
    return TamperedError(
        f"{what} cannot be derived again from this parent and this data",
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
    _check_outputs(outputs, data)
    if not np.isfinite(outputs).all() or not np.isfinite(activation).all():
        raise UnmarkableError(
            f"the model gives NaN or infinity at its output or at layer '{model.tap}'",
            advice="promote a model that works on its own training data",
        )
    for values, what, advice in (
        (outputs, "the model's output is", "promote a model that was trained"),
        (activation, f"layer '{model.tap}' is dead: it is", "choose another hidden layer"),
    ):
        if len(sample) > 1 and not np.ptp(values, axis=0).any():
            raise UnmarkableError(f"{what} the same for every sample", advice=advice)


def _check_outputs(outputs: NDArray[np.float32], data: TrainingData) -> None:
    rows, width = len(outputs), data.classes
    if data.task != "classification":
        if outputs.size != rows * width or outputs.ndim > 2:
            raise UnmarkableError(
                f"the model's output has shape {outputs.shape}, not (batch, {width})",
                advice="mark regressors and embedding models with one vector a sample",
            )
        return
    if outputs.shape != (rows, width):
        raise UnmarkableError(
            f"the model's output has shape {outputs.shape}, not (batch, {width} classes)",
            advice="mark classifiers with one logit a class, and name all classes of the data",
        )
