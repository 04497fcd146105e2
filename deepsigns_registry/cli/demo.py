"""`deepsigns demo`: the whole story on one machine."""

from pathlib import Path

import click

from deepsigns_registry.cli.options import OnDisk

__all__ = ["demo"]


@click.command()
@click.option(
    "--out",
    type=OnDisk(file_okay=False),
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
    type=OnDisk(file_okay=False),
    help="Folder of the four IDX files of Fashion-MNIST.",
)
@click.option("--replace", is_flag=True, help="Replace an earlier demo in that folder.")
def demo(out: Path, data: str, data_dir: Path | None, *, replace: bool) -> None:
    """Train, register, promote, mark, gate, tamper and audit, on real data."""
    from deepsigns_registry.demo.story import tell

    tell(out, data=data, data_folder=data_dir, replace=replace)
