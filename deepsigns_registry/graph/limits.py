"""What a file of unknown origin may cost."""

from dataclasses import dataclass

__all__ = ["Limits"]


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
    """

    file_bytes: int = 2**31 - 1
    nodes: int = 50_000
    initializers: int = 50_000
    memory_bytes: int = 8 * 2**30
    resident_bytes: int = 4 * 2**30
    result_bytes: int = 2**31
    seconds: float = 300.0
