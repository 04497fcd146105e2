"""Which engine the settings ask for."""

from deepsigns_registry.engine.jobs import Engine
from deepsigns_registry.sections import EngineSettings

__all__ = ["open_engine"]


def open_engine(settings: EngineSettings) -> Engine:
    """Returns the engine that `[engine]` of the settings names."""
    if settings.kind == "ray":
        from deepsigns_registry.engine.ray import RayEngine

        return RayEngine(settings.address, gpus_per_job=settings.gpus_per_job)
    from deepsigns_registry.engine.local import LocalEngine

    return LocalEngine(settings.jobs)
