"""The normal form of a graph: all rewrites, until none changes anything."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from onnx import ModelProto

from deepsigns_registry.errors import CouldNotCheckError
from deepsigns_registry.graph.canonical.bounds import drop_bounds, find_bounds
from deepsigns_registry.graph.canonical.branches import (
    drop_silent,
    merge_branches,
    merge_functions,
)
from deepsigns_registry.graph.canonical.chains import fold_chains, pass_averages, pass_flattening
from deepsigns_registry.graph.canonical.circuit import Circuit, Shape
from deepsigns_registry.graph.canonical.functions import name_functions, write_places_as_rows
from deepsigns_registry.graph.canonical.gates import Gate, find_gates, open_gates
from deepsigns_registry.graph.canonical.identities import drop_dead, drop_identities, join_reshapes
from deepsigns_registry.graph.canonical.reading import read_circuit
from deepsigns_registry.graph.canonical.reorders import (
    fold_reorders,
    join_transposes,
    pass_transposes,
)
from deepsigns_registry.graph.canonical.shapes import ODD
from deepsigns_registry.graph.canonical.units import merge_units
from deepsigns_registry.graph.canonical.writing import write_model

__all__ = ["NormalForm", "normal_form"]

Rewrite = Callable[[Circuit], bool]

_ALWAYS: tuple[Rewrite, ...] = (
    drop_identities,
    join_reshapes,
    join_transposes,
    pass_transposes,
    fold_reorders,
    name_functions,
    write_places_as_rows,
    fold_chains,
    pass_flattening,
    pass_averages,
    merge_functions,
    merge_branches,
    drop_silent,
    drop_dead,
)
# Each round takes a time linear in the graph; what is not done then stays as it is.
_MOST_ROUNDS = 32


@dataclass(frozen=True)
class NormalForm:
    """A model in the form in which models are compared.

    Attributes:
        model: The model: it gives what the one that it was made of gives, up to the rounding of
            its type, unless gates were opened or bounds dropped. Tensors that it still has have the
            names that they had.
        gates: How many gates there are; see `gates`.
        bounds: How many bounds there are that values may never reach; see `bounds`.
        remarks: What was noticed, a sentence each.
    """

    model: ModelProto
    gates: int
    bounds: int
    remarks: tuple[str, ...]


def normal_form(
    model: ModelProto,
    *,
    where: str,
    row: Shape | None = None,
    merged: bool = False,
    opened: bool = False,
    unbounded: bool = False,
    until: float = math.inf,
) -> NormalForm:
    """Rewrites a model into its normal form.

    Args:
        model: A checked model; not changed. See `graph.structure.read_model`.
        where: What to call it in errors.
        row: Shape of one sample, where the caller knows it better than the file says.
        merged: Also drop and merge units that have no effect or the same one: widths become
            those of the function, but a pruned layer loses units that nothing reads any more.
        opened: Also open all gates, which gives the network that they guard.
        unbounded: Also drop the bounds, which gives the network that computes the same where no
            value reaches one.
        until: When to give up, by `time.monotonic`.

    Raises:
        CouldNotCheckError: It holds too much, constants that cannot be read, or a node of a form
            that no file has; or it took too long.
    """
    rewrites = (*_ALWAYS, merge_units) if merged else _ALWAYS
    try:
        circuit = read_circuit(model, where=where, row=row)
        gates, bounds = find_gates(circuit), len(find_bounds(circuit))
        if opened:
            open_gates(circuit)
        if unbounded:
            drop_bounds(circuit)
        _rewrite(circuit, rewrites, where, until)
        remarks = tuple(map(_remark, gates))
        return NormalForm(write_model(circuit, model), len(gates), bounds, remarks)
    except ODD as error:
        raise CouldNotCheckError(
            f"{where}: a node of it has no form that is known ({type(error).__name__})",
            advice="export the model again",
        ) from None


def _rewrite(circuit: Circuit, rewrites: Sequence[Rewrite], where: str, until: float) -> None:
    """Applies all rewrites until none changes anything; each has its turn in every round."""
    for _ in range(_MOST_ROUNDS):
        changed = False
        for rewrite in rewrites:
            if time.monotonic() > until:
                raise CouldNotCheckError(
                    f"{where}: its normal form was not found in time",
                    advice="raise seconds in [sandbox] if the file is meant to be that large",
                )
            changed |= rewrite(circuit)
        if not changed:
            break


def _remark(gate: Gate) -> str:
    return f"'{gate.passed}' passes a gate that is computed from the input beside it"
