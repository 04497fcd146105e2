"""The same fine-tuning without a mark: what the mark's cost is measured against."""

from pathlib import Path
from typing import TYPE_CHECKING

from deepsigns_registry.retraining.options import mark_settings, training_device
from deepsigns_registry.retraining.unmarked import EXAMPLE_ROWS, Unmarked

if TYPE_CHECKING:
    from deepsigns_registry.engine.jobs import JobProgress

__all__ = ["train_control"]


def train_control(
    *, progress: "JobProgress", source: Path, config: Path, model: str, onnx: Path
) -> float:
    """Fine-tunes a version as the stage would, without a mark; a job for `engine`.

    Args:
        progress: Told how far it is.
        source: Folder of the unmarked version.
        config: The settings file.
        model: Name of the registered model.
        onnx: Where the unmarked result is exported to.

    Returns:
        Accuracy on the validation samples, in [0, 1].
    """
    from deepsigns_registry.graph.export import export_onnx
    from deepsigns_registry.watermark.embed import embed
    from deepsigns_registry.watermark.fidelity import accuracy

    device = training_device()
    unmarked = Unmarked.opened(source, config, model)
    tapped, data = unmarked.tapped(), unmarked.data
    options = mark_settings(unmarked.section)
    embed(tapped, data, None, options, device=device, progress=progress)
    result = accuracy(tapped, data.validation, device)
    tapped.to("cpu")
    export_onnx(tapped, data.validation.inputs[:EXAMPLE_ROWS], onnx)
    return result
