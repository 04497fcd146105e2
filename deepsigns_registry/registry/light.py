"""As much of MLflow as it takes to ask a server for a version and its files, and no more.

`import mlflow` imports pandas, FastAPI and most of MLflow, and takes longer than all that a gate
does. Here the package and `mlflow.tracking` are imported without being run (see `deferred`); what
asks for more of them runs them then, as ever.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from deepsigns_registry.deferred import deferred

__all__ = ["light_mlflow"]


@contextmanager
def light_mlflow() -> Iterator[None]:
    """Within it, modules that import parts of MLflow do not run all of it.

    For a process that only reads a registry. Nothing changes where MLflow was imported before.
    """
    if "mlflow" in sys.modules:
        yield
        return
    with deferred("mlflow", "mlflow.tracking"):
        import mlflow.tracking
        from mlflow.version import VERSION

        # Every request names it, and nothing else of the package is asked for.
        vars(mlflow).setdefault("__version__", VERSION)
        yield
