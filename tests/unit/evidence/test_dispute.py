"""Which schemes an evidence file reveals, and who has to be there to sign."""

from pathlib import Path

import pytest

from deepsigns_registry.attestation.keystore import FileKeystore
from deepsigns_registry.config import load_settings
from deepsigns_registry.errors import ConfigurationError, CouldNotCheckError, NotFoundError
from deepsigns_registry.evidence.dispute import (
    _chains,
    export_for_suspect,
    sufficient_schemes,
)
from deepsigns_registry.initialise import initialise
from deepsigns_registry.watermark.evidence import Correlation, Matches
from deepsigns_registry.watermark.verdict import judge, questions


def test_where_only_all_schemes_together_are_enough_all_are_revealed() -> None:
    traces = [
        Matches("whitebox", trials=128, matches=86, chance=0.5, level="a"),
        Matches("blackbox", trials=400, matches=75, chance=1 / 9, level="oracle"),
        Correlation("spread", trials=10_000, deviations=4.2, parts=1, level="b"),
    ]
    verdict = judge(traces, tries=questions(3))
    assert verdict.word == "present"
    assert sufficient_schemes(verdict) == ("whitebox", "blackbox", "spread")


def test_what_a_verifier_multiplies_by_is_counted_before_a_key_is_revealed() -> None:
    """Each of a file's tensors counts as a tap that was tried; a black box has none."""
    read = [
        Matches("whitebox", trials=128, matches=96, chance=0.5, level="a"),
        Matches("blackbox", trials=400, matches=90, chance=1 / 9, level="oracle"),
    ]
    verdict = judge(read, tries=questions(2))
    assert -9 < verdict.log10_p_adjusted("whitebox") < -6
    assert sufficient_schemes(verdict) == ("whitebox",)
    assert sufficient_schemes(verdict, taps=1000) == ("blackbox",)


@pytest.mark.parametrize(
    "reference", ["file:keys/away.pem", "awskms:arn", "file:keys/owner.pub.pem"]
)
def test_a_key_that_cannot_sign_is_named_before_anything_is_read(
    tmp_path: Path, reference: str
) -> None:
    initialise(tmp_path / "home", owner="Example Ltd")
    config = tmp_path / "home" / "deepsigns.toml"
    config.write_text(config.read_text().replace("file:keys/worker.pem", reference))
    settings, suspect = load_settings(config), tmp_path / "suspect.onnx"
    with pytest.raises(ConfigurationError, match=r"a claim has to be signed: .*--sign-with"):
        export_for_suspect(settings, suspect, out=tmp_path / "e.zip")
    # With the owner's own key it goes on, to the marks that are not there.
    key = tmp_path / "home" / "keys" / "owner.pem"
    with pytest.raises(CouldNotCheckError, match="no finished marking"):
        export_for_suspect(settings, suspect, out=tmp_path / "e.zip", sign_with=key)


def test_every_key_store_is_counted_once(tmp_path: Path) -> None:
    settings = load_settings(initialise(tmp_path / "home", owner="Example Ltd"))
    own, other = tmp_path / "home" / "keystore", tmp_path / "other"
    for number, (folder, owner) in enumerate(((own, b"a" * 32), (other, b"b" * 32))):
        FileKeystore(folder).commitments.append(owner, {"spread": f"{number:064x}"})
    chains = _chains(settings, [other, own, other])
    assert chains == [(folder / "commitments.jsonl").read_bytes() for folder in (own, other)]
    with pytest.raises(NotFoundError, match=r"commitments\.jsonl: no such file"):
        _chains(settings, [tmp_path / "nothing"])
