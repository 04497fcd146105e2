from pathlib import Path

import numpy as np
import torch
from torch import nn

from benchmarks.thieves.inside import InsideSuspect
from deepsigns_registry.graph.export import export_onnx
from deepsigns_registry.graph.interpreter import OnnxTappedModel
from deepsigns_registry.graph.session import OnnxSuspect
from deepsigns_registry.watermark.adapters.eager import EagerTappedModel


def test_it_gives_what_the_limited_process_gives(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(1, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(216, 20), nn.ReLU(), nn.Linear(20, 4)
    )
    inputs = np.random.default_rng(0).normal(size=(30, 1, 8, 8)).astype(np.float32)
    path = tmp_path / "model.onnx"
    tap = export_onnx(EagerTappedModel(module.eval(), "4"), inputs[:8], path)
    inside, limited = InsideSuspect(OnnxTappedModel.from_file(path, tap)), OnnxSuspect(path)
    for name in (tap, "none", None):
        given, expected = (suspect.run(inputs, tap=name) for suspect in (inside, limited))
        np.testing.assert_allclose(given[0], expected[0], atol=1e-5)
        assert (given[1] is None) == (expected[1] is None) == (name != tap)
        if given[1] is not None and expected[1] is not None:
            np.testing.assert_allclose(given[1], expected[1], atol=1e-5)
    first, second = (suspect.weight(tap) for suspect in (inside, limited))
    assert first is not None
    assert second is not None
    np.testing.assert_array_equal(first, second)
    ours, theirs = (suspect.networks() for suspect in (inside, limited))
    assert len(ours) == len(theirs) > 0
    for network, other in zip(ours, theirs, strict=True):
        assert len(network.layers) == len(other.layers)
        names = [*(tensor.name for tensor in network.tensors), "none"]
        found = inside.activations(network, inputs, names)
        expected_too = limited.activations(other, inputs, names)
        assert set(found) == set(expected_too) != set()
        for name in found:
            np.testing.assert_allclose(found[name], expected_too[name], atol=1e-5)
