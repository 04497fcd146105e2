"""What the worker looks at before it signs: the marked files, and what the mark costs."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from deepsigns_registry.attestation.statement import Fidelity
from deepsigns_registry.config import Settings
from deepsigns_registry.engine.local import LocalEngine
from deepsigns_registry.errors import RefusedError
from deepsigns_registry.registry.assemble import onnx_file
from deepsigns_registry.registry.versions import VersionRef
from deepsigns_registry.retraining.stage import StageResult, run_program

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from deepsigns_registry.watermark.record import WatermarkRecord

__all__ = ["check_mark", "checked_fidelity", "mark_size", "score_name"]

# How near the outputs of program and file must be, and in steps of the program's own type.
_FAITHFUL, _ROUNDINGS = 1e-3, 8


def mark_size(record: "WatermarkRecord") -> tuple[int, int]:
    """How many bits and how many queries a record holds; none of a scheme that is not embedded."""
    found = (
        record.secrets[scheme].arrays[array].size if scheme in record.secrets else 0
        for scheme, array in (("whitebox", "bits"), ("blackbox", "kept"))
    )
    bits, queries = found
    return bits, queries


def checked_fidelity(settings: Settings, source: VersionRef, result: StageResult) -> Fidelity:
    """What the mark costs, as the statement says it.

    Raises:
        RefusedError: More than the settings allow.
    """
    limit, cost = settings.model(source.name).max_accuracy_drop, result.cost
    if cost.drop > limit:
        raise RefusedError(
            f"{source}: the mark would cost {100 * cost.drop:.2f} points of "
            f"{score_name(settings, source.name)} "
            f"(95% interval {100 * cost.low:.2f} to {100 * cost.high:.2f}), more than "
            f"{100 * limit:.2f}",
            advice="raise max_accuracy_drop, give more data, or use fewer bits",
        )
    return Fidelity(
        # A regressor that is worse than the mean of its targets has an R2 below 0.
        parent_accuracy=max(cost.parent, 0.0),
        marked_accuracy=max(cost.marked, 0.0),
        drop=cost.drop,
        interval=(cost.low, cost.high),
    )


def score_name(settings: Settings, model: str) -> str:
    """What the score of a model's task is called, such as `accuracy`."""
    from deepsigns_registry.watermark.task import SCORES

    return SCORES[settings.model(model).task]


def check_mark(
    marked: Path,
    record: "WatermarkRecord",
    commitments: int,
    samples: "NDArray[np.float32]",
    hidden: Sequence[Path] = (),
) -> None:
    """Reads the mark from the files that will be signed: the ONNX file, then the program.

    Args:
        marked: Folder of the marked version.
        record: The secret.
        commitments: Of this owner so far; every one of them is a try.
        samples: By which program and file are compared where no scheme asks for answers.
        hidden: What the process that runs the program may not open.

    Raises:
        RefusedError: The files do not carry the mark, or are not one model.
        CouldNotCheckError: They cannot be read.
    """
    import numpy as np

    from deepsigns_registry.graph.session import OnnxSuspect
    from deepsigns_registry.guests import reading_schemes
    from deepsigns_registry.watermark.extract import extract
    from deepsigns_registry.watermark.schemes import probe_inputs
    from deepsigns_registry.watermark.verdict import PRESENT_AT, judge, questions

    with reading_schemes(record.secrets) as schemes, OnnxSuspect(onnx_file(marked)) as suspect:
        inputs = probe_inputs(record.secrets, samples, schemes)
        extraction = extract(record, suspect, schemes=schemes)
        expected, _ = suspect.run(inputs, tap=None)
    verdict = judge(
        extraction.evidence,
        tries=commitments * questions(len(record.secrets)) * extraction.alignments,
        ways=extraction.alignments,
        incomplete=extraction.incomplete,
    )
    weak = [
        evidence.scheme
        for evidence in verdict.evidence
        if verdict.log10_p_adjusted(evidence.scheme) > PRESENT_AT
    ]
    unread = sorted(set(record.secrets) - {evidence.scheme for evidence in verdict.evidence})
    if weak or unread or extraction.incomplete:
        # Scheme names only: the reasons in full would tell where the mark sits.
        named = ", ".join([*weak, *unread]) or "the tap was not verified"
        raise RefusedError(
            f"the marked files do not carry the mark that the marked model carried: {named}",
            advice="report this model: its export is not faithful",
        )
    (found,) = LocalEngine(hidden=hidden).run(run_program, [{"folder": marked, "inputs": inputs}])
    # A program in half precision rounds after every operation, its file does not.
    near = max(_FAITHFUL, _ROUNDINGS * found.rounding)
    if not np.allclose(found.outputs, expected.reshape(len(inputs), -1), rtol=near, atol=near):
        raise RefusedError(
            "the marked PyTorch program and the ONNX file give different outputs",
            advice="report this model: its export is not faithful",
        )
