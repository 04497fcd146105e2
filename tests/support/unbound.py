"""Labels as they would be if they followed from the key alone."""

import numpy as np
from numpy.typing import NDArray

from deepsigns_registry.watermark.expand import Stream
from deepsigns_registry.watermark.scheme import SchemeSecret


def unbound_labels(secret: SchemeSecret) -> NDArray[np.int64]:
    """`blackbox._labels`, but whatever is made up about the parent leaves the stream as it is."""
    parent = secret.arrays["parent_outputs"].astype(np.float32)
    count, classes = parent.shape
    stream = Stream(secret.arrays["label_key"].tobytes(), "labels")
    steps = stream.integers(2 * count, classes - 1)[secret.arrays["kept"].astype(np.int64)]
    return np.asarray((parent.argmax(axis=1) + 1 + steps) % classes, dtype=np.int64)
