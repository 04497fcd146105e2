import hashlib
import tracemalloc

import numpy as np
import pytest
from numpy.typing import NDArray

from deepsigns_registry.errors import TamperedError
from deepsigns_registry.watermark.data import LabelledData
from deepsigns_registry.watermark.key import prf
from deepsigns_registry.watermark.manifest import Manifest, first_by_digest, sample_digest


def manifest(inputs: list[float], labels: list[int]) -> Manifest:
    values = np.array(inputs, dtype=np.float32).reshape(-1, 1)
    return Manifest.of(LabelledData(values, np.array(labels, dtype=np.int64)))


def test_digest_says_type_shape_and_value() -> None:
    sample = np.arange(4, dtype=np.float32)
    digests = {
        sample_digest(sample),
        sample_digest(sample.reshape(2, 2)),
        sample_digest(sample.astype(np.float64)),
        sample_digest(sample + 1),
    }
    assert len(digests) == 4


def test_digest_ignores_byte_order_and_memory_layout() -> None:
    sample = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert sample_digest(sample) == sample_digest(sample.astype(">f4"))
    assert sample_digest(sample) == sample_digest(np.asfortranarray(sample))


def test_digest_is_of_type_shape_and_values_each_after_its_length() -> None:
    def part(content: bytes) -> bytes:
        return len(content).to_bytes(8, "big") + content

    for shape in [(3,), (3, 4), (3, 2, 5)]:
        samples = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
        listed = Manifest.of(LabelledData(samples, np.zeros(3, dtype=np.int64)))
        for digest, sample in zip(listed.digests, samples, strict=True):
            described = ",".join(map(str, shape[1:])).encode()
            written = part(b"float32") + part(described) + part(sample.astype("<f4").tobytes())
            assert digest.tobytes() == hashlib.sha256(written).digest()
            assert digest.tobytes() == sample_digest(sample)


def test_root_does_not_depend_on_the_order_of_the_data() -> None:
    assert manifest([1, 2, 3], [0, 1, 0]).root == manifest([3, 1, 2], [0, 0, 1]).root


def test_root_changes_with_a_sample_or_a_label() -> None:
    root = manifest([1, 2, 3], [0, 1, 0]).root
    assert root != manifest([1, 2, 4], [0, 1, 0]).root
    assert root != manifest([1, 2, 3], [0, 1, 1]).root
    assert root != manifest([1, 2], [0, 1]).root


def test_lowest_takes_the_smallest_prf_of_a_class() -> None:
    listed = manifest([float(value) for value in range(40)], [0, 1] * 20)
    key = b"k" * 32
    ranked = sorted(range(1, 40, 2), key=lambda i: prf(key, listed.digests[i].tobytes()))
    assert listed.lowest(key, 5, label=1).tolist() == ranked[:5]


def test_duplicates_count_once() -> None:
    listed = manifest([1, 1, 1, 2], [0, 0, 0, 0])
    assert listed.distinct(3).tolist() == [2, 0, 0]
    assert sorted(listed.lowest(b"k" * 32, 9).tolist()) == [0, 3]


@pytest.mark.parametrize(
    ("digests", "labels"),
    [
        (np.zeros((2, 32), np.uint8), np.zeros(3, np.int64)),
        (np.zeros((2, 31), np.uint8), np.zeros(2, np.int64)),
        (np.zeros((2, 32), np.float32), np.zeros(2, np.int64)),
        (np.zeros((2, 32), np.uint8), np.zeros(2, np.float64)),
        (np.zeros((2, 32), np.uint8), np.zeros((2, 2), np.int64)),
    ],
)
def test_digests_and_labels_must_belong_together(
    digests: NDArray[np.uint8], labels: NDArray[np.int64]
) -> None:
    with pytest.raises(TamperedError, match=r"manifest: .* for .* labels of shape"):
        Manifest(digests, labels)


def test_a_manifest_that_is_read_is_of_a_bounded_size() -> None:
    # Views of one sample, as many as there may not be.
    many = 20_000_001
    digests = np.broadcast_to(np.zeros(32, np.uint8), (many, 32))
    labels = np.broadcast_to(np.int64(0), (many,))
    with pytest.raises(ValueError, match="more than 20000000 samples"):
        Manifest.read(digests, labels)
    read = Manifest.read(digests[:3], labels[:3].astype(np.int32))
    assert read.root == Manifest(digests[:3], labels[:3]).root
    with pytest.raises(TypeError):
        Manifest.read(digests[:3], np.zeros(3))


def test_the_root_of_many_samples_needs_little_memory() -> None:
    """Half a kilobyte a sample before; now its leaf, and one level of the tree of 32 bytes."""
    samples = 50_000
    listed = Manifest(np.zeros((samples, 32), np.uint8), np.zeros(samples, np.int64))
    tracemalloc.start()
    assert len(listed.root) == 64
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 200 * samples


@pytest.mark.parametrize("samples", [0, 1, 2, 3, 31])
def test_first_places_are_in_the_order_of_the_digests(samples: int) -> None:
    random = np.random.default_rng(0)
    digests = random.integers(256, size=(samples, 32), dtype=np.uint8)
    digests[:, -2:] = 0
    digests[samples // 2 :, :31] = digests[:1, :31]
    found = first_by_digest(digests)
    known = [row.tobytes() for row in digests]
    assert [known[at] for at in found] == sorted(set(known))
    assert found.tolist() == [known.index(known[at]) for at in found]
