"""Runs code as on an installation that lacks some packages, though this machine has them."""

import re
import tomllib
from collections.abc import Collection, Iterator
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

ROOT = Path(__file__).parents[2]
OURS = "deepsigns-registry"
_FLOOR = """
import sys


class Lacking:
    def __init__(self, finder):
        self.finder = finder

    def __getattr__(self, name):
        return getattr(self.finder, name)

    def find_spec(self, name, path=None, target=None):
        absent = name.partition(".")[0] in {absent}
        return None if absent else self.finder.find_spec(name, path, target)


sys.meta_path[:] = [Lacking(finder) for finder in sys.meta_path]
"""


def only(extras: Collection[str] = ()) -> str:
    """Python code after which only what an installation with these extras has can be imported."""
    there = _closure(OURS, extras)
    # Two builds of one package: this machine may have the other one.
    if "onnxruntime" in there:
        there.add("onnxruntime-gpu")
    absent = [
        package
        for package, distributions in packages_distributions().items()
        if there.isdisjoint(map(_plain, distributions))
    ]
    return _FLOOR.format(absent=set(absent))


def without(*packages: str) -> str:
    """Python code after which these packages cannot be imported."""
    return _FLOOR.format(absent=set(packages))


def _closure(distribution: str, extras: Collection[str]) -> set[str]:
    """The distributions that installing one brings, by their plain names."""
    found: set[str] = set()
    waiting, seen = [(distribution, frozenset(extras))], set()
    while waiting:
        name, wanted = asked = waiting.pop()
        if asked in seen:
            continue
        seen.add(asked)
        found.add(_plain(name))
        for line in _requirements(name, wanted):
            brackets = re.search(r"\[([^\]]*)\]", line)
            more = brackets[1].split(",") if brackets else []
            named = re.match(r"[A-Za-z0-9._-]+", line)
            assert named is not None, line
            waiting.append((named[0], frozenset(part.strip() for part in more)))
    return found


def _requirements(name: str, extras: Collection[str]) -> Iterator[str]:
    if name == OURS:
        # As it is in this folder, whatever is installed.
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        yield from project["dependencies"]
        for extra in extras:
            yield from project["optional-dependencies"][extra]
        return
    try:
        listed = requires(name) or []
    except PackageNotFoundError:
        # For another platform or Python, or one of two that exclude each other.
        return
    for line in listed:
        requirement, _, marker = line.partition(";")
        named = re.search(r"extra\s*==\s*['\"]([^'\"]+)", marker)
        if named is None or named[1] in extras:
            yield requirement


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
