"""The table of operators, and what a node tells its operator."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from deepsigns_registry.errors import CouldNotCheckError

__all__ = ["MOST_VALUES", "Call", "Operator", "Table", "integers", "straight_through"]

# Values that one forward pass may hold: 4 GiB of float32. A graph that doubles a tensor thirty
# times is refused here before it fills the memory.
MOST_VALUES = 2**30

Operator = Callable[..., Tensor | tuple[Tensor, ...]]


@dataclass
class Call:
    """One node, as its operator sees it.

    Attributes:
        name: Name of the node, for errors.
        operator: Its operator type.
        opset: Version of the operator set it is written in.
        attributes: Its attributes as plain values; tensors as torch tensors.
        outputs: Number of results the graph uses.
        training: Whether statistics are taken from the batch.
        device: Where the batch is.
    """

    name: str
    operator: str
    opset: int
    attributes: dict[str, Any] = field(default_factory=dict)
    outputs: int = 1
    training: bool = False
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def get(self, name: str, default: Any = None) -> Any:
        """An attribute's value, or a default."""
        return self.attributes.get(name, default)

    def unsupported(self, what: str) -> CouldNotCheckError:
        """The error for a variant of an operator that is not implemented."""
        return CouldNotCheckError(
            f"ONNX operator {self.operator} (node {self.name}): {what} is not supported",
            advice="export the model again with the default exporter",
        )


class Table(dict[tuple[str, str], Operator]):
    """Operators by (domain, operator type); the standard domain is the empty string."""

    def add(self, *names: str, domain: str = "") -> Callable[[Operator], Operator]:
        """Registers a function under one or more operator types of a domain.

        The function takes the `Call` and the node's inputs, in order, absent ones as None.
        """

        def register(function: Operator) -> Operator:
            for name in names:
                self[domain, name] = function
            return function

        return register


def integers(values: Tensor | None, fallback: Any = None) -> Any:
    """A small integer tensor as a list; the fallback (an attribute's value) without one.

    Examples:
        >>> integers(torch.tensor([1, -1])), integers(None, [0])
        ([1, -1], [0])
    """
    return fallback if values is None else [int(value) for value in values.flatten().tolist()]


def straight_through(value: Tensor, replaced: Tensor) -> Tensor:
    """Gives the replaced value, and the gradient of the value it stands for.

    Examples:
        >>> value = torch.tensor(0.4, requires_grad=True)
        >>> straight_through(value, value.round()).backward()
        >>> value.grad
        tensor(1.)
    """
    if torch.is_grad_enabled() and value.requires_grad:
        return value + (replaced - value).detach()
    return replaced
