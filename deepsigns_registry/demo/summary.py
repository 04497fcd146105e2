"""What the demo reports: `summary.json`, and the table at the end."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from deepsigns_registry.audit.results import DEPLOYED

__all__ = ["attack_rows", "reading", "table", "write_summary"]


def reading(answer: Mapping[str, Any]) -> dict[str, Any]:
    """One `deepsigns verify --json` answer, in the form of `summary.json`.

    Examples:
        >>> bits = {"errors": 0, "log10_p": -38.5}
        >>> queries = {"trials": 400, "matches": 391, "log10_p": -340.0}
        >>> evidence = {"whitebox": bits, "blackbox": queries}
        >>> reading({"verdict": {"verdict": "present", "evidence": evidence}})["whitebox"]
        {'bit_errors': 0, 'log10_p': -38.5}
    """
    verdict = answer["verdict"]
    whitebox, blackbox = verdict["evidence"]["whitebox"], verdict["evidence"]["blackbox"]
    return {
        "whitebox": {"bit_errors": whitebox["errors"], "log10_p": whitebox["log10_p"]},
        "blackbox": {
            "queries": blackbox["trials"],
            "matches": blackbox["matches"],
            "log10_p": blackbox["log10_p"],
        },
        "verdict": verdict["verdict"],
    }


def attack_rows(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The attacked copies of an audit's `results.json`, in the form of `summary.json`."""
    return [
        {
            "attack": row["attack"],
            "strength": row["strength"],
            "accuracy": row["accuracy"],
            "whitebox_log10_p": row["whitebox_log10_p"],
            "blackbox_log10_p": row["blackbox_log10_p"],
            "verdict": row["verdict"],
        }
        for row in results["rows"]
        if row["label"] != DEPLOYED
    ]


def table(summary: Mapping[str, Any], labels: Sequence[str]) -> str:
    """The closing table, as plain text.

    Args:
        summary: The content of `summary.json`.
        labels: The attacks as they are written in the settings, in the audit's order.
    """
    head = ("file", "accuracy", "white box log10 p", "black box log10 p", "verdict")
    rows: list[Sequence[str]] = [head]
    for word, accuracy in (("marked", "marked_accuracy"), ("unmarked", "baseline_accuracy")):
        entry = summary[word]
        rows.append(
            (
                word,
                f"{summary[accuracy]:.4f}",
                f"{entry['whitebox']['log10_p']:.1f}",
                f"{entry['blackbox']['log10_p']:.1f}",
                entry["verdict"],
            )
        )
    for label, row in zip(labels, summary["audit"]["attacks"], strict=True):
        values = [row[key] for key in ("accuracy", "whitebox_log10_p", "blackbox_log10_p")]
        numbers = ["-" if value is None else f"{value:.1f}" for value in values[1:]]
        accuracy = "-" if values[0] is None else f"{values[0]:.4f}"
        rows.append((label, accuracy, *numbers, row["verdict"]))
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def write_summary(summary: Mapping[str, Any], path: Path) -> None:
    """Writes `summary.json` in one step."""
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    os.replace(draft, path)  # noqa: PTH105 - the name of the atomic operation
