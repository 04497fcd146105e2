import pytest
import torch

from deepsigns_registry.attacks.layer_prune import LayerPrune
from deepsigns_registry.attacks.quantize import Quantize
from deepsigns_registry.errors import CouldNotCheckError
from deepsigns_registry.graph.interpreter import OnnxTappedModel
from deepsigns_registry.watermark.data import LabelledData
from deepsigns_registry.watermark.tapped import TappedModel


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_every_layer_loses_its_smallest_share(
    victim: TappedModel, data: LabelledData, share: float
) -> None:
    pruned = LayerPrune().apply(victim, share, data, seed=0)
    for old, new in zip(victim.parameters(), pruned.parameters(), strict=True):
        if old.ndim < 2:
            assert torch.equal(old, new)
            continue
        gone = new == 0
        assert int(gone.sum()) == int(share * old.numel())
        assert old[gone].abs().max() <= old[~gone].abs().min()
        assert torch.equal(old[~gone], new[~gone])


def test_a_file_without_float_weights_is_refused(view: OnnxTappedModel, data: LabelledData) -> None:
    quantized = Quantize().apply(view, 8.0, data, seed=0)
    with pytest.raises(CouldNotCheckError, match=r"attack layer_prune: .* no float weights"):
        LayerPrune().apply(quantized, 0.5, data, seed=0)
