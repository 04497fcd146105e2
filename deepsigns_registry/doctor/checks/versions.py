"""Whether MLflow, here and on the server, is of the range that this package is tested with."""

import re
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from typing import TYPE_CHECKING

from deepsigns_registry.doctor.asking import ask, is_server
from deepsigns_registry.doctor.check import Line

if TYPE_CHECKING:
    from packaging.specifiers import SpecifierSet

    from deepsigns_registry.config import Settings

__all__ = ["check"]

_OURS, _MLFLOW = "deepsigns-registry", "mlflow-skinny"
_VERSION = re.compile(r"\d{1,4}(?:\.\d{1,4}){1,3}[\w.+-]{0,40}")


def check(settings: "Settings") -> Iterator[Line]:
    """Compares both versions with what the package requires.

    Raises:
        DeepSignsError: The server does not answer.
    """
    tested = _tested()
    if tested is None:
        yield Line("unchecked", f"{_OURS} is not installed as a package", "install it with pip")
        return
    yield _judged("here", version(_MLFLOW), tested)
    if not is_server(settings.tracking_uri):
        return
    answer = ask(settings.tracking_uri, "/version")
    text = answer.text.strip()
    if answer.status == 200 and _VERSION.fullmatch(text):
        yield _judged("on the server", text, tested)
    else:
        yield Line(
            "unchecked",
            f"the server does not say which MLflow it runs (status {answer.status})",
            "see whether what answers there is MLflow, and whether a proxy keeps /version back",
        )


def _judged(where: str, found: str, tested: "SpecifierSet") -> Line:
    words = ", ".join(sorted(map(str, tested), reverse=True))
    if tested.contains(found, prereleases=True):
        return Line("ok", f"MLflow {found} {where}, tested with {words}")
    return Line(
        "wrong",
        f"MLflow {found} {where}, and this release is tested with {words}",
        f"install mlflow '{words.replace(' ', '')}' there, or the release that fits",
    )


def _tested() -> "SpecifierSet | None":
    from packaging.requirements import Requirement

    try:
        wanted = map(Requirement, requires(_OURS) or ())
    except PackageNotFoundError:
        return None
    return next(
        (each.specifier for each in wanted if each.name == _MLFLOW and each.marker is None), None
    )
