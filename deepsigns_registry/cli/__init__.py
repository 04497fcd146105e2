"""The command line: one file a command group, no logic, one error boundary."""

import click

from deepsigns_registry import __version__
from deepsigns_registry.cli import (
    audit,
    check,
    demo,
    doctor,
    evidence,
    gate,
    init,
    promote,
    sandbox,
    status,
    up,
    verify,
    worker,
)
from deepsigns_registry.cli.boundary import BoundaryGroup

__all__ = ["main"]


@click.group(cls=BoundaryGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="deepsigns")
def main() -> None:
    """Watermark MLflow model versions at promotion, prove it, and audit what is deployed.

    Exit codes: 0 yes; 1 no; 2 usage or configuration; 3 could not be checked; 4 tampered.
    """


for command in (
    init.init,
    up.up,
    demo.demo,
    check.check,
    promote.promote,
    status.status,
    worker.worker,
    gate.gate,
    gate.fetch,
    verify.verify,
    sandbox.sandbox,
    doctor.doctor,
    audit.audit,
    evidence.evidence,
):
    main.add_command(command)
