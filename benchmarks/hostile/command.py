"""`python -m benchmarks hostile`: the command and its options."""

import argparse
import json
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.hostile.case import Case, Outcome
from benchmarks.hostile.tricks import TRICKS
from benchmarks.options import at_least
from benchmarks.units import write_atomically
from deepsigns_registry.errors import ConfigurationError

__all__ = ["add_command", "cases_of", "summary_of"]

_MUTANTS, _EVIDENCE = 1050, 500
_SHARE_IF_QUICK = 10
_TRACED_MUTANTS, _TRACED_TRICKS = range(6), ("answers_of_chance", "outside_in_a_branch")
_RESULTS = "hostile.json"
_COUNTED = ("accepted", "tracebacks", "over_time", "over_memory", "left_processes", "lookups")


def add_command(commands: "argparse._SubParsersAction[Any]") -> None:
    """Adds `hostile` to the commands of `python -m benchmarks`."""
    parser = commands.add_parser(
        "hostile", help="mutants, tricks and escapes: what files may do that mean harm"
    )
    parser.add_argument("--quick", action="store_true", help="a tenth of the mutants")
    parser.add_argument("--json", action="store_true", help="print JSON alone")
    parser.add_argument("--only", nargs="+", metavar="CASE", help="cases as they are listed")
    parser.add_argument("--workers", type=at_least(1), default=_free_cores())
    parser.add_argument("--out", type=Path, default=Path("build/benchmarks"))
    parser.set_defaults(run=_hostile)


def cases_of(*, quick: bool) -> list[Case]:
    """Everything that is read."""
    share = _SHARE_IF_QUICK if quick else 1
    # What takes longest comes first, so that no core waits for the last one.
    cases = [Case("trick", name) for name in TRICKS]
    cases += [Case("mutant", str(number)) for number in range(_MUTANTS // share)]
    return cases + [Case("evidence", str(number)) for number in range(_EVIDENCE // share)]


def summary_of(outcomes: Mapping[Case, Outcome], escapes: int, asked: int) -> dict[str, Any]:
    """What is counted, as the command prints it.

    Args:
        outcomes: Of all files.
        escapes: Probes that got out.
        asked: What a traced process asked of a network.
    """
    faults = Counter(fault for outcome in outcomes.values() for fault in outcome.faults)
    counts = {name: faults[name] for name in _COUNTED}
    counts["lookups"] = sum(outcome.lookups for outcome in outcomes.values()) + asked
    counts["left_processes"] = sum(outcome.left for outcome in outcomes.values())
    first = {name: counts.pop(name) for name in ("accepted", "tracebacks")}
    largest = max((max(each.grown, each.room) for each in outcomes.values()), default=0)
    return {
        "files": len(outcomes),
        **first,
        "escapes": escapes,
        **counts,
        "max_seconds": round(max((each.seconds for each in outcomes.values()), default=0), 2),
        "max_mib": round(largest / 2**20),
    }


def _hostile(options: argparse.Namespace) -> int:
    from benchmarks.hostile import escapes, lookups
    from benchmarks.hostile.owner import write_owner
    from benchmarks.hostile.pool import read_all

    cases = _chosen(options)
    out = options.out / "hostile"
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f"{out}: {error.strerror}", advice="name a folder with --out"
        ) from None
    started, done = time.monotonic(), 0

    def told(case: Case, outcome: Outcome) -> None:
        nonlocal done
        done += 1
        if outcome.faults or done % 25 == 0:
            passed = f"[{time.monotonic() - started:5.0f} s] {done}/{len(cases)}"
            _say(f"{passed} {case}: {', '.join(outcome.faults) or outcome.said[:100]}")

    with tempfile.TemporaryDirectory(prefix="hostile-") as place:
        folder = Path(place)
        write_owner(folder)
        found = read_all(cases, folder, out, workers=options.workers, told=told)
        asked: list[str] = []
        if options.only is None and lookups.can_trace():
            sample = [Case("mutant", str(number)) for number in _TRACED_MUTANTS]
            sample += [Case("trick", name) for name in _TRACED_TRICKS]
            asked = lookups.traced(sample, folder)
            _say(f"look-ups: every file by Python's audit, {len(sample)} by strace as well")
        else:
            _say("look-ups: every file by Python's audit alone; strace was not used")
    got_out: tuple[str, ...] = ()
    if options.only is None:
        escaped = escapes.tried()
        got_out = escaped.got_out
        users = " and ".join(map(str, escaped.users))
        _say(f"escapes: {escaped.probes} probes, as users {users}")
    result = summary_of(found, len(got_out), len(asked))
    _tell_faults(found, [*got_out, *asked])
    text = json.dumps(result)
    write_atomically(options.out / _RESULTS, f"{text}\n".encode())
    details = [{"case": str(case), **vars(outcome)} for case, outcome in found.items()]
    write_atomically(out / "cases.json", json.dumps(details, indent=1).encode())
    if options.json:
        print(text)
    else:
        print("\n".join(f"{name.replace('_', ' '):15} {value}" for name, value in result.items()))
    return int(any(result[name] for name in (*_COUNTED, "escapes")))


def _chosen(options: argparse.Namespace) -> list[Case]:
    if options.only is None:
        return cases_of(quick=options.quick)
    known = {str(case): case for case in cases_of(quick=False)}
    wanted = [name.replace(":", " ") for name in options.only]
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise ConfigurationError(
            f"there is no case '{unknown[0]}'", advice="name one such as mutant:7 or trick:doubling"
        )
    return [known[name] for name in wanted]


def _tell_faults(found: Mapping[Case, Outcome], others: list[str]) -> None:
    for case, outcome in found.items():
        if not outcome.faults:
            continue
        mib = max(outcome.grown, outcome.room) / 2**20
        kept = f", kept: {', '.join(outcome.kept)}" if outcome.kept else ""
        _say(f"{', '.join(outcome.faults)}: {case}: {outcome.seconds:.1f} s, {mib:.0f} MiB{kept}")
        if outcome.traceback:
            _say("  " + "\n  ".join(outcome.traceback.strip().splitlines()[-6:]))
    for other in others:
        _say(other)


def _free_cores() -> int:
    """So many cores as nobody uses now; one at least."""
    cores = len(os.sched_getaffinity(0))
    return max(1, min(cores, round(cores - os.getloadavg()[0])))


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
