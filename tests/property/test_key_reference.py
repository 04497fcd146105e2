"""The package against the reference that was written from `docs/spec/key-v0.md` alone."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from deepsigns_registry.watermark.blackbox import BlackBox
from deepsigns_registry.watermark.data import LabelledData
from deepsigns_registry.watermark.expand import Stream, encode
from deepsigns_registry.watermark.key import RootKey, commit, purpose_key, scheme_key
from deepsigns_registry.watermark.manifest import Manifest, sample_digest
from deepsigns_registry.watermark.projection import class_means, read_bits
from deepsigns_registry.watermark.queries import FAMILIES
from deepsigns_registry.watermark.record import binding_nonce
from deepsigns_registry.watermark.scheme import Answers, SchemeSecret
from deepsigns_registry.watermark.whitebox import WhiteBox
from tests.golden import reference_key as reference
from tests.support.matched import matched

keys = st.binary(min_size=32, max_size=32)
names = st.text(max_size=12)
KINDS = ["float32", "float64", "float16", "uint8", "int64", "bool"]


def digests(data: LabelledData) -> list[reference.Entry]:
    return [
        reference.Entry(
            reference.sample_digest("float32", row.shape, row.astype("<f4").tobytes()), int(label)
        )
        for row, label in zip(data.inputs, data.labels, strict=True)
    ]


def samples(count: int, classes: int, seed: int, *, different: int) -> LabelledData:
    random = np.random.default_rng(seed)
    pool = random.random((different, 2, 3), dtype=np.float32)
    return LabelledData(
        pool[random.integers(0, different, count)], random.integers(0, classes, count)
    )


@given(keys, keys, names, st.lists(st.binary(max_size=9), max_size=5))
def test_encoding_and_keys(root: bytes, owner: bytes, name: str, parts: list[bytes]) -> None:
    assert encode(*parts) == reference.encoded(*parts)
    assert RootKey(root, owner).subkey(name) == reference.subkey(root, owner, name)
    bound = reference.scheme_key(root, owner, owner.hex())
    assert scheme_key(root, owner, owner.hex()) == bound
    assert purpose_key(root, name) == reference.purpose(root, name)
    assert commit(root, name, owner) == reference.commitment(root, name, owner)


draws = st.one_of(
    st.tuples(st.just("bits"), st.integers(0, 70), st.just(0)),
    st.tuples(st.just("integers"), st.integers(0, 12), st.integers(1, 2**62)),
    # Just above a fifth of all words: a fifth of them is rejected.
    st.tuples(
        st.just("integers"), st.integers(6, 12), st.integers(1, 99).map((2**64 // 5).__add__)
    ),
    st.tuples(st.just("uniforms"), st.integers(0, 9), st.just(0)),
    st.tuples(st.just("gaussians"), st.integers(0, 5), st.integers(1, 4)),
    st.tuples(st.just("permutation"), st.integers(0, 30), st.just(0)),
)


@settings(deadline=None)
@given(keys, names, st.lists(draws, min_size=1, max_size=8))
def test_draws_in_any_order(key: bytes, label: str, order: list[tuple[str, int, int]]) -> None:
    ours, theirs = Stream(key, label), reference.Bytes(key, label)
    for kind, count, more in order:
        if kind == "bits":
            assert ours.bits(count).tolist() == theirs.bits(count)
        elif kind == "integers":
            assert ours.integers(count, more).tolist() == theirs.integers(count, more)
        elif kind == "uniforms":
            assert ours.uniforms(count).tolist() == theirs.uniforms(count)
        elif kind == "gaussians":
            assert ours.gaussians((count, more)).tolist() == theirs.gaussians(count, more)
        else:
            assert ours.permutation(count).tolist() == theirs.permutation(count)


@given(st.sampled_from(KINDS), st.lists(st.integers(0, 3), max_size=3), st.integers(0, 99))
def test_sample_digests(kind: str, shape: list[int], seed: int) -> None:
    random = np.random.default_rng(seed)
    sample = np.asarray(random.normal(0, 50, shape)).astype(np.int8).astype(kind)
    values = b"".join(
        value.astype(sample.dtype.newbyteorder("<")).tobytes() for value in sample.flat
    )
    assert sample_digest(sample) == reference.sample_digest(kind, shape, values)


@settings(deadline=None)
@given(keys, st.integers(0, 99), st.integers(1, 60), st.integers(1, 40))
def test_manifests_with_equal_samples(key: bytes, seed: int, count: int, wanted: int) -> None:
    data = samples(count, 3, seed, different=count // 2 + 1)
    manifest, entries = Manifest.of(data), digests(data)
    assert manifest.root == reference.manifest_root(entries)
    assert manifest.lowest(key, wanted).tolist() == reference.lowest(entries, key, wanted)
    for label in range(3):
        chosen = reference.lowest(entries, key, wanted, label)
        assert manifest.lowest(key, wanted, label=label).tolist() == chosen


@settings(deadline=None, max_examples=25)
@given(keys, st.integers(0, 9), st.integers(2, 5), st.sampled_from([(16, 24), (32, 48), (33, 50)]))
def test_white_box_secrets(subkey: bytes, seed: int, carriers: int, size: tuple[int, int]) -> None:
    classes, (bits, neurons) = 6, size
    data = samples(700, classes, seed, different=650)
    # One class has too few samples to carry bits.
    labels = np.where(np.arange(700) < 670, data.labels % (classes - 1), classes - 1)
    data = LabelledData(data.inputs, labels)
    derived = reference.whitebox(
        subkey,
        digests(data),
        classes=classes,
        carriers=carriers,
        bits=bits,
        triggers=50,
        neurons=neurons,
    )
    secret = SchemeSecret(
        "whitebox",
        {"classes": classes},
        {
            "carriers": np.array(derived.carriers),
            "trigger_indices": np.array(derived.triggers),
            "triggers": data.inputs[derived.triggers],
            "projection": np.array(derived.projection, dtype=np.float32),
            "bits": np.array(derived.bits, dtype=np.int8),
            "means": np.zeros((carriers, neurons), dtype=np.float32),
        },
    )
    if carriers * bits >= 64:
        WhiteBox().check(secret, subkey, Manifest.of(data))
    activation = np.random.default_rng(seed).random((50 * carriers, neurons), dtype=np.float32)
    means = class_means(activation, carriers)
    read = read_bits(means, secret.arrays["projection"].astype(np.float32))
    expected = reference.read_bits(activation.tolist(), carriers, derived.projection)
    np.testing.assert_array_equal(read, expected)


@settings(deadline=None, max_examples=25)
@given(keys, st.integers(0, 9), st.integers(2, 6), st.sampled_from(sorted(FAMILIES)), st.data())
def test_black_box_secrets(
    subkey: bytes, seed: int, classes: int, family: str, draw: st.DataObject
) -> None:
    data, queries = samples(90, classes, seed, different=60), 120
    shape = draw.draw(st.sampled_from([(6,), (2, 3), (3, 1, 2), (2, 3, 1)]))
    data = LabelledData(data.inputs.reshape(-1, *shape) - np.float32(0.3), data.labels)
    entries, count = digests(data), draw.draw(st.integers(20, 40))
    random = np.random.default_rng(seed)
    kept = sorted(random.permutation(2 * queries)[:queries].tolist())
    parent = random.normal(size=(queries, classes)).astype(np.float32)
    chosen = reference.sources(subkey, entries, count)
    expected = reference.labels(subkey, kept, parent.tolist())
    secret = SchemeSecret(
        "blackbox",
        {"classes": classes, "family": family},
        {
            "sources": data.inputs[chosen],
            "source_indices": np.array(chosen),
            "kept": np.array(kept),
            "query_key": np.frombuffer(reference.purpose(subkey, "queries"), dtype=np.uint8),
            "parent_outputs": parent,
            "label_key": np.frombuffer(reference.purpose(subkey, "labels"), dtype=np.uint8),
        },
    )
    scheme = BlackBox()
    scheme.check(secret, subkey, Manifest.of(data))
    values = data.inputs[chosen].reshape(count, -1).tolist()
    made = [reference.query(family, subkey, number, values, shape) for number in kept[:10]]
    given_queries = scheme.probes(secret).inputs[:10].reshape(10, -1)
    np.testing.assert_array_equal(given_queries, np.array(made).astype(np.float32))
    outputs = random.normal(size=(queries, classes)).astype(np.float32) + parent
    read = reference.answers(outputs.tolist(), parent.tolist())
    matches = sum(ours == label for ours, label in zip(read, expected, strict=True))
    assert matched(scheme.evidence(secret, Answers(outputs))).matches == matches


metas = st.dictionaries(
    names, st.one_of(st.integers(), st.text(max_size=5), st.floats(allow_nan=False)), max_size=4
)


@given(keys, names, metas, st.integers(0, 99))
def test_binding_nonces(
    salt: bytes, scheme: str, meta: dict[str, int | str | float], seed: int
) -> None:
    random = np.random.default_rng(seed)
    arrays: dict[str, NDArray[np.generic]] = {
        "b": random.random((2, 3)),
        "a": random.integers(0, 9, 4),
        "c": np.asfortranarray(random.random((3, 2), dtype=np.float32)),
        "none": np.empty((0,), dtype=np.int8),
    }
    plain = {
        name: reference.Array(
            array.dtype.name,
            array.shape,
            b"".join(value.astype(array.dtype.newbyteorder("<")).tobytes() for value in array.flat),
        )
        for name, array in arrays.items()
    }
    secret = SchemeSecret(scheme, dict(meta), arrays)
    expected = reference.nonce(salt, reference.secret_digest(scheme, meta, plain))
    assert binding_nonce(salt, secret) == expected
