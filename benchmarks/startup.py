"""Processor time of the commands that run in CI, against that of `python -c "import click"`.

    python benchmarks/startup.py [--json] [--demo DIR] [--repetitions N]

In the folder of a demo (`deepsigns demo --out demo`). All commands are run in turn, as many times
as there are repetitions, and each has the median of its times; what its own child processes need
counts. Nothing is compiled while it is timed, as in an installation that was used before.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from deepsigns_registry.config import load_settings
from deepsigns_registry.registry.server import start_server

_GOALS = {"verify": 0.9, "gate ./FOLDER": 0.5, "gate models:/": 1.5}
"""Seconds of a processor, at most, where `import click` takes `_CLICK` of them."""
# Of an idle machine of two cores. A busy one takes longer for all; the ratios stay.
_CLICK = 0.05
_HEAVY = ("torch", "pandas", "fastapi")
_COMMAND = [sys.executable, "-m", "deepsigns_registry"]


@dataclass(frozen=True)
class Timed:
    """What a command took.

    Attributes:
        seconds: Of a processor, the median.
        ratio: To the seconds of `import click`.
        goal: The ratio, at most.
        imports: Heavy packages that it imports.
    """

    seconds: float
    ratio: float
    goal: float
    imports: tuple[str, ...]


def main(arguments: Sequence[str] | None = None) -> int:
    """Times all commands, and prints a table or JSON; 1 where a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--demo", type=Path, default=Path("demo"), metavar="DIR")
    parser.add_argument("--repetitions", type=int, default=7, metavar="N")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    demo = options.demo.absolute()
    if not (demo / "summary.json").is_file():
        print(f"error: {demo}: no demo; make one: deepsigns demo --out {options.demo}")
        return 2
    baseline, found = _measured(demo, options.repetitions)
    if options.json:
        listed = {name: vars(timed) for name, timed in found.items()}
        print(json.dumps({"import click": baseline, "commands": listed}, indent=2))
    else:
        print(f"{'import click':<16}{baseline:>7.3f} s")
        for name, timed in found.items():
            imported = ", ".join(timed.imports) or f"none of {', '.join(_HEAVY)}"
            print(
                f"{name:<16}{timed.seconds:>7.3f} s{timed.ratio:>7.1f} x   goal {timed.goal:.0f} x"
                f"   imports {imported}"
            )
    missed = any(timed.ratio > timed.goal or timed.imports for timed in found.values())
    return int(missed)


def _measured(demo: Path, repetitions: int) -> tuple[float, dict[str, Timed]]:
    config = demo / "deepsigns.toml"
    (model,) = load_settings(config).models
    with (
        tempfile.TemporaryDirectory() as scratch,
        start_server(demo / "mlflow", config=config, artifacts="local") as server,
    ):
        environment = {
            **os.environ,
            "DEEPSIGNS_CONFIG": str(config),
            "DEEPSIGNS_REGISTRY__TRACKING_URI": server.uri,
            "PYTHONPYCACHEPREFIX": str(Path(scratch) / "compiled"),
        }
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        version, folder = f"models:/{model}@champion", str(Path(scratch) / "fetched")
        _seconds([*_COMMAND, "fetch", version, "--out", folder], environment)
        commands = {
            "verify": [*_COMMAND, "verify", str(demo / "deployed/model.onnx")],
            "gate ./FOLDER": [*_COMMAND, "gate", folder],
            "gate models:/": [*_COMMAND, "gate", version],
        }
        least = [sys.executable, "-c", "import click"]
        times: dict[str, list[float]] = {name: [] for name in ("", *commands)}
        for round_ in range(1 + repetitions):
            for name, command in (("", least), *commands.items()):
                took = _seconds(command, environment)
                # The first round compiles.
                if round_:
                    times[name].append(took)
        imports = {name: _imports(command, environment) for name, command in commands.items()}
    baseline = statistics.median(times.pop(""))
    medians = {name: statistics.median(values) for name, values in times.items()}
    return baseline, {
        name: Timed(seconds, seconds / baseline, _GOALS[name] / _CLICK, imports[name])
        for name, seconds in medians.items()
    }


def _seconds(command: Sequence[str], environment: Mapping[str, str]) -> float:
    """Processor time of a command and of whatever it waited for."""
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"error: {' '.join(command)} ended with {process.returncode}")
    return usage.ru_utime + usage.ru_stime


def _imports(command: Sequence[str], environment: Mapping[str, str]) -> tuple[str, ...]:
    done = subprocess.run(
        [command[0], "-X", "importtime", *command[1:]],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    modules = re.findall(r"\|\s+(\S+)$", done.stderr, re.MULTILINE)
    names = {module.partition(".")[0] for module in modules}
    return tuple(package for package in _HEAVY if package in names)


if __name__ == "__main__":
    raise SystemExit(main())
