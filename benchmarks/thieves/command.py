"""`python -m benchmarks thieves`: the command and its options."""

import argparse
import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.measurement import rows_of
from benchmarks.options import at_least, names_of, processor, run_of
from benchmarks.pool import run_units
from benchmarks.results import Results, write_results
from benchmarks.scale import FULL
from benchmarks.table import insert
from benchmarks.thieves.bars import judged
from benchmarks.thieves.plan import HIDDEN, MODELS, QUICK, REWRITE, planned, samples_of
from benchmarks.thieves.robberies import robberies
from benchmarks.thieves.table import BEGIN, markdown, terminal
from benchmarks.units import write_atomically
from benchmarks.workshop import Run
from deepsigns_registry.errors import ConfigurationError

__all__ = ["add_command"]

_RESULTS = "thieves.json"
_ATTACKS = tuple(
    dict.fromkeys(
        [*(found.attack for found in robberies("mlp", 1) if found.attack), REWRITE, HIDDEN],
    )
)
_QUICK_MODELS = ("mlp", "cnn")


def add_command(
    commands: "argparse._SubParsersAction[Any]", common: argparse.ArgumentParser
) -> None:
    """Adds `thieves` to the commands of `python -m benchmarks`."""
    parser = commands.add_parser(
        "thieves", parents=[common], help="every attack, and what is left of the mark"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--docs", type=Path, help="page to write the table into")
    parser.add_argument("--models", action=names_of(MODELS), default=None)
    parser.add_argument("--only", action=names_of(_ATTACKS), default=(), metavar="ATTACK")
    parser.add_argument("--seeds", type=at_least(1), help="so many of each model, at most")
    parser.add_argument("--workers", type=at_least(1), default=os.cpu_count() or 1)
    parser.set_defaults(run=_thieves)


def _thieves(options: argparse.Namespace) -> None:
    scale = QUICK if options.quick else FULL
    if options.seeds is not None:
        scale = replace(scale, seeds=min(options.seeds, scale.seeds))
    models = options.models or (_QUICK_MODELS if options.quick else MODELS)
    if options.docs is not None and (options.quick or options.only or set(models) != set(MODELS)):
        raise ConfigurationError(
            "--docs is for a run of every model and attack",
            advice="leave --quick, --only and --models out",
        )
    run = run_of(options, scale)
    outcomes = run_units(run, planned(models, scale, options.only), options.workers)
    rows = rows_of(item for measurements in outcomes.values() for item in measurements)
    full = not options.quick and scale.seeds == FULL.seeds
    results = Results(_described(run, models), scale.seeds, judged(rows, scale, full=full))
    path = options.out / _RESULTS
    write_results(results, path)
    write_atomically(path.with_suffix(".md"), markdown(results).encode())
    if options.docs is not None:
        insert(markdown(results), options.docs, begin=BEGIN)
    if options.json:
        print(json.dumps({"rows": [row.to_json() for row in results.rows]}, indent=1))
    else:
        print(terminal(results))
    print(f"{path}: {len(results.rows)} rows", file=sys.stderr)


def _described(run: Run, models: tuple[str, ...]) -> str:
    device = torch.device(run.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else processor()
    samples = ", ".join(f"{model} on {samples_of(model, run.scale):,}" for model in models)
    return f"{name}; {run.data}; {samples}"
