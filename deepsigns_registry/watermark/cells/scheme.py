"""The scheme `cells`: a black box on natural inputs.

Queries that look like nothing else can be filtered, and a student never sees them. Here the key
draws a sign for each carrier (see `carriers`), and marking moves the logits of ordinary
samples a little along the carriers, to the side of their signs. Reading asks ordinary samples that
the marking did not use, and counts on which side the suspect's answers lie beyond the parent's.
There is nothing to filter, and a student learns it with the rest of the answers.

The signs are drawn from the key and from everything that a claimant could invent: carriers,
parent's answers, samples. For a suspect that does not depend on the key they are independent fair
signs, whatever its answers, so that the weighted sum of signs has the null of `sign_sum`.
"""

import hashlib
import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from deepsigns_registry.errors import (
    CouldNotCheckError,
    DataError,
    InapplicableError,
    TamperedError,
)
from deepsigns_registry.watermark.cells.carriers import (
    MOST_CELLS,
    Whitening,
    carriers_of,
    cells_of,
    contrasted_classes,
)
from deepsigns_registry.watermark.cells.reading import (
    carrier_weights,
    class_residual,
    vector_residual,
)
from deepsigns_registry.watermark.data import TrainingData
from deepsigns_registry.watermark.evidence import SignSum
from deepsigns_registry.watermark.expand import DOMAIN, Stream, encode
from deepsigns_registry.watermark.interface import Ordinary
from deepsigns_registry.watermark.key import purpose_key
from deepsigns_registry.watermark.manifest import Manifest, sample_digest
from deepsigns_registry.watermark.scheme import (
    Answers,
    Fitting,
    Preparation,
    Probes,
    SchemeSecret,
)
from deepsigns_registry.watermark.sign_sum import log10_sign_sum

if TYPE_CHECKING:
    from deepsigns_registry.watermark.objective import Objective

__all__ = ["Cells"]

_LEAST_SAMPLES = 100
# Values of the probes, which the record holds: 128 MiB.
_MOST_VALUES = 1 << 25
# Signs that all stand as they were drawn give log10 p of -0.3 each; some two thirds do.
_LEAST_SIGNS = 100
# The contrasts of each class are rows of as many values: 117 MB of 2,048 classes.
_MOST_CLASSES = 2048
_COMPONENTS = 12
_WIDTHS = (2, 4, 8)
_SAMPLES_PER_COMPONENT = 8
_DEFAULT_MARGIN = 1.5
# Logits from the predicted class to the next at which outputs move by the whole margin.
_MARGIN_PER_GAP = 3.0


