"""What a stranger sent goes away again, whatever it was."""

import os
from pathlib import Path

import pytest

from deepsigns_registry.attestation.scratch import remove_tree, scratch_folder


def nest(folder: Path, depth: int, name: str) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir(name, dir_fd=descriptor)
        inner = os.open(name, os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = inner
        os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=descriptor))
    os.close(descriptor)


def test_a_scratch_folder_is_private_and_goes_away(tmp_path: Path) -> None:
    with scratch_folder("x-", within=tmp_path) as folder:
        assert folder.stat().st_mode & 0o777 == 0o700
        assert folder.parent == tmp_path
        (folder / "file").write_text("a")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["d", "d" * 200])
def test_folders_inside_each_other_go_away(tmp_path: Path, name: str) -> None:
    with scratch_folder(within=tmp_path) as folder:
        nest(folder, 1500, name)
    assert not list(tmp_path.iterdir())


def test_it_goes_away_when_the_block_fails(tmp_path: Path) -> None:
    def fail() -> None:
        with scratch_folder(within=tmp_path) as folder:
            (folder / "a").mkdir()
            raise RecursionError

    with pytest.raises(RecursionError):
        fail()
    assert not list(tmp_path.iterdir())


def test_no_link_is_followed(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").write_text("a")
    with scratch_folder(within=tmp_path) as folder:
        (folder / "link").symlink_to(kept)
        os.mkfifo(folder / "pipe")
        (folder / "closed").mkdir(mode=0o000)
    assert (kept / "file").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_what_is_not_there_is_removed_already(tmp_path: Path) -> None:
    remove_tree(tmp_path / "nothing")
