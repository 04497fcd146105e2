"""`deepsigns evidence`: one file that a third party checks offline."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from deepsigns_registry.audit.results import EXIT_CODES
from deepsigns_registry.cli.boundary import WholeSummaries
from deepsigns_registry.cli.envelope import echo_json
from deepsigns_registry.cli.extras import ExtraCommand
from deepsigns_registry.cli.options import (
    config_option,
    json_option,
    settings_of,
)
from deepsigns_registry.cli.printing import echo

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deepsigns_registry.attestation.keystore import Marking
    from deepsigns_registry.evidence.result import EvidenceResult, Step

__all__ = ["evidence"]

_FOLDER = click.Path(file_okay=False, path_type=Path)
_FILE = click.Path(dir_okay=False, path_type=Path)


@click.group(cls=WholeSummaries)
def evidence() -> None:
    """Prove a mark to a third party who trusts nobody."""


@evidence.command(cls=ExtraCommand, extra="verify")
@click.argument("suspect", type=_FILE)
@click.option("--out", type=_FILE, required=True, help="The evidence file to write.")
@click.option("--model", help="Look for the marks of this registered model only.")
@click.option(
    "--reveal",
    multiple=True,
    help="Scheme whose key is revealed, and spent; repeat for several. Default: one that suffices.",
)
@click.option(
    "--scanned",
    metavar="N",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Files and services that you looked at before this claim, this one included. You sign "
    "for it, and every p-value is multiplied by it.",
)
@click.option(
    "--sign-with",
    metavar="KEY",
    type=_FILE,
    help="Private key that signs the claim: the owner's, or the one that signs marks  "
    "[default: [owner] signing_key]",
)
@click.option(
    "--other-keystore",
    metavar="FOLDER",
    type=_FOLDER,
    multiple=True,
    help="Another key store of yours: its commitments count too, and its owner keys are stated "
    "as yours; repeat for several.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be revealed; write nothing.")
@click.option("--yes", is_flag=True, help="Do not ask on a terminal before a key is revealed.")
@config_option
@json_option
def export(
    suspect: Path,
    *,
    out: Path,
    model: str | None,
    reveal: tuple[str, ...],
    scanned: int,
    sign_with: Path | None,
    other_keystore: tuple[Path, ...],
    dry_run: bool,
    yes: bool,
    config: Path | None,
    as_json: bool,
) -> None:
    """Write the evidence file about SUSPECT, an ONNX file that carries the mark.

    The file reveals the keys of the schemes named, the training samples that they ask about,
    and a fingerprint of all others. Hand it to nobody who must not see those. On a terminal it
    asks first. It states, under your signature, how many suspects were looked at and all your
    owner keys.
    """
    from deepsigns_registry.evidence.dispute import export_for_suspect

    def agree(marking: "Marking", schemes: "Sequence[str]", samples: int) -> None:
        version = f"{marking.model}/{marking.marked_version}"
        spent = _revealed(schemes, samples)
        if dry_run:
            if as_json:
                echo_json({"written": None, "version": version, "schemes": list(schemes)})
            else:
                echo(f"would be written: {out}")
                echo(f"  would prove the mark of {version} in {suspect}")
                echo(f"  would reveal, and spend: {spent}")
            raise click.exceptions.Exit(0)
        # Scripts have no terminal, and go on as they always did.
        if not yes and sys.stdin.isatty():
            echo(f"this reveals, and spends: {spent} of {version}", err=True)
            click.confirm("Write it?", abort=True, err=True)

    claim = export_for_suspect(
        settings_of(config),
        suspect,
        out=out,
        model=model,
        schemes=reveal,
        scanned=scanned,
        sign_with=sign_with,
        other_keystores=other_keystore,
        agree=agree,
    )
    marking = claim.marking
    if as_json:
        echo_json(
            {
                "written": str(out),
                "version": f"{marking.model}/{marking.marked_version}",
                "schemes": list(claim.schemes),
                "scanned": claim.scanned,
                "commitments": claim.commitments,
                "owners": list(claim.owners),
            }
        )
        return
    echo(f"written: {out}")
    echo(f"  proves the mark of {marking.model}/{marking.marked_version} in {suspect}")
    echo(f"  reveals, and has spent: {_revealed(claim.schemes, claim.samples)}")
    echo(f"  states, signed: {claim.scanned} suspects scanned, this one included")
    echo(f"  states, signed: {claim.commitments} commitments by {len(claim.owners)} owner keys")
    for owner in claim.owners:
        echo(f"    {owner}")


def _revealed(schemes: "Sequence[str]", samples: int) -> str:
    """What whoever has the evidence file knows.

    Examples:
        >>> _revealed(["spread"], 0)
        'spread (key), digest and class of every training sample'
        >>> _revealed(["blackbox", "spread"], 400)
        'blackbox, spread (keys and 400 samples), digest and class of every training sample'
    """
    keys = "key" if len(schemes) == 1 else "keys"
    given = f"{keys} and {samples} samples" if samples else keys
    return f"{', '.join(schemes)} ({given}), digest and class of every training sample"


@evidence.command(cls=ExtraCommand, extra="verify")
@click.argument("file", type=_FILE)
@click.argument("suspect", type=_FILE)
@click.option(
    "--public-key",
    type=_FILE,
    required=True,
    multiple=True,
    help="Key that must have signed the attestation; take it from a source of your own. Repeat "
    "where it was replaced over time.",
)
@click.option(
    "--attestation",
    metavar="BUNDLE",
    type=_FILE,
    help="The attestation as you knew it before SUSPECT, from a source of your own, never from "
    "FILE; without it the answer is 'undecided' at most.",
)
@click.option(
    "--archived",
    metavar="BUNDLE",
    type=_FILE,
    multiple=True,
    help="Another attestation of the claimant that you knew before: it has to fit the claimant's "
    "chain of commitments; repeat for several.",
)
@click.option(
    "--owner-key",
    metavar="KEY",
    type=_FILE,
    multiple=True,
    help="Public key of an owner that is the claimant's too, as you know: without its "
    "commitments the answer is 'undecided' at most; repeat for several.",
)
@json_option
def verify(
    file: Path,
    suspect: Path,
    *,
    public_key: tuple[Path, ...],
    attestation: Path | None,
    archived: tuple[Path, ...],
    owner_key: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Check the evidence FILE about SUSPECT; needs neither settings nor network.

    Every p-value is multiplied by the suspects that the claimant scanned, and by the commitments
    of all the claimant's owner keys.
    """
    from deepsigns_registry.evidence.verify import verify_evidence

    def show(step: "Step") -> None:
        if not as_json:
            echo(f"ok  {step.name}: {step.detail}")

    result = verify_evidence(
        file,
        suspect,
        public_key[0],
        known_attestation=attestation,
        archived=archived,
        owner_keys=owner_key,
        also_trusted=public_key[1:],
        report=show,
    )
    if as_json:
        echo_json(result.to_json(), EXIT_CODES[result.verdict.word])
    else:
        echo(f"{result.verdict.word}: {suspect}")
        for reason in result.verdict.reasons:
            echo(f"  {reason}")
        _echo_price(result)
    raise click.exceptions.Exit(EXIT_CODES[result.verdict.word])


def _echo_price(result: "EvidenceResult") -> None:
    price, tries = result.price, result.verdict.tries
    echo(
        f"  counted: {tries} tries = {price.scanned} suspects x {price.commitments} commitments "
        f"x {tries // price.tries} ways of reading and judging"
    )
    for note in (*price.notes, *price.unknown):
        echo(f"    {note}")
    for owner, count in price.owners.items():
        echo(f"    owner key {owner}: {count} commitments")
