"""Schemes of third parties: what they read, they read in a room."""

from deepsigns_registry.guests.schemes import reading_schemes

__all__ = ["reading_schemes"]
