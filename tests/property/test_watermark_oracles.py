"""Fast code against slow code that is plainly right."""

import hashlib
import math
from fractions import Fraction
from statistics import NormalDist

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from deepsigns_registry.watermark.evidence import Matches
from deepsigns_registry.watermark.expand import DOMAIN, Stream, encode
from deepsigns_registry.watermark.fidelity import paired_drop
from deepsigns_registry.watermark.manifest import Manifest

seeds = st.binary(min_size=32, max_size=32)


def output(seed: bytes, count: int) -> bytes:
    return hashlib.shake_256(encode(DOMAIN, b"stream", b"x", seed)).digest(count)


@given(seeds, st.integers(0, 300))
def test_bits_are_the_bits_of_the_bytes(seed: bytes, count: int) -> None:
    taken = output(seed, -(-count // 8))
    slow = [taken[place // 8] >> (place % 8) & 1 for place in range(count)]
    assert Stream(seed, "x").bits(count).tolist() == slow


@given(seeds, st.integers(1, 40), st.integers(1, 1 << 62))
def test_integers_reject_the_incomplete_last_multiple(seed: bytes, count: int, below: int) -> None:
    taken = output(seed, 8 * 200)
    words = (int.from_bytes(taken[8 * i : 8 * i + 8], "little") for i in range(200))
    whole = (1 << 64) // below * below
    slow = [word % below for word in words if word < whole][:count]
    assert Stream(seed, "x").integers(count, below).tolist() == slow


@given(seeds, st.integers(1, 30))
def test_gaussians_are_grid_quantiles(seed: bytes, count: int) -> None:
    taken = output(seed, 2 * count)
    words = [int.from_bytes(taken[2 * i : 2 * i + 2], "little") for i in range(count)]
    slow = [round(NormalDist().inv_cdf((word + 0.5) / 65536) * 4096) / 4096 for word in words]
    assert Stream(seed, "x").gaussians((count,)).astype(float).tolist() == slow


@given(seeds, st.integers(1, 50))
def test_a_permutation_holds_everything_once(seed: bytes, count: int) -> None:
    assert sorted(Stream(seed, "x").permutation(count).tolist()) == list(range(count))


def tree(leaves: list[bytes]) -> bytes:
    """RFC 6962 section 2.1, as it is written there."""
    if not leaves:
        return hashlib.sha256().digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return hashlib.sha256(b"\x01" + tree(leaves[:split]) + tree(leaves[split:])).digest()


@given(st.lists(st.tuples(seeds, st.integers(0, 9)), max_size=40))
def test_merkle_root_follows_the_standard(entries: list[tuple[bytes, int]]) -> None:
    digests = np.frombuffer(b"".join(digest for digest, _ in entries), dtype=np.uint8)
    labels = np.array([label for _, label in entries], dtype=np.int64)
    leaves = sorted(digest + label.to_bytes(8, "little") for digest, label in entries)
    assert Manifest(digests.reshape(-1, 32), labels).root == tree(leaves).hex()


@settings(deadline=None)
@given(st.data(), st.integers(1, 150), st.integers(2, 30))
def test_tail_is_exact(data: st.DataObject, trials: int, classes: int) -> None:
    matches = data.draw(st.integers(0, trials))
    p = Fraction(1, classes)
    exact = sum(
        math.comb(trials, k) * p**k * (1 - p) ** (trials - k) for k in range(matches, trials + 1)
    )
    slow = (math.log(exact.numerator) - math.log(exact.denominator)) / math.log(10)
    evidence = Matches("x", trials=trials, matches=matches, chance=1 / classes)
    # Log-gamma of numbers below 150 is good to about 1e-13 of some hundred.
    assert abs(evidence.log10_p - slow) < 1e-9


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60))
def test_paired_drop_is_antisymmetric_and_covers_its_estimate(
    pairs: list[tuple[bool, bool]],
) -> None:
    before = np.array([first for first, _ in pairs])
    after = np.array([second for _, second in pairs])
    drop, low, high = paired_drop(before, after)
    assert (
        drop == before.mean() - after.mean() or abs(drop - (before.mean() - after.mean())) < 1e-12
    )
    assert low <= drop <= high or len(pairs) < 3
    back, back_low, back_high = paired_drop(after, before)
    assert (back, back_low, back_high) == (-drop, -high, -low)
