"""The scheme `spread`: spread spectrum in the weights (Cox, Kilian, Leighton, Shamoon 1997).

To every weight matrix a Gaussian pattern is added that the key draws, a few hundredths of its own
standard deviation: no training, no queries, no hidden layer to be recognised. It is read by
correlation. A suspect that does not depend on the key gives a standard normal deviation for each
matrix, exactly, whatever its weights are: so nothing has to be verified for a claim, and any model
that has weights can carry it. The patterns are drawn from the key and from what a claimant could
invent: the order in which a suspect's neurons are read (the blueprint), and which matrices are.
"""

import hashlib
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from deepsigns_registry.errors import CouldNotCheckError, InapplicableError, TamperedError
from deepsigns_registry.watermark.evidence import Correlation
from deepsigns_registry.watermark.expand import DOMAIN, encode
from deepsigns_registry.watermark.key import purpose_key
from deepsigns_registry.watermark.manifest import Manifest
from deepsigns_registry.watermark.scheme import (
    Answers,
    Fitting,
    Matrix,
    Preparation,
    Probes,
    SchemeSecret,
)
from deepsigns_registry.watermark.settings import MarkSettings
from deepsigns_registry.watermark.spread.flatten import flattened
from deepsigns_registry.watermark.spread.pattern import Carrier, carriers_of, pattern_of

if TYPE_CHECKING:
    from deepsigns_registry.watermark.objective import Objective

__all__ = ["Spread"]

# Read without the parent, a pattern gives about strength x sqrt(values) deviations or more; so
# many, of several parts, are about 10**-17.
_WANTED_DEVIATIONS = 9.0
_MOST_STRENGTH = 0.1
# What each pattern is drawn from names all of them.
_MOST_MATRICES = 4096


class Spread:
    """A Gaussian pattern in the weights."""

    name = "spread"
    needs_activation = False
    needs_weight = True

    def prepare(self, preparation: Preparation) -> SchemeSecret:
        """Chooses matrices and strength; see `Scheme.prepare`."""
        known = preparation.blueprint if preparation.from_file else preparation.blueprint or None
        carriers = carriers_of(preparation.model, known)[:_MOST_MATRICES]
        if preparation.options.stealth:
            carriers, strength = _hidden(preparation, carriers)
        else:
            strength = _open(preparation.options, carriers)
        matrices = [each.matrix for each in carriers]
        blueprint = np.frombuffer(preparation.blueprint.digest(), dtype=np.uint8)
        return SchemeSecret(
            scheme=self.name,
            meta={
                "strength": strength,
                "matrices": [list(matrix) for matrix in matrices],
            },
            arrays={
                "signs": np.concatenate([each.signs for each in carriers]),
                "blueprint": blueprint,
                "pattern_key": _pattern_key(preparation.subkey, blueprint),
            },
        )

    def objective(self, secret: SchemeSecret, fitting: Fitting) -> "Objective":
        """The pattern; see `Scheme.objective`."""
        from deepsigns_registry.watermark.spread.objective import SpreadObjective

        carriers = _carriers(secret)
        matrices = [each.matrix for each in carriers]
        key = secret.arrays["pattern_key"].tobytes()
        patterns = [pattern_of(key, matrices, index) for index in range(len(matrices))]
        strength = float(str(secret.meta["strength"]))
        return SpreadObjective(carriers, patterns, strength, hidden=fitting.options.stealth)

    def probes(self, secret: SchemeSecret) -> Probes:
        """The matrices; see `Scheme.probes`."""
        carriers = _carriers(secret)
        return Probes(
            np.zeros((0, 1), np.float32),
            tuple(each.matrix for each in carriers),
            tuple(each.signs for each in carriers),
            secret.arrays["blueprint"].tobytes(),
        )

    def evidence(self, secret: SchemeSecret, answers: Answers) -> Correlation:
        """Correlates what was found with the pattern; see `Scheme.evidence`."""
        matrices = [each.matrix for each in _carriers(secret)]
        key = secret.arrays["pattern_key"].tobytes()
        squares, values, parts = 0.0, 0, 0
        for index, (matrix, weight) in enumerate(zip(matrices, answers.matrices, strict=False)):
            if weight is None or weight.shape != (matrix.rows, matrix.columns):
                continue
            even = flattened(np.where(np.isfinite(weight).all(), weight, 0))
            length = float(np.linalg.norm(even))
            if not length > 0:
                continue
            deviation = float((even * pattern_of(key, matrices, index)).sum()) / length
            squares += max(0.0, deviation) ** 2
            values, parts = values + weight.size, parts + 1
        if not parts:
            raise CouldNotCheckError(
                "none of its weight matrices was found",
                advice="give a file of the model that this record belongs to",
            )
        return Correlation(self.name, values, math.sqrt(squares), parts)

    def check(self, secret: SchemeSecret, subkey: bytes, manifest: Manifest) -> None:  # noqa: ARG002
        """Derives the pattern's key again; see `Scheme.check`."""
        carriers = _carriers(secret)
        signs = secret.arrays["signs"]
        strength = float(str(secret.meta["strength"]))
        if (
            not 1 <= len(carriers) <= _MOST_MATRICES
            or signs.dtype != np.int8
            or len(signs) != sum(each.matrix.rows for each in carriers)
            or not np.isin(signs, (-1, 1)).all()
            or not 0 < strength <= _MOST_STRENGTH
        ):
            raise _forged("its matrices")
        expected = _pattern_key(subkey, secret.arrays["blueprint"])
        if not np.array_equal(secret.arrays["pattern_key"], expected):
            raise _forged("the key of its patterns")


