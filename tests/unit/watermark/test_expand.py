import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from deepsigns_registry.watermark import expand
from deepsigns_registry.watermark.expand import Stream, encode
from deepsigns_registry.watermark.key import RootKey, commit, purpose_key
from deepsigns_registry.watermark.manifest import Manifest, sample_digest

GOLDEN = Path(__file__).parents[2] / "golden" / "watermark_v0.json"


def derived() -> dict[str, object]:
    """Everything that a record of version v0 depends on, from fixed inputs."""
    root = RootKey(bytes(range(32)), bytes(range(32, 64)))
    subkey = root.subkey("whitebox")
    stream = Stream(purpose_key(subkey, "example"), "golden")
    samples = (np.arange(24, dtype=np.float32) / 8).reshape(6, 2, 2)
    digests = np.stack([np.frombuffer(sample_digest(s), dtype=np.uint8) for s in samples])
    manifest = Manifest(digests, np.array([0, 1, 0, 1, 0, 1]))
    table = expand._gaussian_table()
    return {
        "subkey": subkey.hex(),
        "subkey_blackbox": root.subkey("blackbox").hex(),
        "purpose": purpose_key(subkey, "triggers").hex(),
        "commitment": commit(subkey, "whitebox", bytes(32)),
        "bits": stream.bits(20).tolist(),
        "integers": stream.integers(8, 1000).tolist(),
        "uniforms": stream.uniforms(4).tolist(),
        "gaussians": stream.gaussians((2, 3)).astype(float).tolist(),
        "permutation": stream.permutation(10).tolist(),
        "gaussian_table_sha256": hashlib.sha256(table.astype("<f4").tobytes()).hexdigest(),
        "sample_digest": sample_digest(samples[0]).hex(),
        "manifest_root": manifest.root,
        "chosen": manifest.lowest(subkey, 4).tolist(),
        "chosen_of_class_1": manifest.lowest(subkey, 2, label=1).tolist(),
    }


def test_golden_vectors_still_hold() -> None:
    assert derived() == json.loads(GOLDEN.read_text())


def test_different_lists_of_parts_never_encode_alike() -> None:
    assert encode(b"ab", b"c") != encode(b"a", b"bc")
    assert encode(b"a") != encode(b"a", b"")


def test_streams_differ_by_seed_and_by_label() -> None:
    first = Stream(bytes(32), "a").take(32)
    assert first != Stream(bytes(32), "b").take(32)
    assert first != Stream(b"\1" * 32, "a").take(32)


def test_draws_continue_where_the_last_one_ended() -> None:
    whole = Stream(bytes(32), "x").take(5000)
    pieces = Stream(bytes(32), "x")
    assert b"".join(pieces.take(count) for count in (1, 999, 3000, 1000)) == whole


def test_gaussians_are_standard_normal() -> None:
    # 100 000 values: the mean's standard error is 0.0032, the deviation's 0.0022; five of each.
    values = Stream(bytes(32), "normal").gaussians((100, 1000)).astype(float)
    assert abs(values.mean()) < 5 * 0.0032
    assert abs(values.std() - 1) < 5 * 0.0023
    assert (np.abs(values * 4096 - np.round(values * 4096)) == 0).all()


def test_integers_are_uniform() -> None:
    # 60 000 draws of 6 values: standard error of a share is 0.0015; five of them.
    counts = np.bincount(Stream(bytes(32), "dice").integers(60_000, 6), minlength=6)
    assert np.abs(counts / 60_000 - 1 / 6).max() < 5 * 0.0016


@pytest.mark.parametrize("below", [0, -1, 1 << 63])
def test_integers_refuse_an_impossible_range(below: int) -> None:
    with pytest.raises(ValueError, match="must be from 1"):
        Stream(bytes(32), "x").integers(1, below)
