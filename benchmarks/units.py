"""A unit of work: something to measure once, whose outcome is kept, so that a run can go on."""

import ast
import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

__all__ = ["Store", "Unit", "code_digest", "ordered", "write_atomically"]


@dataclass(frozen=True)
class Unit:
    """One thing to do.

    Attributes:
        kind: Which function does it; see `kinds.KINDS`.
        model: The architecture.
        seed: Of everything random in it.
        setting: What tells it from other units of its kind.
        needs: Units whose files it reads.
        alone: Whether nothing else may run beside it, because it measures time.
        cost: About how many seconds it takes in the full run; long units come last.
    """

    kind: str
    model: str
    seed: int = 0
    setting: str = ""
    needs: tuple["Unit", ...] = ()
    alone: bool = False
    cost: float = 10.0

    @property
    def name(self) -> str:
        """A name for files and progress lines.

        Examples:
            >>> Unit("attack", "cnn", 3, "fine_prune:0.5").name
            'attack-cnn-3-fine_prune_0.5'
        """
        words = [self.kind, self.model, str(self.seed), *([self.setting] if self.setting else [])]
        text = "-".join(words)
        return "".join(letter if letter.isalnum() or letter in "-._" else "_" for letter in text)


def ordered(units: Iterable[Unit]) -> list[Unit]:
    """Every unit and what it needs, once each, what is needed before what needs it."""
    found: dict[Unit, None] = {}

    def visit(unit: Unit) -> None:
        if unit in found:
            return
        for needed in unit.needs:
            visit(needed)
        found[unit] = None

    for unit in units:
        visit(unit)
    return list(found)


class Store:
    """Outcomes and files of units in a folder.

    Args:
        folder: Created when it is missing.
        meaning: Everything that decides what a unit's outcome means besides the unit itself:
            for each kind, plain values.
    """

    def __init__(self, folder: Path, meaning: dict[str, Any]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._meaning = meaning
        self._known: dict[Unit, str] = {}

    def fingerprint(self, unit: Unit) -> str:
        """Hash of what decides a unit's outcome: itself, its settings and code, what it needs."""
        if unit not in self._known:
            parts = [
                unit.kind,
                unit.model,
                unit.seed,
                unit.setting,
                self._meaning[unit.kind],
                [self.fingerprint(needed) for needed in unit.needs],
            ]
            text = json.dumps(parts, sort_keys=True)
            self._known[unit] = hashlib.sha256(text.encode()).hexdigest()[:32]
        return self._known[unit]

    def outcome(self, unit: Unit) -> Any | None:
        """What a unit gave, or None when it has not been done as it would be done now."""
        try:
            kept = json.loads(self._json(unit).read_bytes())
        except (OSError, ValueError):
            return None
        return kept["outcome"] if kept["fingerprint"] == self.fingerprint(unit) else None

    def keep(self, unit: Unit, outcome: Any, seconds: float) -> None:
        """Writes an outcome, in one step; the unit's files come before it."""
        kept = {
            "fingerprint": self.fingerprint(unit),
            "seconds": round(seconds, 1),
            "outcome": outcome,
        }
        write_atomically(self._json(unit), json.dumps(kept).encode())

    def write(self, unit: Unit, name: str, content: bytes) -> None:
        """Writes a file of a unit."""
        write_atomically(self._folder / f"{unit.name}.{name}", content)

    def read(self, unit: Unit, name: str) -> bytes:
        """Reads a file of a unit that has been done."""
        return (self._folder / f"{unit.name}.{name}").read_bytes()

    def _json(self, unit: Unit) -> Path:
        return self._folder / f"{unit.name}.json"


def code_digest(modules: Iterable[str]) -> str:
    """Hash of what some modules do: comments, docstrings and layout do not count.

    Args:
        modules: Names; packages stand for all their modules. A distribution that is not
            installed counts as empty.

    Raises:
        ValueError: An installed distribution has no such module.
    """
    digest = hashlib.sha256()
    for path in sorted({path for module in modules for path in _sources(module)}):
        tree = ast.parse(path.read_bytes())
        for node in ast.walk(tree):
            body = getattr(node, "body", None)
            if isinstance(body, list) and body and _is_text(body[0]):
                body.pop(0)
        digest.update(f"{path.name}\n{ast.dump(tree)}\n".encode())
    return digest.hexdigest()[:32]


def write_atomically(path: Path, content: bytes) -> None:
    """Replaces a file in one step."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_bytes(content)
    draft.replace(path)


def _is_text(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _sources(module: str) -> list[Path]:
    package, *inner = module.split(".")
    # Only the outermost is looked up: looking up what is inside would import it.
    spec = find_spec(package)
    if spec is None:
        return []
    for folder in spec.submodule_search_locations or ():
        path = Path(folder).joinpath(*inner)
        if path.is_dir():
            return sorted(path.rglob("*.py"))
        if path.with_suffix(".py").is_file():
            return [path.with_suffix(".py")]
    raise ValueError(f"no module {module}")
