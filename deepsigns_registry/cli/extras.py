"""Commands that need more packages than the base installation has: one line says which extra."""

from importlib.util import find_spec
from typing import Any

import click

from deepsigns_registry.errors import ConfigurationError

__all__ = ["EXTRAS", "ExtraCommand", "not_installed"]

_VERIFY = ("numpy", "scipy", "onnx", "onnxruntime")
EXTRAS: dict[str, tuple[str, ...]] = {
    "verify": _VERIFY,
    "worker": (
        *_VERIFY, "torch", "onnxscript", "great_expectations", "pandas", "pyarrow", "matplotlib",
        "sklearn", "apscheduler",
    ),
    "postgres": ("psycopg",),
    "ray": ("ray",),
}  # fmt: skip
"""The modules that each extra brings, where a command needs them; the lightest extra first."""
_PLUGIN = "mlflow_deepsigns"
_MOST_NAMED = 4


class ExtraCommand(click.Command):
    """A command that is told of every package that it lacks before it starts.

    Args:
        extra: The extra whose packages it needs.
        plugin: Whether it needs the plugin of MLflow's server as well.
        arguments: See `click.Command`.
    """

    def __init__(self, *arguments: Any, extra: str, plugin: bool = False, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.extra, self.plugin = extra, plugin

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the command.

        Raises:
            ConfigurationError: A package that it needs is not installed.
        """
        wanted = EXTRAS[self.extra] + ((_PLUGIN,) if self.plugin else ())
        missing = [module for module in wanted if not _is_installed(module)]
        if missing:
            raise _lacking(ctx.command_path, missing, self.extra if missing != [_PLUGIN] else "")
        return super().invoke(ctx)


def not_installed(error: ModuleNotFoundError) -> ConfigurationError | None:
    """The same of an import that failed in the middle of a command.

    Returns:
        None where no extra brings what is missing: then something is wrong with this package.

    Examples:
        >>> str(not_installed(ModuleNotFoundError(name="psycopg")))
        "this needs psycopg, which is not installed; pip install 'deepsigns-registry[postgres]'"
        >>> not_installed(ModuleNotFoundError(name="deepsigns_registry.nothing"))
    """
    module = (error.name or "").partition(".")[0]
    if module == _PLUGIN:
        return _lacking("this", [module], "")
    extra = next((extra for extra, modules in EXTRAS.items() if module in modules), None)
    return None if extra is None else _lacking("this", [module], extra)


def _is_installed(module: str) -> bool:
    try:
        found = find_spec(module)
    except (ImportError, ValueError):
        return False
    # A folder that an uninstalled package left behind has no file to begin with.
    return found is not None and found.origin is not None


def _lacking(who: str, modules: list[str], extra: str) -> ConfigurationError:
    wanted = [f"'deepsigns-registry[{extra}]'"] if extra else []
    wanted += ["mlflow-deepsigns"] if _PLUGIN in modules else []
    named, more = modules[:_MOST_NAMED], len(modules) - _MOST_NAMED
    listed = ", ".join(named) + (f" and {more} more" if more > 0 else "")
    are = "are" if len(modules) > 1 else "is"
    return ConfigurationError(
        f"{who} needs {listed}, which {are} not installed",
        advice=f"pip install {' '.join(wanted)}",
    )
