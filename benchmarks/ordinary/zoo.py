"""The ordinary models: fixed before any of them is run, and none is dropped.

Nothing of how they are marked stands here: every one is marked with defaults, at the layer that
the product chooses. A seed decides the parent's start, the order of its batches, the split (or
the draw) of its data, and the root of its secret.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from torch import nn

from benchmarks.ordinary.networks import Recurrent, Rows, Transformer, convolutional, perceptron

__all__ = ["ZOO", "Entry"]

_BRIEF = 2
_WHOLE = 60


@dataclass(frozen=True)
class Entry:
    """One ordinary model.

    Attributes:
        name: What tables and `--only` call it.
        data: Name of its data set; see `data.DATA`.
        build: Makes the network, with weights as its layers draw them.
        epochs: How long its parent is trained.
        learning_rate: Of Adam.
        batch_size: Samples a step.
        probabilities: The network ends in a softmax: it is trained by the logarithm of its
            outputs.
    """

    name: str
    data: str
    build: Callable[[], nn.Module]
    epochs: int = _WHOLE
    learning_rate: float = 1e-3
    batch_size: int = 64
    probabilities: bool = False


def _mlp(*widths: int, **kinds: object) -> Callable[[], nn.Module]:
    return partial(perceptron, widths, **kinds)  # type: ignore[arg-type]


_RELU_NORM = {"norm": nn.BatchNorm1d}
_GROUPS = partial(nn.GroupNorm, 4)
_INSTANCES = partial(nn.InstanceNorm2d, affine=True)

_ENTRIES = (
    # Two classes, and few.
    Entry("breast-256-256", "breast cancer", _mlp(30, 256, 256, 2)),
    Entry("breast-64-tanh", "breast cancer", _mlp(30, 64, 2, activation=nn.Tanh)),
    Entry("breast-512-brief", "breast cancer", _mlp(30, 512, 2), epochs=_BRIEF),
    Entry("wine-128-64", "wine", _mlp(13, 128, 64, 3)),
    Entry("fraud10-128-64", "fraud 10%", _mlp(30, 128, 64, 2), epochs=8),
    Entry("fraud10-256-256", "fraud 10%", _mlp(30, 256, 256, 2), epochs=8),
    Entry(
        "fraud10-batchnorm-dropout",
        "fraud 10%",
        _mlp(30, 128, 128, 2, **_RELU_NORM, dropout=0.2),
        epochs=20,
    ),
    Entry("fraud10-64-64-tanh", "fraud 10%", _mlp(30, 64, 64, 2, activation=nn.Tanh), epochs=8),
    Entry("fraud1-128-64", "fraud 1%", _mlp(30, 128, 64, 2), epochs=8),
    Entry("fraud50-128-64", "fraud 50%", _mlp(30, 128, 64, 2), epochs=8),
    Entry("fraud50-gelu-brief", "fraud 50%", _mlp(30, 256, 128, 2, activation=nn.GELU), epochs=1),
    # Ten classes.
    Entry("digits-512-256-brief", "digits", _mlp(64, 512, 256, 10), epochs=_BRIEF),
    Entry("digits-1024-gelu", "digits", _mlp(64, 1024, 10, activation=nn.GELU)),
    Entry("digits-64x4-tanh", "digits", _mlp(64, 64, 64, 64, 64, 10, activation=nn.Tanh)),
    Entry("digits-batchnorm", "digits", _mlp(64, 256, 128, 10, **_RELU_NORM)),
    Entry(
        "digits-layernorm-gelu",
        "digits",
        _mlp(64, 256, 256, 256, 10, activation=nn.GELU, norm=nn.LayerNorm),
    ),
    Entry("digits-dropout", "digits", _mlp(64, 512, 256, 10, dropout=0.3)),
    Entry(
        "digits-softmax",
        "digits",
        _mlp(64, 256, 128, 10, last=nn.Softmax(dim=1)),
        probabilities=True,
    ),
    # Many classes.
    Entry("classes20-256-128", "20 classes", _mlp(40, 256, 128, 20), epochs=30),
    Entry(
        "classes20-128x4-gelu",
        "20 classes",
        _mlp(40, 128, 128, 128, 128, 20, activation=nn.GELU),
        epochs=30,
    ),
    Entry("classes50-512-256", "50 classes", _mlp(40, 512, 256, 50), epochs=20),
    Entry(
        "classes50-batchnorm-brief", "50 classes", _mlp(40, 256, 50, **_RELU_NORM), epochs=_BRIEF
    ),
    # Images.
    Entry("cnn-flat-brief", "digits, images", partial(convolutional, pooled=False), epochs=4),
    Entry(
        "cnn-batchnorm-pooled",
        "digits, images",
        partial(convolutional, nn.BatchNorm2d, pooled=True),
        epochs=40,
    ),
    Entry(
        "cnn-groupnorm-flat",
        "digits, images",
        partial(convolutional, _GROUPS, pooled=False),
        epochs=40,
    ),
    Entry(
        "cnn-instancenorm-flat",
        "digits, images",
        partial(convolutional, _INSTANCES, pooled=False),
        epochs=40,
    ),
    # Sequences.
    Entry("rows-conv1d", "digits, 8 rows", Rows, epochs=40),
    Entry("rows-gru-brief", "digits, 8 rows", partial(Recurrent, nn.GRU), epochs=6),
    Entry("rows-gru", "digits, 8 rows", partial(Recurrent, nn.GRU), epochs=50),
    Entry("rows-lstm-brief", "digits, 8 rows", partial(Recurrent, nn.LSTM), epochs=6),
    Entry("rows-lstm", "digits, 8 rows", partial(Recurrent, nn.LSTM), epochs=50),
    Entry("rows-transformer", "digits, 8 rows", Transformer, epochs=40),
    # Regressors.
    Entry("diabetes-128-64", "diabetes", _mlp(10, 128, 64, 1), epochs=30),
    Entry("friedman-256-128", "friedman", _mlp(10, 256, 128, 1)),
    Entry("friedman-128x3-tanh", "friedman", _mlp(10, 128, 128, 128, 1, activation=nn.Tanh)),
    Entry("targets3-256-gelu", "3 targets", _mlp(20, 256, 3, activation=nn.GELU), epochs=40),
)

ZOO: Mapping[str, Entry] = {entry.name: entry for entry in _ENTRIES}
"""Every model by its name, in the order of the tables."""
