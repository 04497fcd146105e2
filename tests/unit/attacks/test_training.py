import copy
from typing import cast

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from deepsigns_registry.attacks.finetune import Finetune
from deepsigns_registry.attacks.losses import task_goal
from deepsigns_registry.attacks.training import Training
from deepsigns_registry.errors import CouldNotCheckError
from deepsigns_registry.watermark.adapters.eager import EagerTappedModel
from deepsigns_registry.watermark.data import LabelledData
from deepsigns_registry.watermark.tapped import TappedModel


def run(
    model: TappedModel, data: LabelledData, training: Training, *, epochs: int = 1
) -> tuple[TappedModel, list[str]]:
    trained, told = copy.deepcopy(model), list[str]()
    goal = task_goal(trained, data, torch.device("cpu"), attack="test", smoothing=0.0)
    training.run(
        trained,
        list(trained.parameters()),
        data.inputs,
        goal.targets,
        goal.loss,
        epochs=epochs,
        seed=1,
        attack="test",
        progress=lambda _, message: told.append(message),
    )
    return trained, told


def test_it_is_adam_over_every_sample_once(data: LabelledData) -> None:
    """The loop against the few lines that it stands for."""
    torch.manual_seed(0)
    model = EagerTappedModel(nn.Sequential(nn.Flatten(), nn.Linear(64, 4)), "0")
    ours, told = run(model, data, Training(learning_rate=1e-2, batch_size=250), epochs=2)
    inputs, labels = torch.from_numpy(data.inputs), torch.from_numpy(data.labels)
    oracle = torch.optim.Adam(model.parameters(), lr=1e-2)
    generator = torch.Generator().manual_seed(1)
    for message in told:
        losses = []
        for rows in torch.randperm(len(labels), generator=generator).split(250):
            loss = functional.cross_entropy(model(inputs[rows]).outputs, labels[rows])
            oracle.zero_grad()
            torch.autograd.backward(loss)
            oracle.step()
            losses.append(loss.item())
        assert message.endswith(f"loss {np.mean(losses):.4f}")
    for mine, theirs in zip(ours.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs)


def test_half_the_precision_learns_the_same(victim: TappedModel, data: LabelledData) -> None:
    exact, _ = run(victim, data, Training())
    mixed, _ = run(victim, data, Training(mixed_precision=True))
    for before, one, other in zip(
        victim.parameters(), exact.parameters(), mixed.parameters(), strict=True
    ):
        assert one.dtype == other.dtype == torch.float32
        steps, rounded = (one - before).detach().flatten(), (other - before).detach().flatten()
        assert not torch.equal(steps, rounded)
        assert float(functional.cosine_similarity(steps, rounded, dim=0)) > 0.9


class _Layouts(nn.Module):
    """Notes the layout of what it reads; `strict` insists on the usual one."""

    def __init__(self, *, strict: bool) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(2, 3, 3)
        self.head = nn.Linear(108, 4)
        self.strict = strict
        self.last = list[bool]()

    def forward(self, inputs: Tensor) -> Tensor:
        self.last.append(inputs.is_contiguous(memory_format=torch.channels_last))
        hidden = self.convolution(inputs)
        outputs: Tensor = self.head(
            hidden.view(len(inputs), -1) if self.strict else hidden.flatten(1)
        )
        return outputs


@pytest.mark.parametrize("strict", [False, True])
def test_images_have_their_channels_last_where_the_model_takes_it(
    data: LabelledData, strict: bool
) -> None:
    module = _Layouts(strict=strict)
    twice = LabelledData(np.repeat(data.inputs, 2, axis=1), data.labels)
    trained, _ = run(EagerTappedModel(module, "convolution"), twice, Training())
    assert isinstance(trained, EagerTappedModel)
    assert isinstance(trained.module, _Layouts)
    assert trained.module.last[-1] is not strict
    assert all(weight.is_contiguous() for weight in trained.parameters())


@pytest.mark.parametrize("count", [1, 129])
def test_a_sample_left_over_has_no_batch_statistics(data: LabelledData, count: int) -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.LayerNorm(8), nn.Linear(8, 4))
    if count > 1:
        module[2] = nn.BatchNorm1d(8)  # refuses a batch of one in training
    few = LabelledData(data.inputs[:count], data.labels[:count])
    trained, _ = run(EagerTappedModel(module, "2"), few, Training())
    assert not torch.equal(
        trained.get_parameter("module.1.weight"), module.get_parameter("1.weight")
    )


def test_samples_that_cannot_be_written_to_are_used_as_they_are(data: LabelledData) -> None:
    inputs = data.inputs[::2].astype(np.float64)[:, :, ::-1]
    inputs.setflags(write=False)
    given = LabelledData(cast("NDArray[np.float32]", inputs), data.labels[::2].astype(np.int32))
    torch.manual_seed(0)
    model = EagerTappedModel(nn.Sequential(nn.Flatten(), nn.Linear(64, 4)), "0")
    plain = LabelledData(np.ascontiguousarray(inputs, np.float32), data.labels[::2])
    first, again = (Finetune().apply(model, 1, one, seed=0) for one in (given, plain))
    for mine, theirs in zip(first.parameters(), again.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_a_diverging_loss_ends_the_training(data: LabelledData) -> None:
    model = EagerTappedModel(nn.Sequential(nn.Flatten(), nn.Linear(64, 4)), "0")
    with pytest.raises(CouldNotCheckError, match=r"attack test: the loss is (nan|inf) in epoch"):
        run(model, data, Training(learning_rate=1e38), epochs=3)
