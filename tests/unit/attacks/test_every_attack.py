"""What every attack promises, whatever it does: see `attacks.attack.Attack`."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from deepsigns_registry.attacks import Attack, builtin_attacks
from deepsigns_registry.attacks.overwrite import Overwrite
from deepsigns_registry.attacks.overwrite_strong import STRONG, OverwriteStrong
from deepsigns_registry.graph.interpreter import OnnxTappedModel
from deepsigns_registry.watermark.data import LabelledData
from deepsigns_registry.watermark.settings import MarkSettings
from deepsigns_registry.watermark.tapped import TappedModel

STRENGTHS = {
    "prune": "0.5",
    "layer_prune": "0.5",
    "structured_prune": "0.3",
    "fine_prune": "0.3",
    "finetune": "1",
    "finetune_slow": "1",
    "finetune_last": "1",
    "finetune_reset": "1",
    "smooth": "1",
    "distill": "1",
    "overwrite": "1",
    "quantize": "static",
    "noise": "0.1",
    "permute": "1",
    "split": "0.2",
    "lowrank": "0.5",
    "finetune_sgd": "1",
    "redraw": "2",
    "decay": "6",
    "collapse": "1",
    "merge": "1",
    "distill_hard": "1",
    "distill_other": "1",
    "reconstruct": "1",
    "overwrite_strong": "1",
    "gate": "0.05",
    "filter": "1",
    "rewrite": "orthogonal",
}
QUICK: dict[str, Attack] = {
    "overwrite": Overwrite(settings=MarkSettings(minimum_steps=4)),
    "overwrite_strong": OverwriteStrong(settings=replace(STRONG, minimum_steps=4)),
}
DRAWS_NOTHING = {"prune", "layer_prune", "structured_prune", "lowrank", "gate"}
# These give an ONNX file's view, whatever they are given.
ONNX_ONLY = {
    *("quantize", "structured_prune", "permute", "split"),
    *("distill_other", "gate", "filter", "rewrite"),
}


def attack_of(name: str) -> tuple[Attack, float]:
    attack = QUICK.get(name) or builtin_attacks()[name]
    return attack, attack.parse(STRENGTHS[name])


def state(model: TappedModel) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def test_none_is_left_out() -> None:
    assert set(STRENGTHS) == set(builtin_attacks())


@pytest.mark.parametrize("name", STRENGTHS)
def test_a_file_stays_a_file_with_its_tap(
    name: str, view: OnnxTappedModel, data: LabelledData
) -> None:
    attack, strength = attack_of(name)
    before, random = state(view), torch.get_rng_state()
    told: list[float] = []
    attacked = attack.apply(
        view, strength, data, seed=1, progress=lambda share, _: told.append(share)
    )
    assert isinstance(attacked, OnnxTappedModel)
    assert not attacked.training
    assert all(weight.requires_grad for weight in attacked.parameters())
    written = {name for node in attacked.write_back().graph.node for name in node.output}
    assert attacked.tap in written or not attacked.tap
    assert (told[-1], sorted(told)) == (1.0, told)
    # The victim, its mode and torch's generator are as they were.
    assert all(torch.equal(before[entry], value) for entry, value in view.state_dict().items())
    assert not view.training
    assert torch.equal(torch.get_rng_state(), random)
    reread = OnnxTappedModel.from_proto(attacked.write_back(), attacked.tap).eval()
    inputs = torch.from_numpy(data.inputs[:100])
    with torch.no_grad():
        torch.testing.assert_close(reread(inputs).outputs, attacked(inputs).outputs)


@pytest.mark.parametrize("name", STRENGTHS)
def test_without_a_tap_the_file_is_the_same(
    name: str, view: OnnxTappedModel, data: LabelledData
) -> None:
    attack, strength = attack_of(name)
    untapped = OnnxTappedModel.from_proto(view.write_back()).eval()
    files = [attack.apply(model, strength, data, seed=1) for model in (view, untapped)]
    tapped, blind = files
    assert isinstance(tapped, OnnxTappedModel)
    assert isinstance(blind, OnnxTappedModel)
    assert blind.tap == ""
    assert tapped.to_bytes() == blind.to_bytes()


@pytest.mark.parametrize("name", sorted(set(STRENGTHS) - DRAWS_NOTHING))
def test_the_seed_decides(name: str, view: OnnxTappedModel, data: LabelledData) -> None:
    attack, strength = attack_of(name)
    files = [attack.apply(view, strength, data, seed=seed) for seed in (1, 1, 2)]
    first, again, other = [file.to_bytes() for file in files if isinstance(file, OnnxTappedModel)]
    assert first == again
    assert first != other


@pytest.mark.parametrize("name", sorted(set(STRENGTHS) - ONNX_ONLY))
def test_the_model_given_stays(name: str, victim: TappedModel, data: LabelledData) -> None:
    attack, strength = attack_of(name)
    before = state(victim)
    attacked = attack.apply(victim, strength, data, seed=1)
    after = victim.state_dict()
    assert all(torch.equal(before[entry], after[entry]) for entry in before)
    assert not victim.training
    assert not attacked.training
    inputs = torch.from_numpy(data.inputs[:16])
    with torch.no_grad():
        ours, theirs = victim(inputs), attacked(inputs)
    assert ours.outputs.shape == theirs.outputs.shape
    assert torch.isfinite(theirs.outputs).all()
    assert not torch.equal(ours.outputs, theirs.outputs)
