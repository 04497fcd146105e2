"""Which matrices of a model carry the mark, and the pattern that the key draws for each."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from deepsigns_registry.watermark.blueprint import Blueprint, sketched
from deepsigns_registry.watermark.expand import DOMAIN, Stream, encode
from deepsigns_registry.watermark.scheme import Matrix

if TYPE_CHECKING:
    from torch import Tensor

    from deepsigns_registry.watermark.tapped import TappedModel

__all__ = ["Carrier", "carriers_of", "pattern_of"]

Floats = NDArray[np.float32]

# The parent's own rows come back from its exported file but for the rounding of a blueprint.
_THE_SAME = 0.99


@dataclass(frozen=True, repr=False)
class Carrier:
    """One matrix that carries the mark.

    Attributes:
        matrix: Where it is found, in the parent and in an exported file.
        signs: int8 [rows] of 1 and -1: in which direction an exported file holds each row.
    """

    matrix: Matrix
    signs: NDArray[np.int8]

    def rows(self, parameter: "Tensor") -> "Tensor":
        """A model's parameter as [rows, columns]; a view or a copy."""
        flat = parameter.reshape(len(parameter), -1)
        return flat.T if self.matrix.transposed else flat


def carriers_of(model: "TappedModel", blueprint: Blueprint | None) -> list[Carrier]:
    """The matrices of a model that a suspect can be asked for.

    Without a file all are; else those whose place in the parent's exported file is known.

    Args:
        model: The unmarked parent.
        blueprint: Of its exported file; None when there is none.
    """
    named = [(name, value) for name, value in model.named_parameters() if value.ndim > 1]
    if blueprint is None:
        return [_anywhere(name, value) for name, value in named]
    found: list[Carrier] = []
    free = dict(enumerate(blueprint.parts()))
    for name, parameter in named:
        for transposed in (False, True) if parameter.ndim == 2 else (False,):
            flat = parameter.detach().float().cpu().reshape(len(parameter), -1).numpy()
            weight = np.ascontiguousarray(flat.T if transposed else flat)
            place = next(
                (
                    place
                    for place, part in free.items()
                    if weight.shape == (len(part.norms), part.columns)
                    and _same(weight, part.rows).all()
                ),
                None,
            )
            if place is not None:
                signs = np.where(_cosines(weight, free.pop(place).rows) < 0, -1, 1)
                rows, columns = weight.shape
                matrix = Matrix(name, place, rows, columns, transposed)
                found.append(Carrier(matrix, signs.astype(np.int8)))
                break
    return found


def pattern_of(key: bytes, matrices: Sequence[Matrix], index: int) -> Floats:
    """The Gaussian pattern of one matrix: float32 [rows, columns].

    Args:
        key: Of the patterns.
        matrices: All of them; what they are is part of what is drawn.
        index: Which.
    """
    described = encode(*(repr(tuple(matrix)).encode() for matrix in matrices))
    listed = hashlib.sha256(encode(DOMAIN, b"matrices", described)).hexdigest()
    matrix = matrices[index]
    return Stream(key, f"pattern {index} of {listed}").gaussians((matrix.rows, matrix.columns))


def _anywhere(name: str, parameter: "Tensor") -> Carrier:
    rows = len(parameter)
    matrix = Matrix(name, -1, rows, parameter.numel() // rows, False)
    return Carrier(matrix, np.ones(rows, np.int8))


def _cosines(weight: Floats, rows: NDArray[np.float16]) -> NDArray[np.float64]:
    cosines: NDArray[np.float64] = (sketched(weight)[0] * rows.astype(np.float64)).sum(axis=1)
    return cosines


def _same(weight: Floats, rows: NDArray[np.float16]) -> NDArray[np.bool_]:
    """Which rows have the parent's direction, or its opposite, or are zero in both."""
    nothing = ~rows.any(axis=1) & ~weight.any(axis=1)
    return np.asarray(nothing | (np.abs(_cosines(weight, rows)) > _THE_SAME))
