"""Fuzzing, each target for a while: `python -m tests.fuzz [--seconds 60] [--seed N] [TARGET ...]`.

A file for which the property does not hold is put into the corpus, which `make test` runs again.
"""

import argparse
import hashlib
import random
import secrets
import sys
import tempfile
import time
from pathlib import Path

from tests.fuzz.properties import Fault, fault_of
from tests.fuzz.targets import Target, make_targets

CORPUS = Path(__file__).with_name("corpus")
_MOST_POOL = 200


def main() -> int:
    """Fuzzes; 1 when anything was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", help="by default all")
    parser.add_argument("--seconds", type=float, default=60.0, help="for each target")
    parser.add_argument("--seed", type=int, default=None, help="makes the same mutants again")
    arguments = parser.parse_args()
    seed = secrets.randbits(32) if arguments.seed is None else arguments.seed
    with tempfile.TemporaryDirectory(prefix="deepsigns-fuzz-") as folder:
        targets = make_targets(Path(folder))
        unknown = sorted(set(arguments.targets) - targets.keys())
        if unknown:
            parser.error(f"no target {unknown[0]!r}; there are {', '.join(targets)}")
        chosen = arguments.targets or list(targets)
        return max(_fuzz(name, targets[name], seed, arguments.seconds) for name in chosen)


def _fuzz(name: str, target: Target, seed: int, seconds: float) -> int:
    chance = random.Random(f"{seed}/{name}")  # noqa: S311 - to be repeated
    kept = sorted((CORPUS / name).glob("*"))
    pool = [*target.seeds, *(path.read_bytes() for path in kept)]
    least = len(pool)
    started, count = time.monotonic(), 0
    while time.monotonic() - started < seconds:
        content = target.mutate(chance.choice(pool), chance)
        count += 1
        fault = fault_of(target, content)
        if fault is not None:
            _tell(name, seed, count, fault, content)
            return 1
        # A mutant of a mutant goes further; which are kept is chance, since nothing is measured.
        if not chance.randrange(20):
            pool.append(content)
            if len(pool) > _MOST_POOL:
                del pool[chance.randrange(least, len(pool))]
    _say(f"{name}: {count} files in {time.monotonic() - started:.0f} s, nothing found, seed {seed}")
    return 0


def _tell(name: str, seed: int, count: int, fault: Fault, content: bytes) -> None:
    path = CORPUS / name / hashlib.sha256(content).hexdigest()[:16]
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    _say(f"{name}: file {count}: {fault.said}; seed {seed}; kept as {path}\n{fault.trace}")


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
