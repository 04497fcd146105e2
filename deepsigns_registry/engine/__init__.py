"""Runs jobs, and nothing else: on this machine, or on a Ray cluster."""

from deepsigns_registry.engine.jobs import Engine, open_engine

__all__ = ["Engine", "open_engine"]
