"""Whatever lies where a command looks: one line, the right exit code, no internal error."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from deepsigns_registry.attestation.scratch import remove_tree
from deepsigns_registry.cli import main
from tests.support.attested import respelled

GOLDEN = Path(__file__).parents[2] / "golden"
EVIDENCE = GOLDEN / "evidence" / "v2"
CONFIG = """[policy]
keys = [{ public_key = "signer.pub.pem", may_sign = ["watermark"] }]
"""


@pytest.fixture
def base(tmp_path: Path) -> Iterator[Path]:
    """A folder with settings, a signed model and evidence."""
    base = tmp_path / "base"
    base.mkdir()
    shutil.copytree(GOLDEN / "attestation" / "model", base / "model")
    shutil.copy(GOLDEN / "attestation" / "signer.pub.pem", base)
    shutil.copytree(EVIDENCE, base / "evidence")
    (base / "deepsigns.toml").write_text(CONFIG)
    yield base
    remove_tree(base)


def run(base: Path, *arguments: str) -> tuple[int, str]:
    """Exit code, and what was said on standard error."""
    result = CliRunner().invoke(
        main, list(arguments), env={"DEEPSIGNS_CONFIG": str(base / "deepsigns.toml")}
    )
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code, result.stderr


def one_line(base: Path, code: int, *arguments: str) -> str:
    found, said = run(base, *arguments)
    assert found == code, said
    assert said.count("\n") == 1
    assert said.removesuffix("\n").isprintable()
    assert "internal error" not in said
    return said


def nested(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("d", dir_fd=descriptor)
        inner = os.open("d", os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = inner
    os.close(descriptor)


def instead(name: str, make: Callable[[Path], object]) -> Callable[[Path], None]:
    def change(model: Path) -> None:
        (model / name).unlink(missing_ok=True)
        make(model / name)

    return change


def said(content: str) -> Callable[[Path], None]:
    return instead(BUNDLE, lambda path: path.write_text(content, encoding="utf-8"))


BUNDLE = "deepsigns/watermark.sigstore.json"
OTHER = "deepsigns/model.sigstore.json"

TAMPERED: dict[str, Callable[[Path], object]] = {
    "a bundle that is a folder": instead(BUNDLE, Path.mkdir),
    "the other bundle as a folder": instead(OTHER, Path.mkdir),
    "a bundle that is a pipe": instead(BUNDLE, os.mkfifo),
    "a bundle that is a device": instead(BUNDLE, lambda path: path.symlink_to("/dev/zero")),
    "1,500 folders": nested,
    "an empty folder": lambda model: (model / "empty").mkdir(),
    "a pipe": lambda model: os.mkfifo(model / "pipe"),
    "a name with escapes": lambda model: (model / "\x1b[2J\nallowed").write_text(""),
    "a name that is no text": lambda model: (model / os.fsdecode(b"\xff")).write_text(""),
    "a note of any content": lambda model: (model / "registered_model_meta").write_text("x: y"),
    "lists": said("[" * 100_000),
    "a long number": said("9" * 5000),
    "half a character": said(r'{"a": "\ud800"}'),
    "not finite": said("1e999"),
    "nothing": said(""),
}


@pytest.mark.parametrize("name", TAMPERED)
def test_a_hostile_model_folder_is_tampering(base: Path, name: str) -> None:
    TAMPERED[name](base / "model")
    assert one_line(base, 4, "gate", str(base / "model")).startswith("error (tampered): ")


def test_a_payload_type_with_half_a_character_is_tampering(base: Path) -> None:
    path = base / "model" / BUNDLE
    path.write_text(path.read_text().replace("application/vnd.in-toto+json", r"\ud800"))
    one_line(base, 4, "gate", str(base / "model"))


def test_the_good_folder_passes(base: Path) -> None:
    assert run(base, "gate", str(base / "model")) == (0, "")


SETTINGS = {
    "lists": "a = " + "[" * 5000,
    "a long number": "[audit]\nmin_accuracy = " + "1" * 5000,
    "code 0": '[policy]\nkeys = [{ public_key = "a\\u0000b", may_sign = ["watermark"] }]',
    "not finite": "[models.a]\ndata = 'a'\nmargin = nan",
    "not text": "\udcff",
}


@pytest.mark.parametrize("name", SETTINGS)
def test_odd_settings_are_a_matter_of_configuration(base: Path, name: str) -> None:
    content = SETTINGS[name].encode("utf-8", "surrogateescape")
    (base / "deepsigns.toml").write_bytes(content)
    one_line(base, 2, "gate", str(base / "model"))


@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir], ids=["pipe", "folder"])
def test_settings_and_keys_that_are_no_files_do_not_hang(
    base: Path, make: Callable[[Path], object]
) -> None:
    (base / "signer.pub.pem").unlink()
    make(base / "signer.pub.pem")
    one_line(base, 2, "gate", str(base / "model"))
    (base / "deepsigns.toml").unlink()
    make(base / "deepsigns.toml")
    one_line(base, 2, "gate", str(base / "model"))


def evidence(base: Path, code: int) -> str:
    folder = base / "evidence"
    return one_line(
        base,
        code,
        "evidence",
        "verify",
        str(folder / "evidence.zip"),
        str(folder / "suspect.onnx"),
        *("--public-key", str(folder / "signer.pub.pem")),
        *("--attestation", str(folder / "known.sigstore.json")),
    )


def test_evidence_that_is_a_pipe_does_not_hang(base: Path) -> None:
    (base / "evidence" / "evidence.zip").unlink()
    os.mkfifo(base / "evidence" / "evidence.zip")
    evidence(base, 4)


def test_a_suspect_that_is_a_pipe_does_not_hang(base: Path) -> None:
    (base / "evidence" / "suspect.onnx").unlink()
    os.mkfifo(base / "evidence" / "suspect.onnx")
    evidence(base, 3)


KEPT = sorted((Path(__file__).parents[2] / "fuzz" / "corpus" / "evidence").glob("*"))


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.name)
def test_evidence_that_was_found_before_is_one_line(base: Path, path: Path) -> None:
    shutil.copy(path, base / "evidence" / "evidence.zip")
    evidence(base, 3 if "inflates" in path.name else 4)


def test_a_respelled_bundle_of_old_is_good(base: Path) -> None:
    """The golden bundle is from before there was one form."""
    path = base / "model" / BUNDLE
    path.write_text(respelled(path.read_text()))
    assert run(base, "gate", str(base / "model")) == (0, "")
