"""Runs jobs, and nothing else: on this machine, or on a Ray cluster."""

from deepsigns_registry.engine.choice import open_engine
from deepsigns_registry.engine.jobs import Engine

__all__ = ["Engine", "open_engine"]
