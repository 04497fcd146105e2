"""The black-box scheme: secret queries at the output layer (DeepSigns, section 4.2).

A query is made by the key, from a family of queries (see `queries`) and training samples that
the key chooses. Of twice as many candidates those are kept that fall where the unmarked parent
has been most rarely, before anybody looks at a label. Its label is drawn by the key among the
classes that the parent does not predict, and by which candidates were kept and what the parent
answered: whoever invents these draws all labels anew. All queries are committed and counted, so a
model that does not depend on the key matches each with probability 1/(C-1). Of two classes one
would be left, and no choice: there the label is drawn from both, and chance is 1/2.
"""

import hashlib
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from deepsigns_registry.errors import (
    CouldNotCheckError,
    InapplicableError,
    TamperedError,
    UnmarkableError,
)
from deepsigns_registry.watermark.calibrated import calibrated_answers, label_choices
from deepsigns_registry.watermark.data import TrainingData
from deepsigns_registry.watermark.density import Density
from deepsigns_registry.watermark.evidence import Matches
from deepsigns_registry.watermark.expand import DOMAIN, Stream, encode
from deepsigns_registry.watermark.interface import Ordinary
from deepsigns_registry.watermark.key import key_version, purpose_key
from deepsigns_registry.watermark.manifest import Manifest, first_by_digest, sample_digest
from deepsigns_registry.watermark.queries import FAMILIES, make_queries
from deepsigns_registry.watermark.scheme import (
    Answers,
    Fitting,
    Preparation,
    Probes,
    SchemeSecret,
)

if TYPE_CHECKING:
    from deepsigns_registry.watermark.objective import Objective

__all__ = ["BlackBox"]

_LEAST_QUERIES = 100
_LEAST_SOURCES = 20
# Candidates for each query. The fewer are left out, the less could a filter that was made up
# pick queries which a stranger's model happens to match; see also `check_against_parent`.
_CANDIDATES_PER_QUERY = 2
_DENSITY_SAMPLES = 4_000
# Values of all candidates, 2 GiB: 800 of 470 by 470 pixels in colour.
_MOST_VALUES = 1 << 29
# Another processor sums in another order: what that moves is below this share of a logarithm.
_DOUBTFUL_SHARE = 1e-4


class BlackBox:
    """Secret queries with secret answers."""

    name = "blackbox"
    needs_activation = False
    needs_weight = False

    def prepare(self, preparation: Preparation) -> SchemeSecret:
        """Derives sources, queries and labels; see `Scheme.prepare`."""
        options, train = preparation.options, preparation.data.train
        classes = preparation.data.classes
        _check_applicable(preparation.data)
        sources = preparation.manifest.lowest(
            purpose_key(preparation.subkey, "sources"), options.sources
        )
        examined = _CANDIDATES_PER_QUERY * options.queries
        _check_size(options.queries, train.inputs)
        key = purpose_key(preparation.subkey, "queries")
        candidates = make_queries(
            options.query_family, key, np.arange(examined), train.inputs[sources]
        )
        # By digest, as the data may come sorted by class.
        seen = first_by_digest(preparation.manifest.digests)[:_DENSITY_SAMPLES]
        density = Density.fit(preparation.run(train.inputs[seen])[1], train.labels[seen])
        outputs, activation = preparation.run(candidates)
        given = preparation.given.arrays["kept"] if preparation.given else None
        rare = _rarest(density.log_density(activation), options.queries, given)
        ordinary = train.inputs[sources]
        return SchemeSecret(
            scheme=self.name,
            meta={"classes": classes, "family": options.query_family},
            arrays={
                "sources": ordinary,
                "source_outputs": preparation.run(ordinary)[0],
                "source_indices": sources,
                "kept": rare,
                "query_key": np.frombuffer(key, dtype=np.uint8),
                "parent_outputs": outputs[rare],
                "label_key": np.frombuffer(
                    purpose_key(preparation.subkey, "labels"), dtype=np.uint8
                ),
            },
        )

    def objective(self, secret: SchemeSecret, fitting: Fitting) -> "Objective":
        """Cross-entropy on the queries; see `Scheme.objective`."""
        from deepsigns_registry.watermark.blackbox_objective import BlackBoxObjective

        queries = self.probes(secret).inputs
        found = BlackBoxObjective(queries, _labels(secret), fitting.options, fitting.steps)
        return found.to(fitting.device)

    def probes(self, secret: SchemeSecret) -> Probes:
        """The queries, made again from their sources."""
        arrays = secret.arrays
        queries = make_queries(
            str(secret.meta["family"]),
            arrays["query_key"].tobytes(),
            arrays["kept"].astype(np.int64),
            arrays["sources"].astype(np.float32, copy=False),
        )
        return Probes(queries)

    def evidence(self, secret: SchemeSecret, answers: Answers) -> Matches:
        """Counts queries answered as the key says; see `Scheme.evidence`."""
        outputs = answers.outputs
        labels, classes = _labels(secret), int(str(secret.meta["classes"]))
        if outputs.shape != (len(labels), classes):
            raise CouldNotCheckError(
                f"black box: the suspect answered with shape {outputs.shape} instead of "
                f"{(len(labels), classes)}",
                advice="this suspect has other classes than the marked model",
            )
        parent = secret.arrays["parent_outputs"].astype(np.float32, copy=False)
        matches = calibrated_answers(outputs, parent) == labels
        return Matches(
            scheme=self.name,
            trials=len(labels),
            matches=int(matches.sum()),
            chance=1 / label_choices(classes),
        )

    def ordinary(self, secret: SchemeSecret) -> Ordinary | None:
        """The sources; None of a secret of version 0. See `HoldsOrdinary.ordinary`."""
        outputs = secret.arrays.get("source_outputs")
        if outputs is None:
            return None
        inputs = secret.arrays["sources"].astype(np.float32, copy=False)
        return Ordinary(inputs, outputs.astype(np.float32, copy=False))

    def check(self, secret: SchemeSecret, subkey: bytes, manifest: Manifest) -> None:
        """Derives sources, queries and labels again; see `Scheme.check`.

        Which candidates were rare, and what the parent answered there, needs the parent:
        `check_against_parent` prepares again and compares.
        """
        arrays = secret.arrays
        kept = arrays["kept"].astype(np.int64)
        if len(kept) < _LEAST_QUERIES:
            raise _forged(f"only {len(kept)} queries")
        examined = _CANDIDATES_PER_QUERY * len(kept)
        if (np.diff(kept) <= 0).any() or kept[0] < 0 or kept[-1] >= examined:
            raise _forged("the queries are not among the candidates of the key")
        count = len(arrays["source_indices"])
        sources = manifest.lowest(purpose_key(subkey, "sources"), count)
        if count < _LEAST_SOURCES or not np.array_equal(sources, arrays["source_indices"]):
            raise _forged("the sources are not the samples that the key chooses")
        for index, sample in zip(sources, arrays["sources"], strict=True):
            if sample_digest(sample) != manifest.digests[index].tobytes():
                raise _forged(f"source {int(index)} is not the sample of the manifest")
        if len(kept) > _most_queries(arrays["sources"]):
            raise _forged("its queries are too large")
        key = purpose_key(subkey, "queries")
        if key != arrays["query_key"].tobytes() or secret.meta["family"] not in FAMILIES:
            raise _forged("the queries are not those of the key")
        _check_answers(secret, len(kept), count)
        if purpose_key(subkey, "labels") != arrays["label_key"].tobytes():
            raise _forged("the labels are not those of the key")


