"""Connections and look-ups of a sample of files, as the kernel sees them."""

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.hostile.case import Case

__all__ = ["can_trace", "traced"]

_CALLS = "connect,sendto,sendmsg,sendmmsg"
_NETWORK = re.compile(r"(AF_INET6?|htons\(53\)|nscd|resolve)")


def can_trace() -> bool:
    """Whether strace is there and may be used."""
    if shutil.which("strace") is None:
        return False
    done = subprocess.run(
        ["strace", "-f", "-e", "trace=connect", "true"], capture_output=True, check=False
    )
    return done.returncode == 0


def traced(cases: Sequence[Case], folder: Path) -> list[str]:
    """Reads some cases in a traced process, rooms and all; what was asked of a network.

    Args:
        cases: What is read, one after the other.
        folder: Where `owner.write_owner` wrote.
    """
    with tempfile.TemporaryDirectory(prefix="hostile-") as place:
        log = Path(place) / "calls"
        names = [f"{case.kind}:{case.name}" for case in cases]
        subprocess.run(
            [
                *("strace", "-f", "-qq", "--seccomp-bpf", "-e", f"trace={_CALLS}", "-o", str(log)),
                *(sys.executable, "-m", "benchmarks.hostile.lookups", str(folder), *names),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=True,
        )
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return [line for line in lines if _NETWORK.search(line)]


def _main() -> None:
    from benchmarks.hostile.reading import Reader

    folder, *names = sys.argv[1:]
    reader = Reader(Path(folder))
    for name in names:
        kind, _, which = name.partition(":")
        for known in ("mutant", "trick", "evidence"):
            if kind == known:
                case = Case(known, which)
                with tempfile.TemporaryDirectory(prefix="hostile-") as place:
                    reader.read(case, reader.made(case, Path(place)))


if __name__ == "__main__":
    _main()
