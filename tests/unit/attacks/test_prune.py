import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from deepsigns_registry.attacks.prune import Prune
from deepsigns_registry.attacks.quantize import Quantize
from deepsigns_registry.errors import CouldNotCheckError
from deepsigns_registry.graph.interpreter import OnnxTappedModel
from deepsigns_registry.watermark.adapters.eager import EagerTappedModel
from deepsigns_registry.watermark.data import LabelledData
from deepsigns_registry.watermark.tapped import TappedModel


def weights(model: TappedModel) -> Tensor:
    return torch.cat(
        [weight.detach().flatten() for weight in model.parameters() if weight.ndim > 1]
    )


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_the_smallest_share_of_all_weights_is_zero(
    eager: EagerTappedModel, data: LabelledData, share: float
) -> None:
    before = copy.deepcopy(eager.state_dict())
    pruned = Prune().apply(eager, share, data, seed=0)
    old, new = weights(eager), weights(pruned)
    count = int(share * len(old))
    assert int((new == 0).sum()) == count
    assert old[new == 0].abs().max() <= old[new != 0].abs().min()
    torch.testing.assert_close(new[new != 0], old[new != 0], rtol=0, atol=0)
    assert all(torch.equal(before[name], value) for name, value in eager.state_dict().items())


def test_equal_weights_do_not_fall_together(eager: EagerTappedModel, data: LabelledData) -> None:
    flat = copy.deepcopy(eager)
    with torch.no_grad():
        for weight in flat.parameters():
            weight.fill_(1)
    pruned = weights(Prune().apply(flat, 0.5, data, seed=0))
    assert int((pruned == 0).sum()) == len(pruned) // 2


def test_an_onnx_file_is_pruned_in_place(view: OnnxTappedModel, data: LabelledData) -> None:
    pruned = Prune().apply(view, 0.5, data, seed=0)
    assert isinstance(pruned, OnnxTappedModel)
    assert pruned.tap == view.tap
    assert [node.output for node in pruned.write_back().graph.node] == [
        node.output for node in view.write_back().graph.node
    ]
    assert float((weights(pruned) == 0).float().mean()) == pytest.approx(0.5, abs=1e-3)


def test_biases_stay_and_progress_is_told(eager: EagerTappedModel, data: LabelledData) -> None:
    told: list[tuple[float, str]] = []
    pruned = Prune().apply(eager, 0.9, data, seed=0, progress=lambda *event: told.append(event))
    for ours, theirs in zip(eager.parameters(), pruned.parameters(), strict=True):
        assert ours.ndim > 1 or torch.equal(ours, theirs)
    assert [share for share, _ in told] == [1.0]


def test_half_of_the_weights_are_not_needed(
    view: OnnxTappedModel, data: LabelledData, accuracy: Callable[..., float]
) -> None:
    assert accuracy(Prune().apply(view, 0.5, data, seed=0), data) > 0.8


def test_a_file_without_float_weights_is_refused(view: OnnxTappedModel, data: LabelledData) -> None:
    quantized = Quantize().apply(view, 8.0, data, seed=0)
    with pytest.raises(CouldNotCheckError, match="no float weights to prune"):
        Prune().apply(quantized, 0.5, data, seed=0)
