import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow.utils.yaml_utils import write_yaml

from deepsigns_registry.attestation.bundle import (
    MODEL_BUNDLE,
    WATERMARK_BUNDLE,
    read_bundle,
    verify_folder,
    write_bundles,
)
from deepsigns_registry.attestation.digests import combined_digest, digest_folder
from deepsigns_registry.attestation.policy import Policy
from deepsigns_registry.attestation.scratch import remove_tree
from deepsigns_registry.attestation.signing import FileSigner
from deepsigns_registry.attestation.statement import WatermarkPredicate, watermark_statement
from deepsigns_registry.errors import (
    ConfigurationError,
    CouldNotCheckError,
    NotFoundError,
    RefusedError,
    TamperedError,
)

NewKey = Callable[[str], tuple[Path, Path]]


def test_a_signed_folder_verifies(
    signed: Path, policy: Policy, predicate: WatermarkPredicate
) -> None:
    attestation = verify_folder(signed, policy)
    assert attestation.predicate == predicate
    assert attestation.digests == digest_folder(signed)
    assert attestation.combined_digest == combined_digest(attestation.digests)
    assert attestation.bundle == (signed / "deepsigns" / WATERMARK_BUNDLE).read_text()


def test_nothing_is_left_beside_the_model(signed: Path) -> None:
    assert {path.name for path in signed.parent.iterdir()} == {"model", "keys"}
    assert {path.name for path in (signed / "deepsigns").iterdir()} == {
        WATERMARK_BUNDLE,
        MODEL_BUNDLE,
    }


def test_verifying_prints_nothing(
    signed: Path, policy: Policy, capfd: pytest.CaptureFixture[str]
) -> None:
    verify_folder(signed, policy)
    assert capfd.readouterr() == ("", "")


def test_a_copy_verifies_wherever_it_lies(signed: Path, policy: Policy, tmp_path: Path) -> None:
    shutil.copytree(signed, tmp_path / "elsewhere" / "other name")
    verify_folder(tmp_path / "elsewhere" / "other name", policy)


def test_mlflows_download_note_is_no_part_of_the_model(signed: Path, policy: Policy) -> None:
    for name in ("fraud", "team@fraud v2", "!odd: name", "long " * 40, "über\u202e", "7"):
        note = {"model_name": name, "model_version": "8"}
        write_yaml(
            str(signed),
            "registered_model_meta",
            note,
            overwrite=True,
            ensure_yaml_extension=False,
        )
        verify_folder(signed, policy)


def test_no_bundle_is_refused_not_tampered(model: Path, policy: Policy) -> None:
    with pytest.raises(RefusedError, match="not attested"):
        verify_folder(model, policy)
    (model / "deepsigns").mkdir()
    with pytest.raises(RefusedError, match="not attested"):
        verify_folder(model, policy)


def test_without_the_watermark_bundle_the_other_does_not_count(
    signed: Path, policy: Policy
) -> None:
    (signed / "deepsigns" / WATERMARK_BUNDLE).unlink()
    with pytest.raises(RefusedError, match="not attested"):
        verify_folder(signed, policy)


def test_the_policy_is_asked_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="trusts nobody"):
        verify_folder(tmp_path / "nothing", Policy())


def test_a_missing_folder_is_named(tmp_path: Path, policy: Policy) -> None:
    with pytest.raises(NotFoundError, match="no such model folder"):
        verify_folder(tmp_path / "nothing", policy)


def _change_a_byte(model: Path) -> None:
    path = model / "data" / "weights é.bin"
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)


def _swap_two_files(model: Path) -> None:
    first, second = model / "MLmodel", model / ".gitignore"
    one, two = first.read_bytes(), second.read_bytes()
    first.write_bytes(two)
    second.write_bytes(one)


def _replace_by_a_link(model: Path) -> None:
    (model / "MLmodel").rename(model.parent / "MLmodel")
    (model / "MLmodel").symlink_to(model.parent / "MLmodel")


