"""How long a test waits for what must come: no expectation, only an end for what hangs."""

__all__ = ["HANG"]

HANG = 3600.0
"""Seconds. A machine that does ten other things is slower by far less."""
