"""How long `deepsigns --help` takes, against `python -c "import click"`, in turn."""

import statistics
import subprocess
import sys
import time
from pathlib import Path

RUNS = 15


def seconds(command: list[str]) -> float:
    """Wall time of one run."""
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> None:
    """Prints both medians and the median of the ratios, pair by pair."""
    deepsigns = [str(Path(sys.executable).with_name("deepsigns")), "--help"]
    click = [sys.executable, "-c", "import click"]
    seconds(deepsigns), seconds(click)
    pairs = [(seconds(deepsigns), seconds(click)) for _ in range(RUNS)]
    ratios = sorted(ours / theirs for ours, theirs in pairs)
    print(f"deepsigns --help      {statistics.median(ours for ours, _ in pairs):.3f} s")
    print(f"python, import click  {statistics.median(theirs for _, theirs in pairs):.3f} s")
    print(
        f"ratio                 {statistics.median(ratios):.2f} ({ratios[0]:.2f}-{ratios[-1]:.2f})"
    )


if __name__ == "__main__":
    main()
