"""What a file of unknown origin may cost."""

from dataclasses import dataclass
from typing import Literal

from deepsigns_registry.sections import SandboxSettings

__all__ = ["Limits", "limits_of"]


@dataclass(frozen=True)
class Limits:
    """Upper bounds for reading and running one ONNX file.

    Attributes:
        file_bytes: Size of the file.
        nodes: Nodes of the graph; 200,000 nodes took onnxruntime 5 s and 500 MB to load.
        initializers: Constant tensors of the graph.
        memory_bytes: Address space of the process that runs it. The runtime itself maps 0.2 GiB
            without a model; with an accelerator the bound holds for writable memory instead,
            because drivers reserve far more addresses than they use.
        resident_bytes: Memory that this process really holds.
        result_bytes: Size of each file the process may write, and of all together.
        seconds: Wall-clock time of all runs of the file, and processor time.
        require: Whether every door of its room must be closed, or these bounds are enough; None
            for as many as the kernel can close.
    """

    file_bytes: int = 2**31 - 1
    nodes: int = 50_000
    initializers: int = 50_000
    memory_bytes: int = 8 * 2**30
    resident_bytes: int = 4 * 2**30
    result_bytes: int = 2**31
    seconds: float = 300.0
    require: Literal["full", "limits"] | None = None


def limits_of(settings: SandboxSettings) -> Limits:
    """What `[sandbox]` allows."""
    resident = settings.memory_mib * 2**20
    return Limits(
        file_bytes=settings.file_mib * 2**20,
        nodes=settings.nodes,
        initializers=settings.nodes,
        result_bytes=settings.output_mib * 2**20,
        # A runtime maps more than it fills.
        memory_bytes=max(Limits.memory_bytes, 2 * resident),
        resident_bytes=resident,
        seconds=settings.seconds,
        require=settings.require,
    )
