import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from deepsigns_registry.audit.targets import check_target, fetch
from deepsigns_registry.audit.targets.limit import write_limited
from deepsigns_registry.audit.targets.local import fetch as fetch_local
from deepsigns_registry.config import load_settings
from deepsigns_registry.errors import ConfigurationError, CouldNotCheckError
from deepsigns_registry.sections import Deployment


def deployment(target: str) -> Deployment:
    return Deployment(name="app", model="m", target=target)


@pytest.mark.parametrize(
    ("target", "kind"),
    [
        ("m.onnx", "local"),
        ("/srv/m.onnx", "local"),
        ("file:m.onnx", "local"),
        ("s3://bucket/a/b.onnx", "s3"),
        ("models:/m@champion", "registry"),
        ("models:/m/3", "registry"),
    ],
)
def test_kinds(target: str, kind: str) -> None:
    assert check_target(deployment(target)) == kind


@pytest.mark.parametrize(
    "target",
    ["", "s3://", "s3://bucket", "s3:///key", "ftp://host/m", "models:", "models:/", "file:"],
)
def test_what_cannot_be_fetched(target: str) -> None:
    with pytest.raises(ConfigurationError, match="deployment 'app': target"):
        check_target(deployment(target))


def test_credentials_in_a_target_are_refused_and_not_repeated() -> None:
    with pytest.raises(ConfigurationError, match="target holds credentials") as raised:
        check_target(deployment("s3://key:hidden@bucket/m.onnx"))
    assert "hidden" not in str(raised.value)


def test_relative_path_starts_at_the_settings(tmp_path: Path) -> None:
    (tmp_path / "deepsigns.toml").write_text("")
    (tmp_path / "m.onnx").write_bytes(b"model")
    (tmp_path / "out").mkdir()
    settings = load_settings(tmp_path / "deepsigns.toml")
    for target in ("m.onnx", "file:m.onnx"):
        copy = fetch(settings, deployment(target), tmp_path / "out")
        assert copy.read_bytes() == b"model"
        assert copy.stat().st_mode & 0o777 == 0o600
        copy.unlink()


def test_link_that_switches_deployments_is_followed(tmp_path: Path) -> None:
    (tmp_path / "v2.onnx").write_bytes(b"two")
    (tmp_path / "current").symlink_to("v2.onnx")
    assert fetch_local(tmp_path / "current", tmp_path / "copy").read_bytes() == b"two"


def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name, message in (
        ("gone", "no such file"),
        (".", "not a regular file"),
        ("pipe", "not a regular file"),
    ):
        with pytest.raises(CouldNotCheckError, match=message):
            fetch_local(tmp_path / name, tmp_path / "copy")
    with pytest.raises(CouldNotCheckError, match="not a regular file"):
        fetch_local(Path("/dev/zero"), tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_size_limit_is_exact(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"x" * 1000)
    assert fetch_local(tmp_path / "m.onnx", tmp_path / "a", limit=1000).stat().st_size == 1000
    with pytest.raises(CouldNotCheckError, match="larger than 999 bytes"):
        fetch_local(tmp_path / "m.onnx", tmp_path / "b", limit=999)
    assert not (tmp_path / "b").exists()
    with pytest.raises(CouldNotCheckError, match="larger than 999 bytes"):
        write_limited([b"x" * 999, b"x"], tmp_path / "b", name="m", limit=999)


def test_stream_that_never_ends_is_cut(tmp_path: Path) -> None:
    read = 0

    def endless() -> Iterator[bytes]:
        nonlocal read
        while True:
            read += 1
            yield b"x" * 10

    with pytest.raises(CouldNotCheckError, match="there: larger than 25 bytes"):
        write_limited(endless(), tmp_path / "copy", name="there", limit=25)
    assert read == 3
    assert list(tmp_path.iterdir()) == []
