"""A `torch.export` program as a tapped model: what MLflow stores, without the user's class.

Hooks do not fire in an exported graph. Its nodes remember the modules that they came from
(`nn_module_stack`), which names the taps; the tapped value becomes one more output.
"""

from deepsigns_registry.watermark.adapters.exported.interface import check_program
from deepsigns_registry.watermark.adapters.exported.model import ExportedTappedModel
from deepsigns_registry.watermark.adapters.exported.precision import (
    own_types,
    rounding,
    run_registered,
)
from deepsigns_registry.watermark.adapters.exported.taps import choose_tap, tap_candidates

__all__ = [
    "ExportedTappedModel",
    "check_program",
    "choose_tap",
    "own_types",
    "rounding",
    "run_registered",
    "tap_candidates",
]
