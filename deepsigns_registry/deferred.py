"""Modules of other packages that are imported by name now and run when something asks for them.

A library may import at its top what only some of its functions use, and that may take longer than
all we ask of it. Nothing is left out: what is asked for is there, only later.
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from threading import RLock
from types import ModuleType
from typing import Any

__all__ = ["deferred"]

_RUNNING = RLock()


@contextmanager
def deferred(*names: str) -> Iterator[None]:
    """Within it, these modules are imported without being run.

    Args:
        names: In full. Modules of a package that is deferred are imported as ever.

    Examples:
        >>> with deferred("json.tool"):
        ...     import json.tool
        >>> "main" in vars(json.tool), callable(json.tool.main), "main" in vars(json.tool)
        (False, True, True)
    """
    finder = _Finder(names)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


class _Finder(MetaPathFinder):
    def __init__(self, names: Sequence[str]) -> None:
        self._names = frozenset(names)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in self._names:
            return None
        found = PathFinder.find_spec(fullname, path, target)
        if found is not None and found.loader is not None:
            found.loader = _Later(found.loader)
        return found


class _Later(Loader):
    def __init__(self, loader: Loader) -> None:
        self.loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _Deferred(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Nothing yet: the first attribute that is asked for runs it."""


class _Deferred(ModuleType):
    def __getattr__(self, name: str) -> Any:
        # The machinery of imports asks for such names, of modules that have none.
        if not (name.startswith("__") and name.endswith("__")):
            with _RUNNING:
                _run(self)
            if name in vars(self):
                return vars(self)[name]
        raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")


def _run(module: ModuleType) -> None:
    package = sys.modules.get(module.__name__.rpartition(".")[0])
    if isinstance(package, _Deferred):
        # As an import would, which runs packages first.
        _run(package)
    spec = module.__spec__
    later = None if spec is None else spec.loader
    # Whoever asks while it runs is run by it, and sees as much of it as there is.
    if spec is not None and isinstance(later, _Later):
        spec.loader = module.__loader__ = later.loader
        later.loader.exec_module(module)
