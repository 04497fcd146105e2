"""Options that several commands of `python -m benchmarks` share."""

import argparse
import platform
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from benchmarks.data import NAMES
from benchmarks.models import MODELS
from benchmarks.scale import Scale
from benchmarks.workshop import Run
from deepsigns_registry.errors import ConfigurationError

__all__ = ["CLASSIFIERS", "at_least", "common_options", "names_of", "processor", "run_of"]

CLASSIFIERS = tuple(name for name in MODELS if name not in {"regressor", "embedding"})
"""Architectures that are marked as classifiers."""

# Where Debian's package dataset-fashion-mnist puts its files.
_FOLDERS = {"fashion-mnist": Path("/usr/share/datasets/fashion-mnist")}


def common_options() -> argparse.ArgumentParser:
    """Options of every command that measures models on a data set."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--data", choices=NAMES, default="fashion-mnist")
    common.add_argument("--data-dir", type=Path, help="where the data set's files are")
    common.add_argument("--out", type=Path, default=Path("build/benchmarks"))
    common.add_argument("--device", default="cpu", help="cpu or cuda")
    common.add_argument("--quick", action="store_true", help="the same in small")
    return common


def run_of(options: argparse.Namespace, scale: Scale) -> Run:
    """The run that the common options ask for; its folder is made.

    Raises:
        ConfigurationError: There is no such device, or the folder cannot be made.
    """
    try:
        torch.empty(0, device=options.device)
    except (RuntimeError, AssertionError):
        raise ConfigurationError(
            f"there is no device '{options.device}' here", advice="leave --device out"
        ) from None
    try:
        options.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f"{options.out}: {error.strerror}", advice="name a folder with --out"
        ) from None
    folder = options.data_dir or _FOLDERS.get(options.data)
    return Run(options.data, folder, options.out, options.device, scale)


def processor() -> str:
    """Name of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()}, one thread a model"


def names_of(known: Sequence[str]) -> "type[_Names]":
    """An action of argparse that takes some of these names, with commas."""
    return type("_Known", (_Names,), {"known": tuple(known)})


class _Names(argparse.Action):
    """A list of known names, with commas."""

    known: tuple[str, ...] = ()

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: object,
        option_string: str | None = None,
    ) -> None:
        chosen = tuple(str(values).split(","))
        unknown = sorted(set(chosen) - set(self.known))
        if unknown:
            parser.error(f"{option_string}: {', '.join(unknown)} not in {', '.join(self.known)}")
        setattr(namespace, self.dest, chosen)


def at_least(least: int) -> Callable[[str], int]:
    """A type of argparse: whole numbers from this one on."""

    def number(text: str) -> int:
        value = int(text)
        if value < least:
            raise argparse.ArgumentTypeError(f"{value} is less than {least}")
        return value

    return number
