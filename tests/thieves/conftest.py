"""The small marked perceptron of the watermark's own tests."""

from tests.unit.watermark.conftest import data, marked, settings

__all__ = ["data", "marked", "settings"]
