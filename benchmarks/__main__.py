"""`python -m benchmarks criteria | thieves | speed | table | ordinary | hostile | help-time`.

See benchmarks/README.md. Needs torch, numpy and scipy; what else a criterion needs is said before
anything runs.
"""

import argparse
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import torch

from benchmarks import help_time
from benchmarks.bars import judged
from benchmarks.catalogue import KINDS, store_of
from benchmarks.hostile import command as hostile
from benchmarks.kinds.timing import timed_settings
from benchmarks.measurement import rows_of
from benchmarks.options import CLASSIFIERS, at_least, common_options, names_of, processor, run_of
from benchmarks.ordinary import command as ordinary
from benchmarks.plan import CRITERIA, planned
from benchmarks.plots import draw
from benchmarks.pool import Failure, run_units
from benchmarks.results import Results, read_results, write_results
from benchmarks.scale import FULL, QUICK, Scale
from benchmarks.speed import efficiency
from benchmarks.table import insert, markdown
from benchmarks.thieves import command as thieves
from benchmarks.units import Unit, ordered, write_atomically
from benchmarks.workshop import Run, Workshop
from deepsigns_registry.errors import ConfigurationError, DeepSignsError

# What the bars are set for.
_JUDGED_DATA = "fashion-mnist"
_RESULTS, _SPEED = "results.json", "speed.json"
_QUICK = "quick run"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit code."""
    options = _parser().parse_args(arguments)
    try:
        code = options.run(options)
    except DeepSignsError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except Failure as error:
        print(f"error: {error}", file=sys.stderr)
        return 3
    return code or 0


def _criteria(options: argparse.Namespace) -> None:
    run = run_of(options, _scale(options))
    units = planned(options.only, options.models, run.scale)
    _check_packages(units)
    whole = not options.quick and set(options.only) == set(CRITERIA)
    if options.docs is not None and not whole:
        raise ConfigurationError(
            "--docs is for a run of every criterion", advice="leave --quick and --only out"
        )
    _check_replaceable(run.out / _RESULTS, options)
    _check_models(Workshop(run, store_of(run)), options.models)
    outcomes = run_units(run, units, options.workers)
    rows = rows_of(item for measurements in outcomes.values() for item in measurements)
    wanted = [row for row in rows if row.criterion in options.only]
    wanted.sort(key=lambda row: CRITERIA.index(row.criterion))
    full = not options.quick and run.scale.seeds >= FULL.seeds and run.data == _JUDGED_DATA
    results = Results(_described(run), run.scale.seeds, judged(wanted, full=full))
    _write(results, run.out / _RESULTS)
    if options.docs is not None:
        insert(markdown(results), options.docs)
    if find_spec("matplotlib") is None:
        print("no plots: matplotlib is not installed", file=sys.stderr)
    else:
        draw(results.rows, run.out / "plots")


def _speed(options: argparse.Namespace) -> None:
    run = run_of(options, _scale(options))
    workshop = Workshop(run, store_of(run))
    _check_models(workshop, options.models)
    measurements = []
    for name in options.models:
        print(f"timing {name}", file=sys.stderr, flush=True)
        model = workshop.tapped(workshop.fresh(name, 0))
        measurements += efficiency(
            name,
            model.module,
            model.tap,
            workshop.data,
            timed_settings(workshop.scale),
            device=workshop.device,
            repetitions=run.scale.repetitions,
        )
    rows = judged(rows_of(measurements), full=not options.quick and run.data == _JUDGED_DATA)
    _write(Results(_described(run), 1, rows), run.out / _SPEED)


def _table(options: argparse.Namespace) -> None:
    text = markdown(read_results(options.out / _RESULTS))
    insert(text, options.docs)


def _help_time(_options: argparse.Namespace) -> None:
    help_time.main()


def _write(results: Results, path: Path) -> None:
    """The numbers, and beside them the same as tables."""
    write_results(results, path)
    write_atomically(path.with_suffix(".md"), markdown(results).encode())
    lost = sum(row.met is False for row in results.rows)
    judgeable = sum(row.met is not None for row in results.rows)
    print(f"{path}: {len(results.rows)} rows, {judgeable} judged, {lost} not reached")


def _check_replaceable(path: Path, options: argparse.Namespace) -> None:
    """A small run does not replace the results of a larger one.

    Raises:
        ConfigurationError: It would.
    """
    if not path.exists():
        return
    kept = read_results(path)
    larger = {row.criterion for row in kept.rows} - set(options.only)
    if larger or (options.quick and _QUICK not in kept.device):
        raise ConfigurationError(
            f"{path}: holds results that this run does not measure",
            advice="name another folder with --out, or move that file away",
        )


def _scale(options: argparse.Namespace) -> Scale:
    scale = QUICK if options.quick else FULL
    return scale if options.seeds is None else replace(scale, seeds=options.seeds)


def _check_models(workshop: Workshop, models: Iterable[str]) -> None:
    """What is wrong with the data is said once, and before anything runs."""
    shape = workshop.data.train.inputs.shape[1:]
    for name in models:
        try:
            workshop.tapped(workshop.fresh(name, 0))
        except RuntimeError:
            raise ConfigurationError(
                f"model '{name}' does not take images of shape {shape}",
                advice="choose others with --models",
            ) from None


def _check_packages(units: Iterable[Unit]) -> None:
    kinds = {unit.kind for unit in ordered(units)}
    missing = sorted(
        f"{kind} ({package})"
        for kind in kinds
        for package in KINDS[kind].packages
        if find_spec(package) is None
    )
    if missing:
        raise ConfigurationError(
            f"packages are missing for these units: {', '.join(missing)}",
            advice="install the extra 'benchmarks' and plugins/uchida, or choose with --only",
        )


def _described(run: Run) -> str:
    device = torch.device(run.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else processor()
    if run.scale.name == FULL.name:
        return f"{name}; {run.data}"
    sizes = f"{run.scale.training:,} training samples, {run.scale.share:g} of the epochs"
    return f"{name}; {run.data}; {_QUICK}: {sizes}, {run.scale.keys:,} keys a model"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands = parser.add_subparsers(required=True)
    common = common_options()

    criteria = commands.add_parser(
        "criteria", parents=[common], help="the paper's criteria; goes on where it stopped"
    )
    criteria.add_argument("--docs", type=Path, help="page to write the table into")
    # A seed's copies are compared with the parent of another.
    criteria.add_argument("--seeds", type=at_least(2))
    criteria.add_argument("--workers", type=at_least(1), default=os.cpu_count() or 1)
    criteria.add_argument("--models", action=names_of(CLASSIFIERS), default=("mlp", "cnn"))
    criteria.add_argument("--only", action=names_of(CRITERIA), default=CRITERIA)
    criteria.set_defaults(run=_criteria)

    speed = commands.add_parser("speed", parents=[common], help="ratios of times")
    speed.add_argument("--models", action=names_of(CLASSIFIERS), default=("mlp", "cnn"))
    speed.set_defaults(run=_speed, seeds=None)

    table = commands.add_parser("table", help="write a finished run's table into a page")
    table.add_argument("--out", type=Path, default=Path("build/benchmarks"))
    table.add_argument("--docs", type=Path, default=Path("docs/results.md"))
    table.set_defaults(run=_table)

    ordinary.add_command(commands)
    thieves.add_command(commands, common)
    hostile.add_command(commands)

    helping = commands.add_parser("help-time", help="how long deepsigns --help takes")
    helping.set_defaults(run=_help_time)
    return parser


if __name__ == "__main__":
    sys.exit(main())
