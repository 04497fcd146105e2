"""What other distributions bring through an entry point group: named without being run."""

from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path

from deepsigns_registry.errors import DeepSignsError

__all__ = ["load_plugin", "plugin_folders", "plugin_names"]


def plugin_names(group: str) -> list[str]:
    """Names that installed plugins offer in a group, sorted; runs none of them.

    Examples:
        >>> plugin_names("deepsigns_registry.no_such_group")
        []
    """
    return sorted(entry_points(group=group).names)


def plugin_folders(group: str) -> list[Path]:
    """Folders in which the modules of a group's plugins are found; runs none of them.

    Examples:
        >>> plugin_folders("deepsigns_registry.no_such_group")
        []
    """
    found = set()
    for point in entry_points(group=group):
        try:
            spec = find_spec(point.module.partition(".")[0])
        except (ImportError, ValueError):
            continue
        if spec is not None and spec.origin is not None:
            place = Path(spec.origin)
            # A package is found beside its folder, a module beside its file.
            found.add(place.parents[1] if spec.submodule_search_locations else place.parent)
    return sorted(found)


def load_plugin(
    group: str, name: str, kind: type, *, word: str, error: type[DeepSignsError]
) -> object:
    """Makes the object that the one plugin of this name brings.

    Args:
        group: Entry point group; its values are called without arguments.
        name: Name in the group, and `name` of the object.
        kind: What the object is.
        word: What users call that, with its article, such as `an attack`.
        error: What to raise.

    Returns:
        An instance of `kind`.

    Raises:
        DeepSignsError: Of the type `error`: no plugin or several bring it, or it is broken.
    """
    points = list(entry_points(group=group, name=name))
    if not points:
        raise error(
            f"no plugin brings {word} named '{name}'", advice="install the plugin that brings it"
        )
    if len(points) > 1:
        offered = ", ".join(sorted(point.value for point in points))
        raise error(
            f"more than one plugin brings {word} named '{name}': {offered}",
            advice="uninstall all but one",
        )
    (point,) = points
    try:
        made = point.load()()
    except Exception as problem:  # a plugin's import or constructor may raise anything
        raise error(
            f"plugin '{point.value}' cannot be loaded: {problem}",
            advice="upgrade or uninstall its distribution",
        ) from problem
    if not isinstance(made, kind) or getattr(made, "name", None) != name:
        raise error(
            f"plugin '{point.value}' does not bring {word} named '{name}'",
            advice=f"see {kind.__module__}.{kind.__name__}",
        )
    return made
