"""A link is no file: what is said of one, wherever it leads."""

from pathlib import Path

import pytest

from deepsigns_registry.errors import CouldNotCheckError
from deepsigns_registry.graph.structure import read_model


@pytest.mark.parametrize("target", ["nowhere.onnx", "link.onnx", "there.onnx"])
def test_a_link_is_called_one(tmp_path: Path, target: str) -> None:
    (tmp_path / "there.onnx").write_bytes(b"")
    link = tmp_path / "link.onnx"
    link.symlink_to(target)
    with pytest.raises(CouldNotCheckError, match=r"link\.onnx: .*: it is a symbolic link; name"):
        read_model(link)
