"""`deepsigns gate` and `deepsigns fetch`: nothing that is not attested goes out."""

from pathlib import Path

import click

from deepsigns_registry.cli.formats import ENDINGS, FORMATS
from deepsigns_registry.cli.formats.finding import Finding
from deepsigns_registry.cli.formats.reports import Reports
from deepsigns_registry.cli.options import config_option, json_option, settings_of
from deepsigns_registry.naming import folder_in

__all__ = ["fetch", "gate"]


@click.command()
@click.argument("uri")
@click.option(
    "--format",
    "form",
    type=click.Choice(list(FORMATS)),
    help="How the answer is printed.  [default: text; --json is json]",
)
@click.option(
    "--report",
    "files",
    type=click.Path(dir_okay=False, path_type=Path),
    multiple=True,
    help="Also write the answer to this file, whatever it is; its ending says in which format: "
    f"{', '.join(ENDINGS)}. Can be given several times.",
)
@config_option
@json_option
def gate(
    uri: str, form: str | None, files: tuple[Path, ...], config: Path | None, *, as_json: bool
) -> None:
    """Check that the model version at URI is marked and attested.

    URI is models:/NAME@ALIAS, models:/NAME/VERSION, NAME/VERSION, or a folder that was fetched;
    write ./FOLDER where it could be a version's name. A version's files are downloaded and hashed
    again; a tag convinces nobody.
    """
    form = _one_format(form, as_json=as_json)
    reports = Reports(uri, str(config or Reports.settings), files)
    reports.begin(click.get_current_context().meta)
    settings = settings_of(config)
    folder = folder_in(uri)
    if folder is not None:
        from deepsigns_registry.attestation.bundle import verify_folder
        from deepsigns_registry.attestation.policy import Policy

        attestation = verify_folder(folder, Policy.from_settings(settings))
    else:
        from deepsigns_registry.registry.light import light_mlflow

        with light_mlflow():
            from deepsigns_registry.registry.gate import gate as check

        attestation = check(settings, uri).attestation
    finding = Finding.of_attestation(uri, attestation, settings=reports.settings)
    # Before the answer is printed: it is no yes when nobody will read it.
    reports.write(finding)
    click.echo(FORMATS[form](finding))


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
    from deepsigns_registry.registry.light import light_mlflow

    with light_mlflow():
        from deepsigns_registry.registry.fetch import fetch as deliver

    result = deliver(settings_of(config), uri, out)
    finding = Finding.of_attestation(uri, result.attestation, out=out)
    click.echo(FORMATS["json" if as_json else "text"](finding))


def _one_format(form: str | None, *, as_json: bool) -> str:
    if as_json and form not in {None, "json"}:
        raise click.UsageError(f"--json is --format json, and --format {form} was given too")
    return form or ("json" if as_json else "text")
