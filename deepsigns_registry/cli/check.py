"""`deepsigns check`: would this version be marked, and how?"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from deepsigns_registry.cli.envelope import echo_json
from deepsigns_registry.cli.extras import ExtraCommand
from deepsigns_registry.cli.options import config_option, json_option, settings_of
from deepsigns_registry.cli.printing import echo
from deepsigns_registry.cli.progress import Progress, duration
from deepsigns_registry.naming import folder_in
from deepsigns_registry.registry.figures import STEALTH_COST

if TYPE_CHECKING:
    from deepsigns_registry.config import Settings
    from deepsigns_registry.retraining.check import Examination, TensorForm
    from deepsigns_registry.retraining.effort import Effort

__all__ = ["check"]


@click.command(cls=ExtraCommand, extra="worker")
@click.argument("uri")
@click.option("--model", help="For a folder: its [models.NAME] section, when there are several.")
@config_option
@json_option
def check(uri: str, model: str | None, config: Path | None, *, as_json: bool) -> None:
    """Examine whether and how the version at URI would be marked; nothing is trained.

    URI is models:/NAME@ALIAS, models:/NAME/VERSION, NAME/VERSION, or a folder; write
    ./FOLDER where it could be a version's name.

    Exit code: 0 it would be marked, 1 it would not, 3 it could not be checked.
    """
    settings = settings_of(config)
    with Progress("check") as progress:
        folder = folder_in(uri)
        if folder is not None:
            found = _examine(settings, folder, _section(settings, model), {}, progress)
        else:
            found = _examine_version(settings, uri, progress)
    code = 0 if found.refusal is None else 1
    if as_json:
        echo_json({"uri": uri, **found.to_json()}, code)
    else:
        _echo(uri, found)
    raise click.exceptions.Exit(code)


def _section(settings: "Settings", model: str | None) -> str:
    from deepsigns_registry.errors import ConfigurationError

    if model is not None:
        return model
    if len(settings.models) != 1:
        named = ", ".join(settings.models) or "none"
        raise ConfigurationError(
            f"{settings.path}: which model is in this folder? there are: {named}",
            advice="name its section with --model",
        )
    return next(iter(settings.models))


def _examine_version(settings: "Settings", uri: str, progress: Progress) -> "Examination":
    from deepsigns_registry.attestation.scratch import scratch_folder
    from deepsigns_registry.registry.client import make_client
    from deepsigns_registry.registry.logged import logged_metrics
    from deepsigns_registry.registry.versions import download_version, resolve

    client = make_client(settings.tracking_uri)
    ref = resolve(client, uri)
    settings.model(ref.name)
    with scratch_folder("deepsigns-check-") as scratch:
        progress(0.0, f"downloading {ref}")
        folder = download_version(client, ref, scratch / "model")
        return _examine(settings, folder, ref.name, logged_metrics(client, ref), progress)


def _examine(
    settings: "Settings", folder: Path, model: str, metrics: Mapping[str, float], progress: Progress
) -> "Examination":
    from deepsigns_registry.engine.local import LocalEngine
    from deepsigns_registry.errors import NotFoundError
    from deepsigns_registry.retraining.check import examine_version

    settings.model(model)
    if not folder.is_dir():
        raise NotFoundError(f"{folder}: no such folder", advice="name the folder of a model")
    job = {"source": folder, "config": settings, "model": model, "metrics": dict(metrics)}
    (found,) = LocalEngine(hidden=settings.secrets).run(
        examine_version,
        [job],
        on_progress=lambda _index, fraction, message, figures=None: progress(
            fraction, message, figures
        ),
    )
    return found


def _echo(uri: str, found: "Examination") -> None:
    word = "would be marked" if found.refusal is None else "would not be marked"
    echo(f"{word}: {uri}")
    rows = [
        ("reason", found.refusal.message if found.refusal else ""),
        ("advice", found.refusal.advice if found.refusal else ""),
        ("flavour", found.flavour),
        ("task", found.task),
        ("input", _form(found.inputs)),
        ("output", _form(found.outputs)),
        ("parameters", f"{found.parameters:,}" if found.parameters else ""),
        ("candidates", _widths(found.candidates)),
        ("schemes", ", ".join(found.schemes)),
        ("stealth", STEALTH_COST if found.stealth else ""),
        ("data", _data(found)),
        ("marking", _effort(found.effort, found.seconds)),
    ]
    for name, text in rows:
        if text:
            echo(f"  {name:<10}  {text}")
    for finding in found.judgement.findings if found.judgement else ():
        if found.refusal and finding.message == found.refusal.message:
            continue
        refuses = "refuses" if finding.refuses else "note"
        echo(f"  {'':<10}  {refuses}: {finding.message}")


def _form(form: "TensorForm | None") -> str:
    """A tensor as people write it.

    Examples:
        >>> from deepsigns_registry.retraining.check import TensorForm
        >>> _form(TensorForm((1, 8, None), "float32"))
        'float32 (batch, 1, 8, any)'
    """
    if form is None:
        return ""
    sizes = ["batch", *("any" if length is None else str(length) for length in form.shape)]
    return f"{form.dtype} ({', '.join(sizes)})"


def _widths(candidates: tuple[int, ...]) -> str:
    if not candidates:
        return ""
    layers = "layer" if len(candidates) == 1 else "layers"
    return f"{len(candidates)} {layers}, of {', '.join(map(str, candidates))} neurons"


def _data(found: "Examination") -> str:
    judgement = found.judgement
    if judgement is None:
        return ""
    parts = ["fit" if judgement.refusal is None else "unfit"]
    if math.isfinite(judgement.score):
        parts.append(f"{judgement.score_name} {judgement.score:.4f} of the unmarked model")
    return ", ".join(parts)


def _effort(effort: "Effort | None", whole: float | None) -> str:
    """How long, on what, and with how much memory.

    Examples:
        >>> from deepsigns_registry.retraining.effort import Effort
        >>> _effort(Effort("cpu", 900, 42.0, 5_300_000), 63.0)
        'about 63 s, 42 s of them 900 steps of training that take 5.3 MB, on cpu'
    """
    if effort is None or whole is None:
        return ""
    size = effort.memory_bytes
    memory = f"{size / 1e6:.1f} MB" if size < 1e9 else f"{size / 1e9:.1f} GB"
    return (
        f"about {duration(whole)}, {duration(effort.seconds)} of them {effort.steps} steps of "
        f"training that take {memory}, on {effort.device}"
    )
