"""All checks in order: each bounded in time, and none able to keep the others from being said."""

import logging
import os
import re
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from deepsigns_registry.doctor.check import Check, Line, Standing
from deepsigns_registry.doctor.checks import (
    clock,
    disk,
    isolation,
    keys,
    leftovers,
    policy,
    recipes,
    requests,
    runtime,
    server,
    stores,
    versions,
)
from deepsigns_registry.errors import DeepSignsError

if TYPE_CHECKING:
    from deepsigns_registry.config import Settings

__all__ = ["CHECKS", "Examined", "examine", "exit_code_of"]

CHECKS: Mapping[str, Check] = {
    "server": server.check,
    "versions": versions.check,
    "clock": clock.check,
    "keys": keys.check,
    "policy": policy.check,
    "recipes": recipes.check,
    "stores": stores.check,
    "disk": disk.check,
    "runtime": runtime.check,
    "isolation": isolation.check,
    "requests": requests.check,
    "leftovers": leftovers.check,
}
"""In the order in which one fault explains the next."""

_PATIENCE = 120.0
_SERVER_SECONDS = "10"
_USERINFO = re.compile(r"(?<=://)[^/\s]*@")


@dataclass(frozen=True)
class Examined:
    """A line of a check.

    Attributes:
        check: Its name.
        line: What it found.
    """

    check: str
    line: Line


def examine(
    settings: "Settings", checks: Mapping[str, Check] = CHECKS, *, patience: float = _PATIENCE
) -> Iterator[Examined]:
    """Looks at everything, and says each line as it is found.

    Args:
        settings: Of the installation.
        checks: Name -> check.
        patience: Seconds that each check may take; what it is at then goes on beside the next.
    """
    # A server that hangs is one that does not answer; see `registry.client`.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", _SERVER_SECONDS)
    secrets = _secrets(settings)
    for name, check in checks.items():
        for line in _lines(name, check, settings, patience):
            hidden = replace(
                line,
                message=_without(line.message, secrets),
                advice=_without(line.advice, secrets),
            )
            yield Examined(name, hidden)


def exit_code_of(examined: list[Examined]) -> int:
    """1 when something is wrong, 3 when something could not be checked, else 0.

    Examples:
        >>> exit_code_of([Examined("disk", Line("attention", "little is free"))])
        0
    """
    found: set[Standing] = {each.line.standing for each in examined}
    if "wrong" in found:
        return 1
    return 3 if "unchecked" in found else 0


def _lines(name: str, check: Check, settings: "Settings", patience: float) -> list[Line]:
    found: list[Line] = []
    # Ends with this process: a file system or a driver that hangs is not waited for.
    thread = threading.Thread(target=_run, args=(check, settings, found), daemon=True, name=name)
    thread.start()
    thread.join(patience)
    lines = list(found)
    if thread.is_alive():
        lines.append(
            Line(
                "unchecked",
                f"the check did not end within {patience:g} seconds",
                "see whether the server, a disk or a driver that it asks hangs",
            )
        )
    return lines


def _run(check: Check, settings: "Settings", found: list[Line]) -> None:
    try:
        found.extend(check(settings))
    except DeepSignsError as error:
        found.append(Line.of_error(error))
    except ImportError as error:
        # The base install has no more than gate and server need.
        found.append(
            Line(
                "attention",
                f"not looked at: {error.name or 'a package'} is not installed here",
                "run: pip install 'deepsigns-registry[worker]' where this machine is to mark",
            )
        )
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        found.append(
            Line(
                "unchecked",
                f"{place}{error.strerror or type(error).__name__}",
                "let this user read it, or run as the one that the worker runs as",
            )
        )
    except Exception as error:
        logging.getLogger(__name__).debug("check failed", exc_info=True)
        text = (str(error).strip().splitlines() or [""])[0]
        found.append(
            Line(
                "unchecked",
                f"internal error: {type(error).__name__}: {text}",
                "report it, with the log of this command",
            )
        )


def _secrets(settings: "Settings") -> tuple[str, ...]:
    """Passwords in addresses, as they are written and as they are meant."""
    found: list[str] = []
    for address in (settings.tracking_uri, settings.engine.address):
        try:
            password = urlsplit(address).password
        except ValueError:
            continue
        found += [password, unquote(password)] if password else []
    variables = ("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN", "AWS_SECRET_ACCESS_KEY")
    found += [os.environ.get(name, "") for name in variables]
    return tuple(sorted((text for text in set(found) if text), key=len, reverse=True))


def _without(text: str, secrets: tuple[str, ...]) -> str:
    for secret in secrets:
        text = text.replace(secret, "***")
    return _USERINFO.sub("***@", text)
