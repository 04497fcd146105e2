"""Integrity: how often a model that was never marked matches a key that it does not know.

A million keys a model are simulated, not derived. What is simulated:

- *Projection.* A has independent standard normal entries, so the projections of s carrier means
  on one column of A are jointly normal with the s x s Gram matrix of the centred means as their
  covariance. They are drawn from that distribution directly, which is exact and needs s numbers
  a column instead of as many as the layer has neurons. The key's own normal values are rounded
  to 2**-12 and end at 4.2 standard deviations.
- *Carriers and triggers* are drawn with numpy, in `trigger_means`, from the model's real
  activations on real samples; many keys share one such draw. The key takes the lowest values of
  a pseudo-random function, which is a uniform choice to anybody without the key.
- *Bits and labels* are drawn with numpy and independently for every key.

`derived_evidence` derives keys for real, by the package's own code, to check the above.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats

from deepsigns_registry.watermark.calibrated import label_choices
from deepsigns_registry.watermark.data import TrainingData
from deepsigns_registry.watermark.evidence import Evidence, Matches
from deepsigns_registry.watermark.key import RootKey
from deepsigns_registry.watermark.manifest import Manifest
from deepsigns_registry.watermark.projection import centred
from deepsigns_registry.watermark.scheme import Answers, Preparation, Scheme
from deepsigns_registry.watermark.settings import MarkSettings
from deepsigns_registry.watermark.suspect import TappedSuspect
from deepsigns_registry.watermark.tapped import TappedModel
from deepsigns_registry.watermark.verdict import judge

__all__ = [
    "LEVELS",
    "Exceedance",
    "Null",
    "blackbox_null",
    "claims",
    "derived_evidence",
    "exceedances",
    "observed",
    "trigger_means",
    "whitebox_null",
]

LEVELS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5)

_OWNER = bytes(32)
_KEYS_AT_A_TIME = 1 << 14


@dataclass(frozen=True)
class Null:
    """What keys that a model does not know read from it.

    Attributes:
        matches: int64 [trials + 1], number of keys by the number of their matches.
        chance: Highest probability of one match, as the verdict assumes it.
        ones: int64 [trials + 1], number of keys by the number of ones among the bits they read:
            what would match a fixed signature of ones. Empty for the black box.
    """

    matches: NDArray[np.int64]
    chance: float
    ones: NDArray[np.int64]

    @property
    def trials(self) -> int:
        """Bits or queries of one key."""
        return len(self.matches) - 1

    @property
    def keys(self) -> int:
        """Number of keys drawn."""
        return int(self.matches.sum())


@dataclass(frozen=True)
class Exceedance:
    """How many keys reached a p-value, against how many should.

    The p-value is discrete: no number of matches may give exactly `level`.

    Attributes:
        level: Nominal level.
        attainable: Largest p-value at most `level` that some number of matches has; what an
            exact p-value is exceeded with.
        seen: Keys with a p-value of at most `level`.
        keys: Keys in all.
        low: Lower end of the Clopper-Pearson interval of the rate that `seen` was drawn from.
        high: Its upper end.
    """

    level: float
    attainable: float
    seen: int
    keys: int
    low: float
    high: float

    @property
    def exact(self) -> bool:
        """Whether the attainable level lies in the interval."""
        return self.low <= self.attainable <= self.high

    @property
    def valid(self) -> bool:
        """Whether the rate is not shown to be above the attainable level.

        Queries that a model does not answer cannot match at all; then this alone is promised.
        """
        return self.low <= self.attainable


def trigger_means(
    activation: NDArray[np.float32],
    labels: NDArray[np.int64],
    *,
    carriers: int,
    triggers: int,
    sets: int,
    seed: int,
) -> NDArray[np.float32]:
    """Mean activations of random carrier classes' random triggers.

    Args:
        activation: float32 [samples, neurons], pooled, of the suspect on samples that keys may
            choose their triggers from.
        labels: int64 [samples].
        carriers: Carrier classes of a key.
        triggers: Triggers of a class.
        sets: How many draws of carriers and triggers.
        seed: Of numpy's generator.

    Returns:
        float32 [sets, carriers, neurons].

    Raises:
        ValueError: Too few classes have that many samples.
    """
    random = np.random.default_rng(seed)
    classes, counts = np.unique(labels, return_counts=True)
    eligible = classes[counts >= triggers]
    if len(eligible) < carriers:
        raise ValueError(f"{len(eligible)} classes with {triggers} samples, {carriers} needed")
    rows = {int(label): np.flatnonzero(labels == label) for label in eligible}
    means = np.empty((sets, carriers, activation.shape[1]), dtype=np.float32)
    for drawn in means:
        for place, label in enumerate(random.choice(eligible, carriers, replace=False)):
            chosen = random.choice(rows[int(label)], triggers, replace=False)
            drawn[place] = activation[chosen].mean(axis=0, dtype=np.float64)
    return means


def whitebox_null(means: NDArray[np.float32], *, bits: int, keys: int, seed: int) -> Null:
    """Reads random white-box keys from a suspect.

    Args:
        means: float32 [sets, carriers, neurons], mean activations of the suspect on the triggers
            of each set; the keys are shared evenly by the sets.
        bits: Bits of one key in each carrier class.
        keys: Keys to draw.
        seed: Of numpy's generator.
    """
    random = np.random.default_rng(seed)
    sets, carriers, _ = means.shape
    trials = carriers * bits
    matches, ones = (np.zeros(trials + 1, dtype=np.int64) for _ in range(2))
    for number, root in enumerate(_gram_roots(means)):
        share = keys // sets + (number < keys % sets)
        for count in _chunks(share):
            normal = random.standard_normal((carriers, count * bits), dtype=np.float32)
            found = (root @ normal > 0).reshape(carriers, count, bits).swapaxes(0, 1)
            read = np.packbits(found.reshape(count, trials), axis=1)
            signature = np.frombuffer(random.bytes(read.size), dtype=np.uint8)
            # The last byte may be padded: padding is zero in what was read.
            signature = signature.reshape(read.shape) & np.packbits(np.ones(trials, dtype=bool))
            errors = np.bitwise_count(read ^ signature).sum(axis=1, dtype=np.int64)
            matches += np.bincount(trials - errors, minlength=trials + 1)
            set_bits = np.bitwise_count(read).sum(axis=1, dtype=np.int64)
            ones += np.bincount(set_bits, minlength=trials + 1)
    return Null(matches, 0.5, ones)


def blackbox_null(
    answers: NDArray[np.int64],
    parent: NDArray[np.int64],
    *,
    classes: int,
    keys: int,
    seed: int,
) -> Null:
    """Asks a suspect random keys' queries.

    A key's label is uniform over the classes that the parent does not predict, and independent
    of the query. So where the suspect's answer is the parent's class, or none, nothing can match,
    and anywhere else the probability is 1/(C-1): matches are exactly binomial over the other
    queries. `calibrated_answers` never gives the parent's class, so of a model that answers every
    query these are all.

    Args:
        answers: int64 [sets, queries], the suspect's `calibrated_answers`, negative where there
            is none, for several sets of queries; the keys are shared evenly by the sets.
        parent: int64 [sets, queries], classes that the unmarked parent answers.
        classes: C.
        keys: Keys to draw.
        seed: Of numpy's generator.
    """
    random = np.random.default_rng(seed)
    sets, queries = answers.shape
    chance = 1 / label_choices(classes)
    matches = np.zeros(queries + 1, dtype=np.int64)
    for number, open_queries in enumerate(((answers != parent) & (answers >= 0)).sum(axis=1)):
        share = keys // sets + (number < keys % sets)
        drawn = random.binomial(int(open_queries), chance, share)
        matches += np.bincount(drawn, minlength=queries + 1)
    return Null(matches, chance, np.empty(0, dtype=np.int64))


def exceedances(null: Null, *, confidence: float = 0.95) -> tuple[Exceedance, ...]:
    """Counts the keys at each of `LEVELS`, by the p-values that verdicts use.

    Args:
        null: Keys drawn.
        confidence: Of each interval. A statement about every one of n intervals needs
            1 - (1 - 0.95) / n.
    """
    log10_p = np.array([item.log10_p for item in _by_matches(null)])
    found = []
    for level in LEVELS:
        reached = log10_p <= np.log10(level)
        least = int(np.argmax(reached)) if reached.any() else null.trials + 1
        seen = int(null.matches[least:].sum())
        interval = stats.binomtest(seen, null.keys).proportion_ci(confidence, method="exact")
        found.append(
            Exceedance(
                level=level,
                attainable=float(stats.binom.sf(least - 1, null.trials, null.chance)),
                seen=seen,
                keys=null.keys,
                low=float(interval.low),
                high=float(interval.high),
            )
        )
    return tuple(found)


def claims(null: Null, *, tries: int) -> int:
    """Number of keys whose verdict on this model would be `present`.

    Args:
        null: Keys drawn.
        tries: What the verdict is adjusted for. Somebody who tries every key of `null` on this
            model has tried `null.keys` times: one key is one try.
    """
    present = [judge([item], tries=tries).word == "present" for item in _by_matches(null)]
    return int(null.matches[present].sum())


def derived_evidence(
    scheme: Scheme,
    parent: TappedModel,
    suspects: Mapping[str, TappedModel],
    data: TrainingData,
    options: MarkSettings,
    *,
    keys: Sequence[int],
    device: torch.device | str = "cpu",
) -> dict[str, list[Matches]]:
    """Derives keys with the package's own code and reads them from suspects.

    Args:
        scheme: The scheme whose keys are derived.
        parent: The model that the keys are prepared for.
        suspects: Models that were never marked, by name; for the white box with as many neurons
            at their tap as the parent has.
        data: The owner's data.
        options: Sizes of the secret.
        keys: Numbers of the keys; the same number gives the same key.
        device: Where the models run.

    Returns:
        One piece of evidence a key, for each suspect.
    """
    place = torch.device(device)
    manifest = Manifest.of(data.train)
    found: dict[str, list[Matches]] = {name: [] for name in suspects}
    for number in keys:
        subkey = RootKey(number.to_bytes(32, "big"), _OWNER).subkey(scheme.name)
        secret = scheme.prepare(Preparation(parent, data, manifest, subkey, place, options))
        inputs = scheme.probes(secret).inputs
        for name, model in suspects.items():
            suspect = TappedSuspect(model, place)
            tap = model.tap if scheme.needs_activation else None
            outputs, activation = suspect.run(inputs, tap=tap)
            weight = suspect.weight(model.tap) if scheme.needs_weight else None
            answers = Answers(outputs, activation, weight)
            found[name].append(_counted(scheme.evidence(secret, answers)))
    return found


def _counted(found: Evidence) -> Matches:
    if not isinstance(found, Matches):
        raise TypeError(f"{found.scheme} counts no matches")
    return found


def observed(evidence: Sequence[Matches]) -> Null:
    """Tallies derived keys' evidence as if it had been simulated.

    Args:
        evidence: Of one scheme and one size, at least one.
    """
    first = evidence[0]
    matches = np.bincount([item.matches for item in evidence], minlength=first.trials + 1)
    return Null(matches, first.chance, np.empty(0, dtype=np.int64))


def _by_matches(null: Null) -> Iterator[Evidence]:
    for matches in range(null.trials + 1):
        yield Matches("null", trials=null.trials, matches=matches, chance=null.chance)


def _gram_roots(means: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    """Symmetric root of the Gram matrix of each set's centred means."""
    for rows in means:
        offset = centred(rows).astype(np.float64)
        values, vectors = np.linalg.eigh(offset @ offset.T)
        # Rounding may push the smallest eigenvalue of dependent means below zero.
        root = vectors * np.sqrt(np.maximum(values, 0))
        yield (root @ vectors.T).astype(np.float32)


def _chunks(count: int) -> Iterator[int]:
    for start in range(0, count, _KEYS_AT_A_TIME):
        yield min(_KEYS_AT_A_TIME, count - start)
