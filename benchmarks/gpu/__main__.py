"""`bash benchmarks/gpu.sh`: see benchmarks/README.md. Exit code 1 when anything failed."""

import argparse
import json
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.phases import PHASES
from benchmarks.units import write_atomically

__all__ = ["failures_in", "limits", "main"]

_MINUTES = 8.5


@dataclass
class _Outcome:
    seconds: float
    figures: dict[str, Any] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs every phase within the time, and writes one JSON file.

    Args:
        arguments: Of the command line.
    """
    options = _parser().parse_args(arguments)
    device = torch.device(options.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        print(
            "error: torch finds no CUDA device here; use a build of torch with CUDA on a machine "
            "that has one, or --device cpu --tiny",
            file=sys.stderr,
        )
        return 1
    started, end = time.monotonic(), time.monotonic() + 60 * options.minutes
    names, outcomes = options.only or list(PHASES), dict[str, _Outcome]()
    for place, name in enumerate(names):
        limit = limits(names[place:], end - time.monotonic())
        print(f"{name}: at most {limit:.0f} s", file=sys.stderr, flush=True)
        outcomes[name] = _run(name, options, limit)
        _write(options, device, outcomes, time.monotonic() - started)
    failures = [item for outcome in outcomes.values() for item in outcome.failures]
    for failure in failures:
        print(f"failed: {failure}", file=sys.stderr)
    print(options.out)
    return 1 if failures else 0


def limits(names: Sequence[str], left: float) -> float:
    """How many seconds the first of the phases that are left may take.

    What an earlier phase did not use is shared by the later ones.

    Args:
        names: Of the phases that are left, in order.
        left: Seconds in all; below zero when the time is up.

    Examples:
        >>> limits(["mark"], 100.0)
        100.0
        >>> limits(["speed", "mark"], 100.0)
        50.0
    """
    shares = [PHASES[name][1] for name in names]
    return max(0.0, left * shares[0] / sum(shares))


def failures_in(name: str, figures: dict[str, Any]) -> list[str]:
    """What a phase's figures say against the method: one sentence each.

    Args:
        name: Of the phase.
        figures: What it kept.

    Examples:
        >>> failures_in("tests", {"run": 2, "skipped": 0, "failed": ["one: AssertionError"]})
        ['tests: one: AssertionError']
    """
    if name == "tests":
        failed = [f"tests: {item}" for item in figures["failed"]]
        return failed if figures["run"] else ["tests: none was run"]
    if name != "mark":
        return []
    found = [
        f"mark: embedded in {embedded}, read in {read}: {reading['verdict']}"
        for embedded, marked in figures["marked"].items()
        for read, reading in marked["read"].items()
        if reading["verdict"] != "present"
    ]
    parent = figures["parent"]["read"]["float32"]["verdict"]
    return [*found, *(["mark: the parent reads as present"] if parent == "present" else [])]


def _run(name: str, options: argparse.Namespace, limit: float) -> _Outcome:
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        kept = Path(folder, "figures.json")
        command = [sys.executable, "-m", "benchmarks.gpu.phases", name]
        command += ["--device", options.device, "--out", str(kept)]
        command += ["--tiny"] if options.tiny else []
        try:
            # What it prints are progress lines.
            done = subprocess.run(command, stdout=sys.stderr, timeout=limit, check=False)
            problem = f"{name}: ended with code {done.returncode}" if done.returncode else ""
        except subprocess.TimeoutExpired:
            problem = f"{name}: not done within {limit:.0f} s; its figures so far are kept"
        figures = json.loads(kept.read_bytes()) if kept.exists() else {}
    failures = [problem] if problem else []
    failures += failures_in(name, figures) if figures else []
    return _Outcome(time.monotonic() - started, figures, failures)


def _write(
    options: argparse.Namespace,
    device: torch.device,
    outcomes: dict[str, _Outcome],
    seconds: float,
) -> None:
    """Replaces the file after every phase: what ends early leaves what was measured."""
    failures = [item for outcome in outcomes.values() for item in outcome.failures]
    missing = [name for name in options.only or PHASES if name not in outcomes]
    content = {
        **_described(device),
        "tiny": options.tiny,
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(seconds, 1),
        "phases": {
            name: {"seconds": round(outcome.seconds, 1), "figures": outcome.figures}
            for name, outcome in outcomes.items()
        },
        "failures": failures,
        "not_run": missing,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(options.out, (json.dumps(content, indent=2) + "\n").encode())


def _described(device: torch.device) -> dict[str, Any]:
    cuda = device.type == "cuda"
    return {
        "device": torch.cuda.get_device_name(device) if cuda else platform.machine(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda if cuda else None,
        # What float32 means here: products of convolutions may be rounded to ten bits.
        "tf32_convolutions": cuda and torch.backends.cudnn.allow_tf32,
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="benchmarks/gpu.sh", description=__doc__)
    parser.add_argument("--device", default="cuda", help="cuda (the default) or cpu")
    parser.add_argument("--tiny", action="store_true", help="the same in small")
    parser.add_argument("--out", type=Path, default=Path("build/benchmarks/gpu.json"))
    parser.add_argument("--minutes", type=float, default=_MINUTES, help="for everything")
    parser.add_argument("--only", nargs="+", choices=tuple(PHASES), help="phases to run")
    return parser


if __name__ == "__main__":
    sys.exit(main())
