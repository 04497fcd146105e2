"""What an evidence file gives away, and what has to hold before anything is revealed."""

import stat
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from deepsigns_registry.attestation.policy import Policy
from deepsigns_registry.errors import (
    ConfigurationError,
    CouldNotCheckError,
    TamperedError,
)
from deepsigns_registry.evidence.contents import parse
from deepsigns_registry.evidence.verify import verify_evidence
from deepsigns_registry.watermark.key import RootKey
from tests.support.evidence import Story, attest_changed, export


def test_the_root_key_is_never_in_the_file(story: Story, exported: Path) -> None:
    root = story.record.root.secret
    with zipfile.ZipFile(exported) as archive:
        for name in archive.namelist():
            content = archive.read(name)
            assert root not in content
            assert root.hex().encode() not in content


def test_what_is_not_revealed_stays_secret(story: Story, tmp_path: Path) -> None:
    path = export(story, tmp_path / "b.zip", schemes=["blackbox"])
    with zipfile.ZipFile(path) as archive:
        content = b"".join(archive.read(name) for name in archive.namelist())
        names = archive.namelist()
    assert not [name for name in names if "whitebox" in name]
    for secret in (story.record.root.subkey("whitebox"), story.record.nonces["whitebox"]):
        assert secret.hex().encode() not in content
    assert story.record.secrets["whitebox"].arrays["activations"].tobytes() not in content
    assert story.record.blueprint.rows.tobytes() not in content
    assert not parse(path).blueprint
    assert parse(path).tap == ""
    result = verify_evidence(path, story.marked, story.signer_key)
    assert [found.scheme for found in result.verdict.evidence] == ["blackbox"]


def test_the_file_says_what_it_gives_away(story: Story, exported: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(exported) as archive:
        text = archive.read("README.txt").decode()
    for phrase in ("Training records", "Where the mark sits", "root", "whitebox", "--attestation"):
        assert phrase in text
    path = export(story, tmp_path / "b.zip", schemes=["blackbox"])
    with zipfile.ZipFile(path) as archive:
        assert "Where the mark sits" not in archive.read("README.txt").decode()


def test_the_file_is_for_this_user_and_never_replaced(story: Story, exported: Path) -> None:
    assert stat.S_IMODE(exported.stat().st_mode) == 0o600
    before = exported.read_bytes()
    with pytest.raises(ConfigurationError, match="exists already"):
        export(story, exported)
    assert exported.read_bytes() == before


def test_exporting_checks_what_it_is_given(
    story: Story, tmp_path: Path, another_pair: tuple[Path, Path]
) -> None:
    private, public = another_pair
    out = tmp_path / "e.zip"
    with pytest.raises(ConfigurationError, match="no scheme 'nonsense'"):
        export(story, out, schemes=["nonsense"])
    with pytest.raises(ConfigurationError, match="nothing to reveal"):
        export(story, out, schemes=[])
    with pytest.raises(ConfigurationError, match="another owner"):
        export(story, out, owner_public_key=public)
    with pytest.raises(TamperedError, match="not signed by"):
        export(story, out, policy=Policy.trusting([public], "watermark"))
    other = replace(story.record, root=RootKey.generate(story.record.root.owner))
    with pytest.raises(TamperedError, match="secret"):
        export(story, out, record=other)
    assert private.exists()
    assert not out.exists()


def test_a_bundle_of_another_marking_does_not_go_with_the_record(
    story: Story, tmp_path: Path
) -> None:
    with pytest.raises(TamperedError, match="do not belong together"):
        export(
            story,
            tmp_path / "e.zip",
            bundle=attest_changed(story, commitments={"whitebox": "0" * 64}),
        )


def test_a_place_that_cannot_be_written(story: Story, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CouldNotCheckError, match="cannot be written"):
        export(story, tmp_path / "file" / "e.zip")
