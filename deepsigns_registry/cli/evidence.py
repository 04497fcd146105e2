"""`deepsigns evidence`: one file that a third party checks offline."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from deepsigns_registry.audit.results import EXIT_CODES
from deepsigns_registry.cli.options import (
    config_option,
    echo_json,
    json_option,
    settings_of,
)

if TYPE_CHECKING:
    from deepsigns_registry.evidence.verify import Step

__all__ = ["evidence"]

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.group()
def evidence() -> None:
    """Prove a mark to a third party who trusts nobody."""


@evidence.command()
@click.argument("suspect", type=_FILE)
@click.option("--out", type=_FILE, required=True, help="The evidence file to write.")
@click.option("--model", help="Look for the marks of this registered model only.")
@click.option(
    "--reveal",
    multiple=True,
    help="Scheme whose key is revealed, and spent; repeat for several. Default: one that suffices.",
)
@config_option
def export(
    suspect: Path, out: Path, model: str | None, reveal: tuple[str, ...], config: Path | None
) -> None:
    """Write the evidence file about SUSPECT, an ONNX file that carries the mark.

    The file reveals the keys of the schemes named, and training samples. Hand it to nobody
    who must not see those.
    """
    from deepsigns_registry.evidence.dispute import export_for_suspect

    claim = export_for_suspect(settings_of(config), suspect, out=out, model=model, schemes=reveal)
    marking = claim.marking
    click.echo(f"written: {out}")
    click.echo(f"  proves the mark of {marking.model}/{marking.marked_version} in {suspect}")
    click.echo(f"  reveals: {', '.join(claim.schemes)} (key and training samples; now spent)")


@evidence.command()
@click.argument("file", type=_FILE)
@click.argument("suspect", type=_FILE)
@click.option(
    "--public-key",
    type=_FILE,
    required=True,
    help="Key that must have signed the attestation; take it from a source of your own.",
)
@click.option(
    "--attestation",
    metavar="BUNDLE",
    type=_FILE,
    help="The attestation as you knew it before SUSPECT, from a source of your own, never from "
    "FILE; without it the answer is 'undecided' at most.",
)
@json_option
def verify(
    file: Path, suspect: Path, public_key: Path, attestation: Path | None, *, as_json: bool
) -> None:
    """Check the evidence FILE about SUSPECT; needs neither settings nor network."""
    from deepsigns_registry.evidence.verify import verify_evidence

    def show(step: "Step") -> None:
        if not as_json:
            click.echo(f"ok  {step.name}: {step.detail}")

    result = verify_evidence(file, suspect, public_key, known_attestation=attestation, report=show)
    if as_json:
        echo_json(result.to_json())
    else:
        click.echo(f"{result.verdict.word}: {suspect}")
        for reason in result.verdict.reasons:
            click.echo(f"  {reason}")
    raise click.exceptions.Exit(EXIT_CODES[result.verdict.word])
