import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest

from deepsigns_registry.attestation.keystore import FileKeystore, Marking, open_keystore
from deepsigns_registry.attestation.sealing import generate_identity
from deepsigns_registry.config import load_settings
from deepsigns_registry.errors import (
    ConfigurationError,
    CouldNotCheckError,
    NotFoundError,
    TamperedError,
)

CONTEXT = {"owner": "0" * 64, "request": "r1"}


@pytest.fixture
def keystore(tmp_path: Path) -> FileKeystore:
    return FileKeystore(tmp_path / "keystore")


@pytest.fixture
def pair() -> tuple[str, str]:
    return generate_identity()


def _marking(name: str, index: int = 1) -> Marking:
    return Marking(
        marking=name,
        owner="0" * 64,
        model="fraud",
        source_version="7",
        marked_version="8",
        onnx_digest="1" * 64,
        commitments={"whitebox": "2" * 64},
        index=index,
        created_at=datetime(2026, 1, 2, tzinfo=UTC),
    )


def test_what_is_sealed_comes_back(keystore: FileKeystore, pair: tuple[str, str]) -> None:
    identity, recipient = pair
    assert not keystore.has_key("m1")
    assert not keystore.has_record("m1")
    keystore.seal_key("m1", b"root", recipients=[recipient], context=CONTEXT)
    keystore.seal_record("m1", b"record", recipients=[recipient], context=CONTEXT)
    assert keystore.has_key("m1")
    assert keystore.has_record("m1")
    assert keystore.load_key("m1", identity) == b"root"
    assert keystore.load_record("m1", identity, context=CONTEXT) == b"record"
    assert keystore.context("m1") == CONTEXT


def test_only_this_user_may_look(keystore: FileKeystore, pair: tuple[str, str]) -> None:
    keystore.seal_key("m1", b"root", recipients=[pair[1]], context=CONTEXT)
    keystore.commitments.append(b"o" * 32, {"whitebox": "0" * 64})
    keystore.finish(_marking("m1"))
    paths = [keystore.root, *keystore.root.rglob("*")]
    assert len(paths) == 7
    for path in paths:
        expected = 0o700 if path.is_dir() else 0o600
        assert stat.S_IMODE(path.stat().st_mode) == expected, path


def test_no_secret_lies_open(keystore: FileKeystore, pair: tuple[str, str]) -> None:
    keystore.seal_record("m1", b"the secret itself", recipients=[pair[1]], context=CONTEXT)
    for path in keystore.root.rglob("*"):
        assert path.is_dir() or b"the secret itself" not in path.read_bytes()


def test_a_stored_secret_is_never_replaced(keystore: FileKeystore, pair: tuple[str, str]) -> None:
    keystore.seal_key("m1", b"first", recipients=[pair[1]], context=CONTEXT)
    with pytest.raises(ConfigurationError, match="is stored already"):
        keystore.seal_key("m1", b"second", recipients=[pair[1]], context=CONTEXT)
    assert keystore.load_key("m1", pair[0]) == b"first"


def test_one_marking_has_one_context(keystore: FileKeystore, pair: tuple[str, str]) -> None:
    keystore.seal_key("m1", b"root", recipients=[pair[1]], context=CONTEXT)
    with pytest.raises(TamperedError, match="another owner or request"):
        keystore.seal_record(
            "m1", b"record", recipients=[pair[1]], context=CONTEXT | {"request": "r2"}
        )
    with pytest.raises(TamperedError, match="another owner or request"):
        keystore.load_key("m1", pair[0], context=CONTEXT | {"request": "r2"})


def test_a_secret_moved_to_another_marking_is_tampering(
    keystore: FileKeystore, pair: tuple[str, str]
) -> None:
    for name in ("m1", "m2"):
        keystore.seal_key(
            name, name.encode(), recipients=[pair[1]], context=CONTEXT | {"request": name}
        )
    (keystore.root / "m1" / "key.age").replace(keystore.root / "m2" / "key.age")
    with pytest.raises(TamperedError, match="another owner or request"):
        keystore.load_key("m2", pair[0])


