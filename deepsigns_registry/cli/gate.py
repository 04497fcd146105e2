"""`deepsigns gate` and `deepsigns fetch`: nothing that is not attested goes out."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from deepsigns_registry.cli.envelope import echo_json
from deepsigns_registry.cli.options import config_option, json_option, settings_of
from deepsigns_registry.cli.printing import echo
from deepsigns_registry.naming import folder_in

if TYPE_CHECKING:
    from deepsigns_registry.attestation.bundle import Attestation

__all__ = ["fetch", "gate"]


@click.command()
@click.argument("uri")
@config_option
@json_option
def gate(uri: str, config: Path | None, *, as_json: bool) -> None:
    """Check that the model version at URI is marked and attested.

    URI is models:/NAME@ALIAS, models:/NAME/VERSION, NAME/VERSION, or a folder that was fetched;
    write ./FOLDER where it could be a version's name. A version's files are downloaded and hashed
    again; a tag convinces nobody.
    """
    settings = settings_of(config)
    folder = folder_in(uri)
    if folder is not None:
        from deepsigns_registry.attestation.bundle import verify_folder
        from deepsigns_registry.attestation.policy import Policy

        attestation = verify_folder(folder, Policy.from_settings(settings))
    else:
        from deepsigns_registry.registry.gate import gate as check

        attestation = check(settings, uri).attestation
    _report(uri, attestation, as_json=as_json)


@click.command()
@click.argument("uri")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="New folder for the verified files.",
)
@config_option
@json_option
def fetch(uri: str, out: Path, config: Path | None, *, as_json: bool) -> None:
    """Download the model version at URI, and deliver the bytes that were verified."""
    from deepsigns_registry.registry.fetch import fetch as deliver

    result = deliver(settings_of(config), uri, out)
    _report(uri, result.attestation, out=out, as_json=as_json)


def _report(
    uri: str, attestation: "Attestation", *, out: Path | None = None, as_json: bool
) -> None:
    predicate = attestation.predicate
    if as_json:
        echo_json(
            {
                "uri": uri,
                "verdict": "allowed",
                "out": str(out) if out else None,
                "digest": attestation.combined_digest,
                "ignored": dict(attestation.ignored),
                "predicate": predicate.model_dump(mode="json", by_alias=True),
            }
        )
        return
    parent = f"{predicate.parent.name}/{predicate.parent.version}"
    echo(f"{f'fetched to {out}' if out else 'allowed'}: {uri}")
    echo(f"  owner   {predicate.owner}")
    echo(f"  digest  {attestation.combined_digest}")
    echo(f"  marked  {predicate.created_at:%Y-%m-%d %H:%M:%S %Z}, from {parent}")
    for name, why in attestation.ignored.items():
        echo(f"  ignored {name}: {why}")
