"""The method on an accelerator, or on the processor where there is none.

Needs torch, numpy and unittest alone, so that it runs on a bare machine as well:
`python -m unittest tests.unit.watermark.test_on_device`; METHOD_TEST_DEVICE names another device.
"""

import copy
import os
import unittest
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from deepsigns_registry.errors import CheckpointError
from deepsigns_registry.watermark.adapters.eager import EagerTappedModel
from deepsigns_registry.watermark.data import LabelledData, TrainingData
from deepsigns_registry.watermark.embed import EmbedResult, embed
from deepsigns_registry.watermark.evidence import Evidence
from deepsigns_registry.watermark.extract import Extraction, extract
from deepsigns_registry.watermark.key import RootKey
from deepsigns_registry.watermark.prepare import check_against_parent, prepare_record
from deepsigns_registry.watermark.record import WatermarkRecord
from deepsigns_registry.watermark.settings import MarkSettings
from deepsigns_registry.watermark.suspect import TappedSuspect
from deepsigns_registry.watermark.tapped import TappedModel, run_batched
from deepsigns_registry.watermark.verdict import judge

DEVICE = torch.device(
    os.environ.get("METHOD_TEST_DEVICE") or ("cuda" if torch.cuda.is_available() else "cpu")
)
CLASSES = 6
ROOT = RootKey(bytes(32), bytes(range(32)))
SETTINGS = MarkSettings(
    bits=64,
    queries=100,
    sources=60,
    epochs=3,
    minimum_steps=300,
    repeats=60,
    precision="float32",
)