def test_another_identity_opens_nothing(keystore: FileKeystore, pair: tuple[str, str]) -> None:
    keystore.seal_key("m1", b"root", recipients=[pair[1]], context=CONTEXT)
    with pytest.raises(CouldNotCheckError, match="not sealed to this identity"):
        keystore.load_key("m1", generate_identity()[0])


def test_what_is_not_there_is_not_found(keystore: FileKeystore, pair: tuple[str, str]) -> None:
    with pytest.raises(NotFoundError, match="holds no marking 'm1'"):
        keystore.load_record("m1", pair[0])
    keystore.seal_key("m1", b"root", recipients=[pair[1]], context=CONTEXT)
    with pytest.raises(NotFoundError, match=r"record\.age: no such file"):
        keystore.load_record("m1", pair[0])


@pytest.mark.parametrize("name", ["", ".", "..", "../m", "a/b", "-a", "a\n", "é", "a" * 129])
def test_a_name_does_not_leave_the_folder(keystore: FileKeystore, name: str) -> None:
    with pytest.raises(ConfigurationError, match="use letters, digits"):
        keystore.has_key(name)


def test_markings_are_listed_by_index(keystore: FileKeystore) -> None:
    assert keystore.list_markings() == []
    keystore.finish(_marking("zebra", 1))
    keystore.finish(_marking("ant", 2))
    assert [marking.marking for marking in keystore.list_markings()] == ["zebra", "ant"]


def test_finishing_twice_is_fine_when_it_is_the_same(keystore: FileKeystore) -> None:
    keystore.finish(_marking("m1"))
    keystore.finish(_marking("m1"))
    with pytest.raises(ConfigurationError, match="something else is stored"):
        keystore.finish(_marking("m1", index=2))


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"marking": "../x"}'])
def test_a_malformed_marking_is_tampering(keystore: FileKeystore, content: str) -> None:
    keystore.finish(_marking("m1"))
    (keystore.root / "m1" / "marking.json").write_text(content)
    with pytest.raises(TamperedError, match="is not a marking"):
        keystore.list_markings()


def test_a_marking_in_another_ones_place_is_tampering(keystore: FileKeystore) -> None:
    keystore.finish(_marking("m1"))
    (keystore.root / "m1").rename(keystore.root / "m2")
    with pytest.raises(TamperedError, match="belongs to another marking"):
        keystore.list_markings()


@pytest.mark.parametrize(("content", "message"), [("{", "is not JSON"), ("[]", "not a context")])
def test_a_malformed_context_is_tampering(
    keystore: FileKeystore, pair: tuple[str, str], content: str, message: str
) -> None:
    keystore.seal_key("m1", b"root", recipients=[pair[1]], context=CONTEXT)
    (keystore.root / "m1" / "context.json").write_text(content)
    with pytest.raises(TamperedError, match=message):
        keystore.load_key("m1", pair[0])


def test_a_key_store_that_cannot_be_written(tmp_path: Path, pair: tuple[str, str]) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CouldNotCheckError, match="cannot be written"):
        FileKeystore(tmp_path / "file" / "store").seal_key(
            "m1", b"root", recipients=[pair[1]], context=CONTEXT
        )


def test_the_settings_name_the_folder(tmp_path: Path) -> None:
    (tmp_path / "deepsigns.toml").write_text('[keystore]\nuri = "file:secrets"\n')
    assert open_keystore(load_settings(tmp_path / "deepsigns.toml")).root == tmp_path / "secrets"
    assert not (tmp_path / "secrets").exists()


def test_a_marking_that_was_given_up_is_neither_finished_nor_unfinished(
    keystore: FileKeystore, pair: tuple[str, str]
) -> None:
    assert (keystore.unfinished(), keystore.given_up()) == ([], [])
    for name in ("m1", "m2", "m3"):
        keystore.seal_record(name, b"record", recipients=[pair[1]], context=CONTEXT)
    keystore.give_up("m2")
    keystore.give_up("m2")
    keystore.finish(_marking("m3"))
    assert (keystore.unfinished(), keystore.given_up()) == (["m1"], ["m2"])
    assert keystore.load_record("m2", pair[0]) == b"record"