def _count(carriers: Sequence[Carrier]) -> int:
    return sum(each.matrix.rows * each.matrix.columns for each in carriers)


def _open(options: MarkSettings, carriers: Sequence[Carrier]) -> float:
    """The strength of a pattern in all matrices; more in a model of few weights."""
    values = _count(carriers)
    least = math.ceil((_WANTED_DEVIATIONS / _MOST_STRENGTH) ** 2)
    if values < least:
        raise InapplicableError(
            f"spread: the model has {values} weights in matrices that can be read from a file, "
            f"at least {least} are needed",
            advice="mark this model with the other schemes",
        )
    strength = max(options.spread_strength, _WANTED_DEVIATIONS / math.sqrt(values))
    return min(strength, _MOST_STRENGTH)


def _hidden(preparation: Preparation, found: Sequence[Carrier]) -> tuple[list[Carrier], float]:
    """Matrices in which a pattern is not seen, and its strength."""
    from deepsigns_registry.watermark.spread import hidden

    weights = dict(preparation.model.named_parameters())
    carriers = [each for each in found if hidden.can_hide(weights[each.matrix.name])]
    names = [each.matrix.name for each in carriers]
    inputs = preparation.data.train.inputs
    live = hidden.count_reached(preparation.model, names, inputs, preparation.device)
    # What is compared is the whole pattern, of which the rest is missing.
    carried = live / math.sqrt(max(1, _count(carriers)))
    if hidden.STRENGTH * carried < _WANTED_DEVIATIONS:
        raise InapplicableError(
            f"spread: {live} of the model's {_count(found)} weights could carry a mark that nobody "
            f"sees; it would be read with {hidden.STRENGTH * carried:.1f} standard deviations, "
            f"{_WANTED_DEVIATIONS:.0f} are needed",
            advice="leave stealth out for this model",
        )
    strength = max(preparation.options.spread_strength, _WANTED_DEVIATIONS / carried)
    return carriers, min(strength, hidden.STRENGTH)


def _pattern_key(subkey: bytes, blueprint: NDArray[np.generic]) -> NDArray[np.uint8]:
    drawn = encode(DOMAIN, b"patterns", purpose_key(subkey, "patterns"), blueprint.tobytes())
    return np.frombuffer(hashlib.sha256(drawn).digest(), dtype=np.uint8)


def _carriers(secret: SchemeSecret) -> list[Carrier]:
    signs, found, start = secret.arrays["signs"].astype(np.int8), [], 0
    listed = secret.meta["matrices"]
    for entry in listed if isinstance(listed, list) else []:
        name, layer, rows, columns, transposed = entry if isinstance(entry, list) else [None] * 5
        matrix = Matrix(
            str(name), int(str(layer)), int(str(rows)), int(str(columns)), bool(transposed)
        )
        found.append(Carrier(matrix, signs[start : start + matrix.rows]))
        start += matrix.rows
    return found


def _forged(what: str) -> TamperedError:
    return TamperedError(
        f"spread secret: {what}", advice="take the sealed record from the key store again"
    )
