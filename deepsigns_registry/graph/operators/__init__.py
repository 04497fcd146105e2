"""ONNX operators in torch: one small function an operator, in tables by kind.

To add one, write a function in the module it belongs to and register it with `OPERATORS.add`;
the property tests compare it with onnxruntime once it has a case there.
"""

from deepsigns_registry.graph.operators import arithmetic, layers, quantized, recurrent, shapes
from deepsigns_registry.graph.operators.table import MOST_VALUES, Call, Operator, Table

__all__ = ["MOST_VALUES", "OPERATORS", "Call", "Operator"]

OPERATORS = Table(
    {
        **arithmetic.OPERATORS,
        **layers.OPERATORS,
        **quantized.OPERATORS,
        **recurrent.OPERATORS,
        **shapes.OPERATORS,
    }
)
