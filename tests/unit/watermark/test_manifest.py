import hashlib

import numpy as np
import pytest

from deepsigns_registry.errors import TamperedError
from deepsigns_registry.watermark.data import LabelledData
from deepsigns_registry.watermark.key import prf
from deepsigns_registry.watermark.manifest import Manifest, sample_digest


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
    assert listed.distinct(0) == 2
    assert sorted(listed.lowest(b"k" * 32, 9).tolist()) == [0, 3]


def test_digests_and_labels_must_belong_together() -> None:
    with pytest.raises(TamperedError, match="for 3 labels"):
        Manifest(np.zeros((2, 32), dtype=np.uint8), np.zeros(3, dtype=np.int64))
