"""`deepsigns demo`: the whole story on one machine."""

from pathlib import Path

import click

from deepsigns_registry.cli.envelope import echo_json
from deepsigns_registry.cli.extras import ExtraCommand
from deepsigns_registry.cli.options import json_option
from deepsigns_registry.cli.printing import stdout_aside

__all__ = ["demo"]


@click.command(cls=ExtraCommand, extra="worker", plugin=True)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="New folder for everything the demo makes.",
)
@click.option(
    "--data",
    type=click.Choice(["digits", "fashion-mnist"]),
    default="digits",
    show_default=True,
)
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the four IDX files of Fashion-MNIST.",
)
@click.option("--replace", is_flag=True, help="Replace an earlier demo in that folder.")
@json_option
def demo(out: Path, data: str, data_dir: Path | None, *, replace: bool, as_json: bool) -> None:
    """Train, register, promote, mark, gate, tamper and audit, on real data."""
    from deepsigns_registry.demo.story import tell

    if not as_json:
        tell(out, data=data, data_folder=data_dir, replace=replace)
        return
    with stdout_aside():
        summary = tell(out, data=data, data_folder=data_dir, replace=replace)
    echo_json(summary)
