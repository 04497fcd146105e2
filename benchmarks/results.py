"""`results.json`: written, read and checked."""

import json
import math
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from benchmarks.measurement import Row
from benchmarks.units import write_atomically
from deepsigns_registry.errors import ConfigurationError

__all__ = ["Results", "read_results", "write_results"]

_KEYS = tuple(field.name for field in fields(Row))


class Results:
    """What a run came to.

    Args:
        device: Where it ran, and how large it was.
        seeds: Number of seeds.
        rows: What was measured.
    """

    def __init__(self, device: str, seeds: int, rows: Sequence[Row]) -> None:
        self.device = device
        self.seeds = seeds
        self.rows = tuple(rows)


def write_results(results: Results, path: Path) -> None:
    """Writes them in one step.

    Raises:
        ValueError: A value is not finite, or two rows have the same name.
    """
    names = [(r.criterion, r.model, r.scheme, r.setting, r.metric) for r in results.rows]
    if len(set(names)) != len(names):
        raise ValueError(f"twice: {sorted({name for name in names if names.count(name) > 1})}")
    for row in results.rows:
        if not math.isfinite(row.value):
            raise ValueError(f"{row.setting}, {row.metric}: {row.value}")
    content = {
        "device": results.device,
        "seeds": results.seeds,
        "rows": [row.to_json() for row in results.rows],
    }
    write_atomically(path, (json.dumps(content, indent=1) + "\n").encode())


def read_results(path: Path) -> Results:
    """Reads what `write_results` wrote.

    Raises:
        ConfigurationError: The file is missing, or is none.
    """
    try:
        content = json.loads(path.read_bytes())
        rows = [Row(**{key: row[key] for key in _KEYS}) for row in content["rows"]]
        return Results(str(content["device"]), int(content["seeds"]), rows)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(
            f"{path}: no results ({error})", advice="run: python -m benchmarks criteria --out DIR"
        ) from None