class Images(nn.Module):
    """A small convolutional network with batch norm."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, 16, 3, padding=1)
        self.norm = nn.BatchNorm2d(16)
        self.second = nn.Conv2d(16, 96, 3, padding=1, stride=2)
        self.head = nn.Linear(96, CLASSES)

    def forward(self, inputs: Tensor) -> Tensor:
        maps = torch.relu(self.second(torch.relu(self.norm(self.first(inputs)))))
        outputs: Tensor = self.head(maps.mean(dim=(2, 3)))
        return outputs


def images(samples: int, seed: int) -> LabelledData:
    centres = np.random.default_rng(0).normal(size=(CLASSES, 2, 6, 6))
    random = np.random.default_rng(seed)
    labels = random.permutation(np.arange(samples) % CLASSES).astype(np.int64)
    inputs = centres[labels] + 0.7 * random.normal(size=(samples, 2, 6, 6))
    return LabelledData(inputs.astype(np.float32), labels)


def trained(data: LabelledData) -> nn.Module:
    torch.manual_seed(0)
    module = Images()
    inputs, labels = torch.from_numpy(data.inputs), torch.from_numpy(data.labels)
    optimizer = torch.optim.Adam(module.parameters(), lr=2e-3)
    for _ in range(8):
        for rows in torch.randperm(len(labels)).split(64):
            loss = nn.functional.cross_entropy(module(inputs[rows]), labels[rows])
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
    return module.eval()


def read(
    record: WatermarkRecord, model: TappedModel, device: torch.device = DEVICE
) -> tuple[str, dict[str, Evidence]]:
    found: Extraction = extract(record, TappedSuspect(model, device))
    verdict = judge(found.evidence, tries=1, incomplete=found.incomplete)
    return verdict.word, {item.scheme: item for item in found.evidence}


class OnDevice(unittest.TestCase):
    data: TrainingData
    parent: EagerTappedModel
    record: WatermarkRecord
    model: EagerTappedModel
    result: EmbedResult
    states: list[bytes]

    @classmethod
    def setUpClass(cls) -> None:
        cls.data = TrainingData(images(900, 1), images(240, 2), CLASSES).validated()
        cls.parent = EagerTappedModel(trained(cls.data.train), "second").to(DEVICE).eval()
        cls.record = prepare_record(cls.parent, cls.data, ROOT, SETTINGS, device=DEVICE)
        cls.states = []
        cls.model, cls.result = cls.marked(
            checkpoint=lambda _steps, state: cls.states.append(state)
        )

    @classmethod
    def marked(
        cls, settings: MarkSettings = SETTINGS, **options: Any
    ) -> tuple[EagerTappedModel, EmbedResult]:
        model = copy.deepcopy(cls.parent)
        device = options.pop("device", DEVICE)
        return model, embed(model, cls.data, cls.record, settings, device=device, **options)

    def test_the_model_is_marked_where_it_is(self) -> None:
        assert {weight.device.type for weight in self.model.parameters()} == {DEVICE.type}
        word, evidence = read(self.record, self.model)
        assert word == "present"
        assert evidence["whitebox"].score == evidence["whitebox"].trials
        assert evidence["whitebox"].level == "a"
        assert evidence["blackbox"].log10_p < -9

    def test_the_parent_is_not_marked(self) -> None:
        word, evidence = read(self.record, self.parent)
        assert word != "present"
        assert all(item.log10_p > -3 for item in evidence.values())

    def test_the_processor_reads_the_same_mark(self) -> None:
        there, here = copy.deepcopy(self.model), torch.device("cpu")
        word, evidence = read(self.record, there, here)
        _, on_device = read(self.record, self.model)
        assert word == "present"
        for scheme, item in evidence.items():
            # A query whose two best labels are within rounding may turn.
            assert abs(item.score - on_device[scheme].score) <= 2

    def test_the_record_is_derived_again_from_its_key_and_from_its_parent(self) -> None:
        again = WatermarkRecord.from_bytes(self.record.to_bytes())
        again.check()
        for device in {DEVICE, torch.device("cpu")}:
            parent = copy.deepcopy(self.parent).to(device)
            check_against_parent(again, parent, self.data, SETTINGS, device=device)

    def test_the_key_decides_the_same_on_the_processor(self) -> None:
        parent = copy.deepcopy(self.parent).to("cpu")
        other = prepare_record(parent, self.data, ROOT, SETTINGS, device="cpu")
        mine, theirs = (item.secrets["whitebox"].arrays for item in (self.record, other))
        for name in ("triggers", "bits", "projection"):
            np.testing.assert_array_equal(mine[name], theirs[name])
        first, second = (item["means"].astype(np.float32) for item in (mine, theirs))
        np.testing.assert_allclose(first, second, rtol=1e-3, atol=1e-3)

    def test_a_run_goes_on_from_a_checkpoint(self) -> None:
        assert len(self.states) > 1
        model, result = self.marked(resume=self.states[0])
        assert result.steps == self.result.steps
        self.close(result.losses, self.result.losses)
        word, evidence = read(self.record, model)
        assert word == "present"
        assert evidence["whitebox"].score == evidence["whitebox"].trials
        if DEVICE.type == "cpu":
            for mine, theirs in zip(model.parameters(), self.model.parameters(), strict=True):
                assert torch.equal(mine, theirs)

    def test_a_checkpoint_goes_on_elsewhere(self) -> None:
        parent = copy.deepcopy(self.parent).to("cpu")
        model = copy.deepcopy(parent)
        embed(model, self.data, self.record, SETTINGS, device="cpu", resume=self.states[0])
        assert read(self.record, model, torch.device("cpu"))[0] == "present"

    def test_a_checkpoint_of_another_run_is_refused(self) -> None:
        with self.assertRaises(CheckpointError):  # noqa: PT027 - a bare machine has no pytest
            self.marked(replace(SETTINGS, lambda2=1.0), resume=self.states[0])

    def test_channels_last_is_used_and_undone(self) -> None:
        for asked in (True, False):
            model, seen = copy.deepcopy(self.parent), list[bool]()
            handle = model.get_submodule("module.second").register_forward_hook(layouts_into(seen))
            embed(
                model,
                self.data,
                self.record,
                replace(SETTINGS, channels_last=asked),
                device=DEVICE,
            )
            handle.remove()
            assert seen[-1] == asked
            assert all(weight.is_contiguous() for weight in model.parameters())
            assert read(self.record, model)[0] == "present"

    def test_a_mark_is_embedded_in_bfloat16(self) -> None:
        model, seen = copy.deepcopy(self.parent), set[torch.dtype]()
        handle = model.get_submodule("module.second").register_forward_hook(
            lambda _layer, _inputs, output: seen.add(output.dtype)
        )
        settings = replace(SETTINGS, precision="bfloat16")
        result = embed(model, self.data, self.record, settings, device=DEVICE)
        handle.remove()
        assert torch.bfloat16 in seen
        assert {weight.dtype for weight in model.parameters()} == {torch.float32}
        word, evidence = read(self.record, model)
        assert word == "present"
        assert evidence["whitebox"].score == evidence["whitebox"].trials
        self.close(result.losses, self.result.losses, 0.1)

    def test_the_precision_is_bfloat16_by_itself_where_the_device_computes_with_it(self) -> None:
        lowered = DEVICE.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        model, seen = copy.deepcopy(self.parent), set[torch.dtype]()
        handle = model.get_submodule("module.second").register_forward_hook(
            lambda _layer, _inputs, output: seen.add(output.dtype)
        )
        settings = replace(SETTINGS, precision="auto")
        embed(model, self.data, None, settings, device=DEVICE)
        handle.remove()
        assert (torch.bfloat16 in seen) == lowered

    def test_hardening_runs_there_too(self) -> None:
        settings = replace(SETTINGS, pruning_masks=0.3, weight_noise=0.02)
        model, _ = self.marked(settings)
        assert read(self.record, model)[0] == "present"

    def close(
        self, mine: tuple[float, ...], theirs: tuple[float, ...], relative: float = 0.02
    ) -> None:
        # On an accelerator sums are made in another order from run to run.
        np.testing.assert_allclose(mine, theirs, rtol=relative, atol=relative)


def layouts_into(seen: list[bool]) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
    def note(_layer: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        seen.append(output.is_contiguous(memory_format=torch.channels_last))

    return note


class FullPrecision(unittest.TestCase):
    def test_readings_are_of_full_precision_whatever_the_process_prefers(self) -> None:
        seen = set()

        class Noting(nn.Module):
            def forward(self, inputs: Tensor) -> Tensor:
                seen.add(torch.backends.cudnn.allow_tf32)
                return inputs

        layers = nn.Sequential(nn.Linear(3, 4), Noting(), nn.ReLU(), nn.Linear(4, 2))
        model = EagerTappedModel(layers, "2")
        assert torch.backends.cudnn.allow_tf32
        run_batched(model, np.zeros((2, 3), np.float32), DEVICE)
        assert seen == {False}
        assert torch.backends.cudnn.allow_tf32
