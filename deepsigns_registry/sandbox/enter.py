"""The first thing that runs in a room: closes its doors, says which are closed, goes on.

Started as a script by `room`. Its input begins with a line of JSON, which says what to close and
what to run then; that script finds its requests in the lines after it. What it answers goes to a
file descriptor of its own, so that nothing which a library prints is taken for an answer.
"""

import os
import runpy
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from deepsigns_registry.sandbox import (
    channel,
    landlock,
    limits,
    mounts,
    namespaces,
    privileges,
    seccomp,
)
from deepsigns_registry.sandbox.doors import tried


def _close(request: dict[str, Any]) -> tuple[str, ...]:
    """Closes what the kernel lets it close; names of the layers that this took."""
    readable, writable, devices = (
        [Path(path) for path in request[name]] for name in ("readable", "writable", "devices")
    )
    layers: list[str] = []
    if sys.platform == "linux":
        # The process that waits outside of the new namespaces ends with whoever asked for it.
        privileges.end_with_parent()
    if request["isolate"] and sys.platform == "linux":
        own = namespaces.leave()
        layers += [f"{name} namespace" for name in namespaces.KINDS if name in own]
        if "processes" in own:
            namespaces.go_inside()
        privileges.hide()
        inside = False
        if "mounts" in own and "processes" in own:
            with suppress(OSError):
                mounts.move_into(Path(request["root"]), readable, writable, devices)
                layers.append("root of its own")
                inside = True
        with suppress(OSError):
            privileges.gain_none()
            layers.append("no new privileges")
        with suppress(OSError):
            privileges.give_up()
            layers.append("no capabilities")
        with suppress(OSError):
            seen = [*readable, Path("/proc")] if inside else readable
            landlock.confine(seen, writable, devices)
            layers.append(f"Landlock {landlock.version()}")
    limits.limit(request["limits"])
    if request["isolate"] and seccomp.is_known_here():
        with suppress(OSError):
            seccomp.deny()
            layers.append("seccomp")
    return tuple(layers)


def _main() -> None:
    request = channel.first_line()
    answers = channel.open_answers()
    layers = _close(request)
    channel.send(answers, tried(request["forbidden"], request["parent"], layers).to_json())
    # What the script imports is found among the libraries, not beside the package.
    del sys.path[0]
    sys.path += request["modules"]
    os.chdir(request["folder"])
    runpy.run_path(request["script"], run_name="__main__")


if __name__ == "__main__":
    _main()
