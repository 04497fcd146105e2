"""The phases of a run, each in a process of its own: `python -m benchmarks.gpu.phases NAME ...`.

A kernel that fails leaves its process without the device: the next phase must not share it.
"""

import argparse
import importlib.util
import io
import json
import os
import sys
import time
import unittest
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.mark import compare_precisions
from benchmarks.gpu.setting import Setting
from benchmarks.gpu.speed import measure_speed
from benchmarks.units import write_atomically

__all__ = ["PHASES", "main", "tests_of_the_method"]

Keep = Callable[[dict[str, Any]], None]

_TESTS = Path(__file__).parents[2] / "tests/unit/watermark/test_on_device.py"


def run_tests(setting: Setting, keep: Keep) -> None:
    """The method's own tests on the device; a test that fails is a figure too.

    Args:
        setting: The run's size; the tests have their own, and take the device.
        keep: Given the figures at the end.
    """
    os.environ["METHOD_TEST_DEVICE"] = str(setting.device)
    words = io.StringIO()
    result = unittest.TextTestRunner(words, verbosity=0).run(tests_of_the_method())
    broken = [*result.failures, *result.errors]
    if broken:
        print(words.getvalue(), file=sys.stderr, flush=True)
    failed = [f"{case}: {trace.strip().splitlines()[-1]}" for case, trace in broken]
    keep({"run": result.testsRun, "skipped": len(result.skipped), "failed": failed})


def tests_of_the_method() -> unittest.TestSuite:
    """Reads the tests from their file: another package of the name `tests` may be installed."""
    spec = importlib.util.spec_from_file_location("test_on_device", _TESTS)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(_TESTS)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return unittest.defaultTestLoader.loadTestsFromModule(module)


PHASES: dict[str, tuple[Callable[[Setting, Keep], None], float]] = {
    "tests": (run_tests, 0.3),
    "speed": (measure_speed, 0.35),
    "mark": (compare_precisions, 0.35),
}
"""Each phase by its name, with its share of the time."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one phase, and keeps its figures in a file as they come in."""
    parser = argparse.ArgumentParser(description="one phase of benchmarks/gpu.sh")
    parser.add_argument("name", choices=tuple(PHASES))
    parser.add_argument("--device", required=True)
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(arguments)
    started = time.monotonic()
    if torch.device(options.device).type == "cpu":
        # Threads that wait by spinning take the cores of whatever else runs there.
        torch.set_num_threads(1)

    def keep(figures: dict[str, Any]) -> None:
        write_atomically(options.out, json.dumps(figures, allow_nan=False).encode())
        seconds = time.monotonic() - started
        print(f"{options.name}: figures kept after {seconds:.0f} s", file=sys.stderr, flush=True)

    run, _ = PHASES[options.name]
    run(Setting(torch.device(options.device), options.tiny), keep)
    return 0


if __name__ == "__main__":
    sys.exit(main())
