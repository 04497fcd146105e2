"""A mark in the weights themselves: spread spectrum, with no training and no queries."""

from deepsigns_registry.watermark.spread.scheme import Spread

__all__ = ["Spread"]
