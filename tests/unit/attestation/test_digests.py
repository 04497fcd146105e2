import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from deepsigns_registry.attestation.digests import combined_digest, digest_folder, sha256_file
from deepsigns_registry.errors import CouldNotCheckError, NotFoundError, TamperedError


def test_every_file_is_hashed_under_its_posix_path(model: Path) -> None:
    digests = digest_folder(model)
    assert list(digests) == [".gitignore", "MLmodel", "data/weights é.bin"]
    assert digests["data/weights é.bin"] == hashlib.sha256(bytes(range(256))).hexdigest()


def test_only_the_folders_own_bundles_and_mlflows_note_are_left_out(model: Path) -> None:
    before = digest_folder(model)
    (model / "deepsigns").mkdir()
    (model / "deepsigns" / "anything").write_text("x")
    (model / "registered_model_meta").write_text("x")
    assert digest_folder(model) == before
    (model / "data" / "deepsigns").mkdir()
    (model / "data" / "deepsigns" / "a").write_text("x")
    (model / "data" / "registered_model_meta").write_text("x")
    assert digest_folder(model).keys() - before.keys() == {
        "data/deepsigns/a",
        "data/registered_model_meta",
    }


def test_the_combined_digest_can_be_made_again_with_coreutils(model: Path) -> None:
    script = "find . -type f -printf '%P\\0' | LC_ALL=C sort -z | xargs -0 sha256sum -- | sha256sum"
    printed = subprocess.run(
        ["bash", "-c", script], cwd=model, check=True, capture_output=True, text=True
    )
    assert combined_digest(digest_folder(model)) == printed.stdout.split()[0]


def test_the_combined_digest_does_not_depend_on_the_order() -> None:
    digests = {"b": "1" * 64, "a": "2" * 64}
    assert combined_digest(digests) == combined_digest(dict(reversed(digests.items())))


@pytest.mark.parametrize("place", ["link", "data/link", "registered_model_meta"])
@pytest.mark.parametrize("target", ["MLmodel", "/etc", "nowhere"])
def test_symbolic_links_are_refused(model: Path, place: str, target: str) -> None:
    (model / place).symlink_to(target)
    with pytest.raises(TamperedError, match="symbolic links are not allowed"):
        digest_folder(model)


def test_special_files_are_refused(model: Path) -> None:
    os.mkfifo(model / "data" / "pipe")
    with pytest.raises(TamperedError, match="special file"):
        digest_folder(model)


@pytest.mark.parametrize("name", [b"a\nb", b"a\\b", b"\x1b[2J", b"\xff", "a\u202eb".encode()])
def test_names_that_do_not_show_as_they_are_get_refused(model: Path, name: bytes) -> None:
    (model / os.fsdecode(name)).write_text("x")
    with pytest.raises(TamperedError, match="holds a file named"):
        digest_folder(model)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no such model folder"):
        digest_folder(tmp_path / "nothing")


def test_a_link_to_a_folder_is_no_model(model: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(model)
    with pytest.raises(NotFoundError, match="no such model folder"):
        digest_folder(tmp_path / "link")


def test_one_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256_file(tmp_path / "a") == hashlib.sha256(b"abc").hexdigest()
    (tmp_path / "link").symlink_to("a")
    with pytest.raises(TamperedError, match="symbolic link"):
        sha256_file(tmp_path / "link")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(TamperedError, match="not a regular file"):
        sha256_file(tmp_path / "pipe")
    with pytest.raises(NotFoundError, match="no such file"):
        sha256_file(tmp_path / "nothing")
    with pytest.raises(CouldNotCheckError, match="cannot be read"):
        sha256_file(tmp_path / ("n" * 300))
