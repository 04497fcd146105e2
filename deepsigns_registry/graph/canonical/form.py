"""The normal form of a graph: all rewrites, until none changes anything."""

from collections.abc import Callable
from dataclasses import dataclass

from onnx import ModelProto

from deepsigns_registry.graph.canonical.chains import fold_chains, pass_averages, pass_flattening
from deepsigns_registry.graph.canonical.circuit import Circuit, Shape
from deepsigns_registry.graph.canonical.identities import drop_dead, drop_identities, join_reshapes
from deepsigns_registry.graph.canonical.reading import read_circuit
from deepsigns_registry.graph.canonical.writing import write_model

__all__ = ["NormalForm", "normal_form"]

Rewrite = Callable[[Circuit], bool]

_ALWAYS: tuple[Rewrite, ...] = (
    drop_identities,
    join_reshapes,
    fold_chains,
    pass_flattening,
    pass_averages,
    drop_dead,
)
# Each round takes a time linear in the graph; what is not done then stays as it is.
_MOST_ROUNDS = 32


@dataclass(frozen=True)
class NormalForm:
    """A model in the form in which models are compared.

    Attributes:
        model: The model: it gives what the one that it was made of gives, up to the rounding of
            its type. Tensors that it still has have the names that they had.
        remarks: What was noticed, a sentence each.
    """

    model: ModelProto
    remarks: tuple[str, ...]


def normal_form(model: ModelProto, *, where: str, row: Shape | None = None) -> NormalForm:
    """Rewrites a model into its normal form.

    Args:
        model: A checked model; not changed. See `graph.structure.read_model`.
        where: What to call it in errors.
        row: Shape of one sample, where the caller knows it better than the file says.

    Raises:
        CouldNotCheckError: It holds too much, or constants that cannot be read.
    """
    circuit = read_circuit(model, where=where, row=row)
    for _ in range(_MOST_ROUNDS):
        if not any([rewrite(circuit) for rewrite in _ALWAYS]):
            break
    return NormalForm(write_model(circuit, model), tuple(circuit.remarks))
