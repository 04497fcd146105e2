"""`deepsigns init`: settings that load, keys that only their owner reads, nothing overwritten."""

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from deepsigns_registry.attestation.keys import owner_identity
from deepsigns_registry.attestation.policy import Policy
from deepsigns_registry.attestation.signing import FileSigner
from deepsigns_registry.config import load_settings
from deepsigns_registry.errors import ConfigurationError
from deepsigns_registry.initialise import initialise


def test_the_settings_load_and_their_keys_are_there(tmp_path: Path) -> None:
    config = initialise(tmp_path / "new", owner='Quote " Ltd', tracking_uri="http://127.0.0.1:1")
    settings = load_settings(config)
    assert settings.owner.name == 'Quote " Ltd'
    assert settings.tracking_uri == "http://127.0.0.1:1"
    assert len(owner_identity(settings.file(settings.owner.public_key))) == 32
    FileSigner(settings.file(settings.owner.signing_key))
    assert len(Policy.from_settings(settings).keys_for("watermark")) == 1


@given(owner=st.text(st.characters(exclude_categories=["Cs"])))
@example(owner="Käse 🧀 GmbH")
@example(owner="\x7f\x00\x1f\r\n\t\\\"'\u2028{owner}")
def test_any_owners_name_is_read_back(owner: str) -> None:
    with TemporaryDirectory() as folder:
        assert load_settings(initialise(Path(folder), owner=owner)).owner.name == owner


@pytest.mark.parametrize(
    ("owner", "sections", "message"),
    [
        (
            "half \ud83e a cheese",
            "",
            r"the owner's name is not valid text: 'half \\ud83e a cheese'",
        ),
        ("A", "[models", "would not be valid TOML"),
    ],
)
def test_what_is_no_toml_is_refused_before_anything_is_written(
    tmp_path: Path, owner: str, sections: str, message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        initialise(tmp_path, owner=owner, sections=sections)
    assert list(tmp_path.iterdir()) == []


def test_private_keys_are_for_their_owner_alone(tmp_path: Path) -> None:
    initialise(tmp_path, owner="A")
    for name in ("owner.pem", "worker.pem", "sealing.key"):
        assert (tmp_path / "keys" / name).stat().st_mode & 0o077 == 0


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    config = initialise(tmp_path, owner="A")
    before = config.read_bytes()
    with pytest.raises(ConfigurationError, match="exists already; choose another folder"):
        initialise(tmp_path, owner="B")
    assert config.read_bytes() == before


def test_more_sections_are_appended(tmp_path: Path) -> None:
    sections = '\n[models.fraud]\ndata = "fraud.npz"\n'
    settings = load_settings(initialise(tmp_path, owner="A", sections=sections))
    assert settings.model("fraud").data == "fraud.npz"