def _link_the_bundle(model: Path) -> None:
    path = model / "deepsigns" / WATERMARK_BUNDLE
    path.rename(model.parent / "bundle")
    path.symlink_to(model.parent / "bundle")


def _link_the_bundle_folder(model: Path) -> None:
    (model / "deepsigns").rename(model.parent / "bundles")
    (model / "deepsigns").symlink_to(model.parent / "bundles")


def _file_for_the_bundle_folder(model: Path) -> None:
    shutil.rmtree(model / "deepsigns")
    (model / "deepsigns").write_text("")


def _pipe_for_a_bundle(model: Path) -> None:
    (model / "deepsigns" / MODEL_BUNDLE).unlink()
    os.mkfifo(model / "deepsigns" / MODEL_BUNDLE)


def _nest(model: Path) -> None:
    descriptor = os.open(model, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("d", dir_fd=descriptor)
        inner = os.open("d", os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = inner
    os.close(descriptor)


def _note(content: str) -> Callable[[Path], object]:
    return lambda model: (model / "registered_model_meta").write_text(content)


def _folder_for_a_bundle(model: Path) -> None:
    (model / "deepsigns" / WATERMARK_BUNDLE).unlink()
    (model / "deepsigns" / WATERMARK_BUNDLE).mkdir()


CHANGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "changed": (_change_a_byte, "'data/weights .+' was changed"),
    "swapped": (_swap_two_files, r"was changed \(2 such files\)"),
    "extra": (lambda m: (m / "evil.py").write_text(""), "'evil.py' was added"),
    "extra git file": (lambda m: (m / ".gitattributes").write_text(""), "was added"),
    "extra below": (lambda m: (m / "data" / "deepsigns").write_text(""), "was added"),
    "missing": (lambda m: (m / "MLmodel").unlink(), "'MLmodel' is signed and missing"),
    "missing git file": (lambda m: (m / ".gitignore").unlink(), "is signed and missing"),
    "renamed": (lambda m: (m / "MLmodel").rename(m / "mlmodel"), "was added"),
    "linked file": (_replace_by_a_link, "symbolic links are not allowed"),
    "pipe": (lambda m: os.mkfifo(m / "pipe"), "special file"),
    "unlisted bundle": (lambda m: (m / "deepsigns" / "a").write_text(""), "does not belong"),
    "unlisted folder": (lambda m: (m / "deepsigns" / "a").mkdir(), "does not belong"),
    "linked bundle": (_link_the_bundle, "symbolic link"),
    "linked bundles": (_link_the_bundle_folder, "is not a folder"),
    "no folder": (_file_for_the_bundle_folder, "is not a folder"),
    "no model bundle": (lambda m: (m / "deepsigns" / MODEL_BUNDLE).unlink(), "is missing beside"),
    "pipe bundle": (_pipe_for_a_bundle, "is not a regular file"),
    "empty bundle": (lambda m: (m / "deepsigns" / WATERMARK_BUNDLE).write_text(""), "not JSON"),
    "binary bundle": (
        lambda m: (m / "deepsigns" / MODEL_BUNDLE).write_bytes(b"\xff\xfe"),
        "is not JSON",
    ),
    "bundles exchanged": (
        lambda m: shutil.copy(m / "deepsigns" / WATERMARK_BUNDLE, m / "deepsigns" / MODEL_BUNDLE),
        "does not fit the files",
    ),
    "model bundle for watermark": (
        lambda m: shutil.copy(m / "deepsigns" / MODEL_BUNDLE, m / "deepsigns" / WATERMARK_BUNDLE),
        "predicate type is not",
    ),
    "folder for a bundle": (_folder_for_a_bundle, "is not a regular file"),
    "nested folders": (_nest, "folders inside each other, more than 64 deep"),
    "empty folder": (lambda m: (m / "data" / "x").mkdir(), "empty folder 'data/x/'"),
    "empty folders": (lambda m: (m / "x" / "y").mkdir(parents=True), "empty folder 'x/y/'"),
    "note: code": (_note("import os\n"), "is not the note"),
    "note: more": (_note("model_name: a\nmodel_version: '1'\nmore: 1\n"), "is not the note"),
    "note: tag": (_note("model_name: !x a\nmodel_version: '1'\n"), "is not the note"),
    "note: empty": (_note(""), "is not the note"),
    "note: long": (_note("model_name: " + "a" * 5000 + "\n"), "is not the note"),
    "note: folder": (lambda m: (m / "registered_model_meta").mkdir(), "empty folder"),
    "note: pipe": (lambda m: os.mkfifo(m / "registered_model_meta"), "special file"),
    "note: link": (lambda m: (m / "registered_model_meta").symlink_to("MLmodel"), "symbolic"),
    "endless bundle": (
        lambda m: os.truncate(m / "deepsigns" / MODEL_BUNDLE, 17 * 2**20),
        "is longer than",
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_is_tampering(signed: Path, policy: Policy, change: str) -> None:
    act, message = CHANGES[change]
    act(signed)
    with pytest.raises(TamperedError, match=message) as caught:
        verify_folder(signed, policy)
    assert "\n" not in str(caught.value)
    remove_tree(signed)
    assert not signed.exists()


def test_a_model_bundle_about_other_files_is_refused(
    signed: Path, policy: Policy, signer: FileSigner, tmp_path: Path
) -> None:
    # The statement fits; only the OpenSSF bundle does not.
    shutil.copytree(signed, tmp_path / "other")
    (tmp_path / "other" / "MLmodel").write_text("other")
    signer.sign_folder(tmp_path / "other", signed / "deepsigns" / MODEL_BUNDLE)
    with pytest.raises(TamperedError, match="does not fit the files"):
        verify_folder(signed, policy)


def test_both_bundles_need_the_same_key(signed: Path, signer: FileSigner, new_key: NewKey) -> None:
    private, public = new_key("second")
    policy = Policy.trusting([public, signer.path.with_name("worker.pub.pem")], "watermark")
    verify_folder(signed, policy)
    FileSigner(private).sign_folder(signed, signed / "deepsigns" / MODEL_BUNDLE)
    with pytest.raises(TamperedError, match="not signed by"):
        verify_folder(signed, policy)


def test_what_cannot_be_read_could_not_be_checked(signed: Path, policy: Policy) -> None:
    # A path that is longer than the system opens; unlike a missing permission, it stops root too.
    descriptor = os.open(signed, os.O_RDONLY)
    for _ in range(20):
        os.mkdir("d" * 250, dir_fd=descriptor)
        inner = os.open("d" * 250, os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = inner
    os.close(descriptor)
    with pytest.raises(CouldNotCheckError, match="cannot be read"):
        verify_folder(signed, policy)


def test_a_signed_folder_is_not_signed_again(
    signed: Path, predicate: WatermarkPredicate, signer: FileSigner
) -> None:
    statement = watermark_statement(digest_folder(signed), predicate)
    with pytest.raises(ConfigurationError, match="exists already"):
        write_bundles(signed, statement, signer)


def test_a_statement_about_other_files_is_not_signed(
    model: Path, predicate: WatermarkPredicate, signer: FileSigner
) -> None:
    statement = watermark_statement(digest_folder(model), predicate)
    (model / "MLmodel").write_text("changed after hashing")
    with pytest.raises(TamperedError, match="was changed"):
        write_bundles(model, statement, signer)
    assert not (model / "deepsigns").exists()


def test_reading_the_bundle_verifies_nothing(signed: Path) -> None:
    (signed / "MLmodel").write_text("changed")
    assert json.loads(read_bundle(signed))["mediaType"].startswith("application/vnd.dev.sigstore")
