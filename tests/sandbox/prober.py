"""Opens a room and prints what the probes in it could do; as another user when told so.

    python prober.py PROJECT PROBES OUTSIDE [USER]

Started as a script of its own, so that it can give up being root for good.
"""

import json
import os
import sys
from pathlib import Path


def main() -> None:
    project, probes, outside, *user = sys.argv[1:]
    sys.path.insert(0, project)
    sys.dont_write_bytecode = True
    if user:
        os.setgroups([])
        os.setgid(int(user[0]))
        os.setuid(int(user[0]))
    from deepsigns_registry.sandbox.room import Bounds, Room

    request = {**json.loads(outside), "parent": os.getpid()}
    with Room(Path(probes), bounds=Bounds(seconds=600, limits={"core": 0})) as room:
        found = {**room.ask(request), "open": list(room.doors.open)}
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()
