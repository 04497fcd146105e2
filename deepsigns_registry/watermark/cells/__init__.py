"""A black box on natural inputs: secret signs of small shifts. See `scheme`."""

from deepsigns_registry.watermark.cells.scheme import Cells

__all__ = ["Cells"]
