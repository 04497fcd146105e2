from dataclasses import replace

import torch
from torch import nn

from deepsigns_registry.attacks.overwrite import Overwrite
from deepsigns_registry.attacks.overwrite_strong import STRONG, OverwriteStrong
from deepsigns_registry.watermark.adapters.eager import EagerTappedModel
from deepsigns_registry.watermark.data import LabelledData


def test_twice_is_once_and_once_more_with_another_key(data: LabelledData) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 4))
    model = EagerTappedModel(module.eval(), "2")
    short = replace(STRONG, minimum_steps=5)
    told: list[float] = []
    twice = OverwriteStrong(settings=short).apply(
        model, 2, data, seed=7, progress=lambda share, _: told.append(share)
    )
    expected = Overwrite(settings=short).apply(model, 1, data, seed=7)
    assert not torch.equal(*(found.get_parameter("module.1.weight") for found in (model, expected)))
    expected = Overwrite(settings=short).apply(expected, 1, data, seed=7 + 1_000_003)
    for ours, theirs in zip(twice.parameters(), expected.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    assert told == sorted(told)
    assert told[-1] == 1.0


def test_the_thief_asks_for_all_that_the_method_can_do() -> None:
    assert (STRONG.bits, STRONG.carriers, STRONG.margin) == (1280, 10, 10.0)
