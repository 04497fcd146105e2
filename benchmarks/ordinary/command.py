"""`python -m benchmarks ordinary`: the command and its options."""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from benchmarks.ordinary.runner import run_trials
from benchmarks.ordinary.summary import summarised
from benchmarks.ordinary.table import BEGIN, markdown, terminal
from benchmarks.ordinary.zoo import ZOO
from benchmarks.table import insert
from benchmarks.units import write_atomically
from deepsigns_registry.errors import ConfigurationError

__all__ = ["add_command"]

_SEEDS = 3
_RESULTS = "ordinary.json"


def add_command(commands: "argparse._SubParsersAction[Any]") -> None:
    """Adds `ordinary` to the commands of `python -m benchmarks`."""
    parser = commands.add_parser(
        "ordinary", help="ordinary models, marked with defaults by the product's own path"
    )
    parser.add_argument("--quick", action="store_true", help="every model once, seed 0")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--only", nargs="+", choices=tuple(ZOO), metavar="NAME", default=None)
    parser.add_argument("--seeds", type=_positive, help=f"seeds 0 to N-1; {_SEEDS} by default")
    parser.add_argument("--workers", type=_positive, default=os.cpu_count() or 1)
    parser.add_argument("--out", type=Path, default=Path("build/benchmarks"))
    parser.add_argument("--docs", type=Path, help="page to write the table into")
    parser.set_defaults(run=_ordinary)


def _ordinary(options: argparse.Namespace) -> None:
    seeds = options.seeds or (1 if options.quick else _SEEDS)
    names = [name for name in ZOO if options.only is None or name in options.only]
    if options.docs is not None and (len(names) < len(ZOO) or seeds < _SEEDS):
        raise ConfigurationError(
            "--docs is for a run of every model and seed",
            advice="leave --quick, --only and --seeds out",
        )
    wanted = [(name, seed) for seed in range(seeds) for name in names]
    trials = run_trials(wanted, options.workers, _say)
    summary = summarised(trials, {name: ZOO[name].data for name in names})
    text = json.dumps(summary.to_json(), indent=1)
    try:
        options.out.mkdir(parents=True, exist_ok=True)
        write_atomically(options.out / _RESULTS, f"{text}\n".encode())
    except OSError as error:
        raise ConfigurationError(
            f"{options.out}: {error.strerror}", advice="name a folder with --out"
        ) from None
    if options.docs is not None:
        insert(markdown(summary), options.docs, begin=BEGIN)
    print(text if options.json else terminal(summary))


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is less than 1")
    return value
