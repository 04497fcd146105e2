"""`deepsigns verify`: is this ONNX file ours?"""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from deepsigns_registry.audit.results import EXIT_CODES
from deepsigns_registry.cli.envelope import echo_json
from deepsigns_registry.cli.extras import ExtraCommand
from deepsigns_registry.cli.options import (
    config_option,
    json_option,
    settings_of,
)
from deepsigns_registry.cli.printing import echo

if TYPE_CHECKING:
    from deepsigns_registry.audit.verify import Examination

__all__ = ["verify"]

_MEANINGS = {
    "present": "the owner's mark is in this file",
    "absent": "no mark was found; that does not show that the file is not the owner's",
    "undecided": "the evidence is not enough for an answer",
}


@click.command(cls=ExtraCommand, extra="verify")
@click.argument("onnx", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--model", help="Look for the marks of this registered model only.")
@config_option
@json_option
def verify(onnx: Path, model: str | None, config: Path | None, *, as_json: bool) -> None:
    """Look for the owner's marks in the file ONNX; needs the owner's sealed secrets.

    Exit code: 0 present, 1 absent, 3 undecided or could not be checked.
    """
    from deepsigns_registry.audit.verify import find_candidates, verify_onnx
    from deepsigns_registry.graph.limits import limits_of

    settings = settings_of(config)
    candidates = find_candidates(settings, model)
    examination = verify_onnx(onnx, candidates, limits=limits_of(settings.sandbox))
    if as_json:
        echo_json(_document(examination), EXIT_CODES[examination.verdict.word])
    else:
        _echo(onnx, examination)
    raise click.exceptions.Exit(EXIT_CODES[examination.verdict.word])


def _document(examination: "Examination") -> dict[str, object]:
    marking = examination.marking
    return {
        "sha256": examination.digest,
        "verdict": examination.verdict.to_json(),
        "model": marking.model if marking else None,
        "version": marking.marked_version if marking else None,
        "exact_copy": examination.exact is not None,
    }


def _echo(onnx: Path, examination: "Examination") -> None:
    verdict = examination.verdict
    echo(f"{verdict.word}: {onnx}: {_MEANINGS[verdict.word]}")
    for evidence in verdict.evidence:
        adjusted = verdict.log10_p_adjusted(evidence.scheme)
        echo(
            f"  {evidence.scheme:<9} {evidence.said}, "
            f"log10 p {evidence.log10_p:.1f}, adjusted {adjusted:.1f}"
        )
    if verdict.log10_p_joint is not None:
        echo(f"  {'together':<9} adjusted {verdict.log10_p_joint:.1f}")
    for reason in verdict.problems:
        echo(f"  {reason}")
    if examination.marking:
        copy = "an exact copy of" if examination.exact else "derived from"
        echo(f"  {copy} {examination.marking.model}/{examination.marking.marked_version}")