class Cells:
    """Secret signs of small shifts, on ordinary samples.

    Args:
        least_probes: Samples that have to be asked, at least.
        least_samples: Samples that have to be asked and trained on, at least.
    """

    name = "cells"
    needs_activation = False
    needs_weight = False

    def __init__(
        self, *, least_probes: int = _LEAST_SAMPLES, least_samples: int = 2 * _LEAST_SAMPLES
    ) -> None:
        self._least_probes, self._least_samples = least_probes, least_samples

    @classmethod
    def where_data_is_plenty(cls) -> "Cells":
        """As it is embedded when nobody asked for it.

        Little data pays for it: 28 models of `benchmarks ordinary`, one seed, lost 0.29 points on
        the mean where those with enough classes had it, and 0.12 where none had.
        """
        return cls(least_probes=1000, least_samples=5000)

    def prepare(self, preparation: Preparation) -> SchemeSecret:
        """Derives samples, carriers and signs; see `Scheme.prepare`."""
        data, options, given = preparation.data, preparation.options, preparation.given
        _check_classes(data)
        probes, pool = _split(preparation, self._least_probes, self._least_samples)
        outputs, activation = preparation.run(data.train.inputs[np.concatenate([probes, pool])])
        outputs = outputs.reshape(len(outputs), -1)
        groups = preparation.manifest.labels[np.concatenate([probes, pool])]
        classification = data.task == "classification"
        kinds = outputs.argmax(axis=1).astype(np.int64) if classification else groups
        cells, asked = cells_of(kinds), len(probes)
        known = given.arrays if given else {}
        earlier = None
        if known:
            earlier = Whitening(known["means"].astype(np.float32), known["maps"].astype(np.float32))
        whitening = Whitening.fit(
            activation[asked:],
            cells[asked:],
            min(_COMPONENTS, len(pool) // (_SAMPLES_PER_COMPONENT * len(np.unique(cells)))),
            given=earlier,
        )
        features = whitening.features(activation, cells)
        arrays: dict[str, NDArray[np.generic]] = {
            "means": whitening.means,
            "maps": whitening.maps,
            "scales": np.ones(outputs.shape[1], dtype=np.float32),
            "direction_key": _as_array(purpose_key(preparation.subkey, "directions")),
            "sign_key": _as_array(purpose_key(preparation.subkey, "signs")),
        }
        if classification:
            arrays["contrasted"] = contrasted_classes(
                outputs[asked:], given=known.get("contrasted")
            )
        else:
            arrays["scales"] = np.maximum(outputs[asked:].std(axis=0), 1e-12)
        for part, rows, which in (
            ("probe", probes, slice(None, asked)),
            ("pool", pool, slice(asked, None)),
        ):
            arrays[f"{part}_indices"] = rows
            arrays[f"{part}_groups"] = groups[which]
            arrays[f"{part}_features"] = features[which]
            arrays[f"{part}_outputs"] = outputs[which]
        arrays["probe_samples"] = data.train.inputs[probes]
        arrays["pool_digests"] = preparation.manifest.digests[pool]
        margin = float(options.cells_margin)
        meta = {"task": data.task, "margin": margin}
        if classification and margin > _DEFAULT_MARGIN:
            # A larger margin is the same pattern, larger, up to the classes that decide.
            meta["gap_share"] = margin / _MARGIN_PER_GAP
        secret = SchemeSecret(self.name, meta, arrays)
        _check_useful(secret)
        return secret

    def objective(self, secret: SchemeSecret, fitting: Fitting) -> "Objective":
        """Shifts towards the signs; see `Scheme.objective`.

        Raises:
            DataError: The data does not hold a sample that the secret trains on.
        """
        from deepsigns_registry.watermark.cells.objective import CellsObjective

        options, pool = fitting.options, carriers_of(secret, "pool")
        signs = _signs(secret)[pool.cells]
        towards = np.einsum("nk,nkj->nj", pool.features, signs, dtype=np.float32)
        spread = pool.sizes / np.sqrt(pool.features.shape[1])
        return CellsObjective(
            inputs=_pool_samples(secret, fitting.samples.inputs),
            outputs=pool.outputs,
            scales=secret.arrays["scales"].astype(np.float32),
            directions=pool.directions,
            kinds=pool.kinds,
            wanted=(spread[:, None] * towards).astype(np.float32),
            weight=options.lambda_cells
            * max(1.0, float(str(secret.meta["margin"])) / _DEFAULT_MARGIN) ** 2,
            sample=options.batch_size,
        ).to(fitting.device)

    def probes(self, secret: SchemeSecret) -> Probes:
        """Ordinary samples that the marking does not use."""
        return Probes(secret.arrays["probe_samples"].astype(np.float32, copy=False))

    def ordinary(self, secret: SchemeSecret) -> Ordinary | None:
        """The same samples: signs are drawn from the parent's outputs for all of them.

        See `HoldsOrdinary.ordinary`.
        """
        outputs = secret.arrays["probe_outputs"].astype(np.float32, copy=False)
        return Ordinary(self.probes(secret).inputs, outputs)

    def evidence(self, secret: SchemeSecret, answers: Answers) -> SignSum:
        """The weighted sum of signs; see `Scheme.evidence`."""
        part = carriers_of(secret, "probe")
        outputs, parent = answers.outputs, part.outputs
        outputs = outputs.reshape(len(outputs), -1)
        classification = secret.meta["task"] == "classification"
        wide = outputs.shape == parent.shape
        if not wide and not (classification and outputs.shape == (len(parent), 1)):
            raise CouldNotCheckError(
                f"cells: the suspect answered with shape {answers.outputs.shape} instead of "
                f"{parent.shape}",
                advice="this suspect has other outputs than the marked model",
            )
        read = class_residual if classification else vector_residual
        residual = read(outputs, parent).values
        if not classification:
            residual = residual / secret.arrays["scales"].astype(np.float64)
        signs = _signs(secret)
        weights = carrier_weights(residual, part, len(signs))
        return SignSum(
            scheme=self.name,
            trials=signs.size,
            matches=int((weights * signs > 0).sum()),
            bound=log10_sign_sum(weights.ravel(), signs.ravel()),
        )

    def check(self, secret: SchemeSecret, subkey: bytes, manifest: Manifest) -> None:
        """Derives samples and keys again; see `Scheme.check`.

        What the parent answers and which features it has needs the parent:
        `check_against_parent` prepares again and compares. Whoever invents them draws all signs
        anew.
        """
        arrays = secret.arrays
        counts = [len(arrays[f"{part}_indices"]) for part in ("probe", "pool")]
        if min(counts) < _LEAST_SAMPLES:
            raise _forged(f"only {min(counts)} samples")
        chosen = manifest.lowest(purpose_key(subkey, "samples"), sum(counts))
        if len(chosen) != sum(counts):
            raise _forged("more samples than the manifest lists")
        for part, rows in zip(("probe", "pool"), np.split(chosen, counts[:1]), strict=True):
            if not np.array_equal(rows, arrays[f"{part}_indices"]):
                raise _forged("the samples are not those that the key chooses")
            if not np.array_equal(manifest.labels[rows], arrays[f"{part}_groups"]):
                raise _forged("the groups are not those of the manifest")
        _check_samples(secret, manifest)
        for name in ("direction", "sign"):
            if purpose_key(subkey, f"{name}s") != arrays[f"{name}_key"].tobytes():
                raise _forged(f"the {name}s are not those of the key")
        _check_numbers(secret)


def _split(
    preparation: Preparation, least_probes: int, least_samples: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The samples that are asked and those that are trained on, chosen by the key."""
    options, train = preparation.options, preparation.data.train
    most = _MOST_VALUES // max(1, train.inputs[0].size)
    asked, trained = min(options.cells_probes, most), options.cells_pool
    key = purpose_key(preparation.subkey, "samples")
    chosen = preparation.manifest.lowest(key, asked + trained)
    asked = min(asked, len(chosen) // 2)
    if asked < least_probes or len(chosen) < least_samples:
        raise InapplicableError(
            f"cells: {len(chosen)} different samples are too few, or too large, to mark some and "
            "to ask others",
            advice=f"give at least {max(2 * least_probes, least_samples)}, or mark this model "
            "without cells",
        )
    return chosen[:asked], chosen[asked:]


def _pool_samples(secret: SchemeSecret, samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """The samples to train on, out of the owner's in any order: float32 [pool, ...]."""
    wanted = [row.tobytes() for row in secret.arrays["pool_digests"].astype(np.uint8)]
    rows = secret.arrays["pool_indices"].astype(np.int64)
    in_place = rows.max(initial=0) < len(samples) and all(
        sample_digest(samples[row]) == digest for row, digest in zip(rows, wanted, strict=True)
    )
    if not in_place:
        known = {sample_digest(sample): row for row, sample in enumerate(samples)}
        if not known.keys() >= set(wanted):
            raise DataError(
                "cells: the training data does not hold all samples that the mark is trained on",
                advice="give the data from which the mark was prepared",
            )
        rows = np.array([known[digest] for digest in wanted], dtype=np.int64)
    return samples[rows].astype(np.float32, copy=False)


def _check_classes(data: TrainingData) -> None:
    if data.task == "classification" and not 2 <= data.classes <= _MOST_CLASSES:
        raise InapplicableError(
            f"cells: {data.classes} classes are not from 2 to {_MOST_CLASSES}",
            advice="mark this model without cells",
        )


def _check_useful(secret: SchemeSecret) -> None:
    """A mark of this kind needs features that differ, and room for the outputs to move."""
    pool = carriers_of(secret, "pool")
    advice = "mark this model without cells"
    if not pool.features.any():
        raise InapplicableError(
            "cells: no class has enough samples whose activations differ", advice=advice
        )
    if not secret.meta["margin"]:
        raise InapplicableError("cells: cells_margin is 0", advice="use more, such as 1.5")
    live = int(secret.arrays["maps"].any(axis=1).sum()) * pool.directions.shape[1]
    if live < _LEAST_SIGNS:
        raise InapplicableError(
            f"cells: the answers of this model have room for {live} signs, at least "
            f"{_LEAST_SIGNS} are needed",
            advice=advice,
        )
    if not pool.sizes.any():
        raise InapplicableError(
            "cells: the model is never sure enough of its answers to move them", advice=advice
        )


def _check_samples(secret: SchemeSecret, manifest: Manifest) -> None:
    """What stands at the indices that the key chose."""
    arrays = secret.arrays
    for index, sample in zip(arrays["probe_indices"], arrays["probe_samples"], strict=True):
        if sample_digest(sample) != manifest.digests[index].tobytes():
            raise _forged(f"sample {int(index)} is not that of the manifest")
    if not np.array_equal(manifest.digests[arrays["pool_indices"]], arrays["pool_digests"]):
        raise _forged("the samples to train on are not those of the manifest")


def _check_numbers(secret: SchemeSecret) -> None:
    """Types, shapes and ranges of what reading computes with."""
    arrays = secret.arrays
    names = [f"{part}_{what}" for part in ("probe", "pool") for what in ("features", "outputs")]
    for name in [*names, "scales"]:
        # In any other type values that differ could be the same to the signs.
        if arrays[name].dtype != np.float32 or not np.isfinite(arrays[name]).all():
            raise _forged(f"{name} are no finite numbers")
    outputs, scales = arrays["probe_outputs"].shape[1], arrays["scales"].astype(np.float32)
    if scales.shape != (outputs,) or not (scales > 0).all():
        raise _forged("the scales do not fit the outputs")
    sizes = [secret.meta["margin"], secret.meta.get("gap_share", 1.0)]
    if not all(0 < float(str(size)) < math.inf for size in sizes):
        raise _forged("the margin is no size")
    if secret.meta["task"] == "classification":
        contrasted = arrays["contrasted"].astype(np.int64)
        rows, width = contrasted.shape
        distinct = all(len(set(row)) == width for row in contrasted.tolist())
        inside = (contrasted >= 0).all() and (contrasted < outputs).all()
        if (
            outputs > _MOST_CLASSES
            or rows != outputs
            or width not in _WIDTHS
            or not distinct
            or not inside
        ):
            raise _forged("the contrasts are not of the model's classes")
    cells, *_, components = shape = arrays["maps"].shape
    if len(shape) != 3 or not (1 <= cells <= MOST_CELLS and 1 <= components <= _COMPONENTS):
        raise _forged("its cells are not those of a model")
    for part in ("probe", "pool"):
        carriers = carriers_of(secret, part)
        lengths = {len(arrays[f"{part}_indices"]), *map(len, carriers[:2]), len(carriers.cells)}
        widths = carriers.outputs.shape[1:], carriers.features.shape[1:]
        if len(lengths) > 1 or widths != ((outputs,), arrays["maps"].shape[2:]):
            raise _forged(f"its {part} arrays are not of the same samples")


def _signs(secret: SchemeSecret) -> NDArray[np.int8]:
    """The signs: int8 [cells, components, directions], each 1 or -1."""
    arrays = secret.arrays
    parts = [
        np.ascontiguousarray(arrays[name].astype(kind)).tobytes()
        for name, kind in (
            ("probe_indices", "<i8"),
            ("probe_groups", "<i8"),
            ("probe_features", "<f4"),
            ("probe_outputs", "<f4"),
            ("scales", "<f4"),
            ("contrasted", "<i8"),
        )
        if name in arrays
    ]
    plain = [str(secret.meta["task"]).encode()]
    plain += [
        repr(float(str(secret.meta[name]))).encode()
        for name in ("margin", "gap_share")
        if name in secret.meta
    ]
    choice = hashlib.sha256(encode(DOMAIN, b"cells", *plain, *parts)).hexdigest()
    cells, _, components = arrays["maps"].shape
    shape = (cells, components, carriers_of(secret, "probe").directions.shape[1])
    stream = Stream(arrays["sign_key"].tobytes(), f"signs {shape} {choice}")
    return (2 * stream.bits(int(np.prod(shape))) - 1).reshape(shape).astype(np.int8)


def _as_array(key: bytes) -> NDArray[np.uint8]:
    return np.frombuffer(key, dtype=np.uint8)


def _forged(what: str) -> TamperedError:
    return TamperedError(
        f"cells secret: {what}", advice="take the sealed record from the key store again"
    )