def _check_applicable(data: TrainingData) -> None:
    advice = "mark this model with the white box alone"
    if data.task != "classification":
        raise InapplicableError(
            f"black box: a model for {data.task} gives no classes to answer queries with",
            advice=advice,
        )
    if data.classes < 2:
        raise InapplicableError(
            "black box: with one class a query's answer proves nothing", advice=advice
        )


def _check_size(queries: int, samples: NDArray[np.float32]) -> None:
    if queries > (most := _most_queries(samples)):
        raise UnmarkableError(
            f"black box: {queries} queries of {samples[0].size} values are too many",
            advice=f"set queries to at most {most}",
        )


def _most_queries(samples: NDArray[np.generic]) -> int:
    return int(_MOST_VALUES // (_CANDIDATES_PER_QUERY * max(1, samples[0].size)))


def _rarest(
    log_density: NDArray[np.float64], count: int, given: NDArray[np.generic] | None
) -> NDArray[np.int64]:
    """The candidates of the lowest density, in the order of their numbers: int64 [count].

    Those of a given choice, where it differs only in candidates that rounding may put on either
    side of the threshold.
    """
    order = np.argsort(log_density, kind="stable")
    own = np.sort(order[:count]).astype(np.int64)
    if given is None or len(given) != count or not np.isin(given, order).all():
        return own
    moved = np.setxor1d(own, given)
    last, following = log_density[order[count - 1 : count + 1]]
    doubt = _DOUBTFUL_SHARE * (1 + abs(following))
    near = (log_density[moved] > last - doubt) & (log_density[moved] < following + doubt)
    return given.astype(np.int64) if near.all() else own


def _labels(secret: SchemeSecret) -> NDArray[np.int64]:
    """Uniform over the classes that a query may have: int64 [queries]."""
    arrays, classes = secret.arrays, int(str(secret.meta["classes"]))
    kept = arrays["kept"].astype("<i8")
    parent = arrays["parent_outputs"].astype("<f4")
    invented = [kept.tobytes(), parent.tobytes()]
    # By these a suspect's classes are put in order; records of the first format lack them.
    if "source_outputs" in arrays:
        invented.append(arrays["source_outputs"].astype("<f4").tobytes())
    given = encode(DOMAIN, b"choice", *invented)
    choice = hashlib.sha256(given).hexdigest()
    stream = Stream(arrays["label_key"].tobytes(), f"labels {choice}")
    steps = stream.integers(len(parent), label_choices(classes))
    return np.asarray((parent.argmax(axis=1) + 1 + steps) % classes, dtype=np.int64)


def _check_answers(secret: SchemeSecret, queries: int, sources: int) -> None:
    """Whether what the parent answered are logits; of version 0 some hold none for the sources."""
    arrays, classes = secret.arrays, int(str(secret.meta["classes"]))
    wanted = {"parent_outputs": queries}
    if key_version(secret.meta) or "source_outputs" in arrays:
        wanted["source_outputs"] = sources
    for name, rows in wanted.items():
        if name not in arrays:
            raise _forged("the parent's answers to the sources are missing")
        if not _are_logits(arrays[name], (rows, classes)):
            raise _forged("the parent's answers are no logits")


def _are_logits(values: NDArray[np.generic], shape: tuple[int, int]) -> bool:
    # In any other type values that differ could be the same to the labels.
    return values.dtype == np.float32 and values.shape == shape and bool(np.isfinite(values).all())


def _forged(what: str) -> TamperedError:
    return TamperedError(
        f"black-box secret: {what}", advice="take the sealed record from the key store again"
    )
