"""Marks embedded and read in bfloat16 and in float32, side by side."""

import copy
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.gpu.memory import peak_mib
from benchmarks.gpu.setting import ROOT, Setting
from deepsigns_registry.watermark.adapters.eager import EagerTappedModel
from deepsigns_registry.watermark.embed import embed
from deepsigns_registry.watermark.extract import extract
from deepsigns_registry.watermark.fidelity import accuracy
from deepsigns_registry.watermark.prepare import prepare_record
from deepsigns_registry.watermark.record import WatermarkRecord
from deepsigns_registry.watermark.settings import Precision
from deepsigns_registry.watermark.suspect import TappedSuspect
from deepsigns_registry.watermark.tapped import Tapped, TappedModel
from deepsigns_registry.watermark.verdict import judge

__all__ = ["compare_precisions"]

_PRECISIONS: tuple[Precision, ...] = ("bfloat16", "float32")


def compare_precisions(setting: Setting, keep: Callable[[dict[str, Any]], None]) -> None:
    """Marks the same parent in each precision, and reads each mark in each.

    Args:
        setting: The run's size.
        keep: Given all figures so far, after every reading.
    """
    data = setting.data()
    parent = setting.parent(data)
    record = prepare_record(parent, data, ROOT, setting.settings(), device=setting.device)
    figures: dict[str, Any] = {
        "network": setting.network,
        "parent": {
            "accuracy": accuracy(parent, data.validation, setting.device),
            "read": {"float32": _read(record, parent, setting.device)},
        },
        "marked": {},
    }
    keep(figures)
    for precision in _PRECISIONS:
        model = copy.deepcopy(parent)
        settings = replace(setting.settings(), precision=precision)
        started = time.perf_counter()
        marking = partial(embed, model, data, record, settings, device=setting.device)
        memory = peak_mib(marking, setting.device)
        found: dict[str, Any] = {
            "seconds": time.perf_counter() - started,
            "peak_mib": memory,
            "accuracy": accuracy(model, data.validation, setting.device),
            "read": {},
        }
        figures["marked"][precision] = found
        for reader in _PRECISIONS:
            suspect = _Lowered(model) if reader == "bfloat16" else model
            found["read"][reader] = _read(record, suspect, setting.device)
            keep(figures)


def _read(record: WatermarkRecord, model: TappedModel, device: torch.device) -> dict[str, Any]:
    found = extract(record, TappedSuspect(model, device))
    verdict = judge(found.evidence, tries=1, incomplete=found.incomplete)
    return {
        "verdict": verdict.word,
        "tap_agreement": found.tap_agreement,
        "evidence": {
            item.scheme: {
                "matches": item.score,
                "trials": item.trials,
                "log10_p": item.log10_p,
            }
            for item in found.evidence
        },
    }


class _Lowered(TappedModel):
    """A copy as it would be served: weights, inputs and everything between them in bfloat16."""

    def __init__(self, model: EagerTappedModel) -> None:
        super().__init__()
        self.tap = model.tap
        self.inside = copy.deepcopy(model).to(torch.bfloat16)

    def forward(self, inputs: Tensor) -> Tapped:
        """Runs the copy; what it gives is float32 again."""
        tapped = self.inside(inputs.to(torch.bfloat16))
        return Tapped(tapped.outputs.float(), tapped.activation.float())
