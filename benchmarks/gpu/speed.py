"""What the mark adds to a step of fine-tuning, in time and in memory."""

import copy
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

from benchmarks.gpu.memory import peak_mib
from benchmarks.gpu.setting import ROOT, Setting
from deepsigns_registry.watermark.adapters.eager import EagerTappedModel
from deepsigns_registry.watermark.data import TrainingData
from deepsigns_registry.watermark.embed import embed
from deepsigns_registry.watermark.prepare import prepare_record
from deepsigns_registry.watermark.record import WatermarkRecord
from deepsigns_registry.watermark.settings import MarkSettings

__all__ = ["measure_speed"]


def measure_speed(setting: Setting, keep: Callable[[dict[str, Any]], None]) -> None:
    """Times marked and plain fine-tuning in turn, after a round that does not count.

    Ratios are medians of those of neighbours in time, with the least and the largest beside.

    Args:
        setting: The run's size.
        keep: Given all figures so far, after every round.
    """
    data = setting.data()
    parent = setting.parent(data)
    settings = replace(setting.settings(), minimum_steps=10 if setting.tiny else 160)
    record: list[WatermarkRecord] = []

    def prepare() -> None:
        record.append(prepare_record(parent, data, ROOT, settings, device=setting.device))

    started = time.perf_counter()
    memory = {"preparation": peak_mib(prepare, setting.device)}
    prepared = time.perf_counter() - started
    job = _Job(setting, parent, data, record[0])
    rows = job.run(settings, marked=True).rows_a_step
    larger = replace(settings, batch_size=round(rows))
    memory["marked"] = peak_mib(lambda: job.run(settings, marked=True), setting.device)
    memory["plain"] = peak_mib(lambda: job.run(settings, marked=False), setting.device)
    memory["plain, as many samples a step"] = peak_mib(
        lambda: job.run(larger, marked=False), setting.device
    )
    rounds: list[tuple[_Timed, _Timed, _Timed]] = []
    for _ in range(2 if setting.tiny else 5):
        rounds.append(
            (
                job.run(settings, marked=True),
                job.run(settings, marked=False),
                job.run(larger, marked=False),
            )
        )
        keep(
            {
                "network": setting.network,
                "batch_size": settings.batch_size,
                "samples_a_marked_step": rows,
                "rounds": len(rounds),
                "preparation_seconds": prepared,
                "samples_a_second": {
                    name: statistics.median(item[place].throughput for item in rounds)
                    for place, name in enumerate(("marked", "plain", "plain_as_many_samples"))
                },
                "step_ratio_to_plain": _ratio([(a.step, b.step) for a, b, _ in rounds]),
                "step_ratio_to_plain_as_many_samples": _ratio(
                    [(a.step, c.step) for a, _, c in rounds]
                ),
                "peak_mib": memory,
            }
        )


@dataclass(frozen=True)
class _Timed:
    seconds: float
    steps: int
    rows: int

    @property
    def step(self) -> float:
        return self.seconds / self.steps

    @property
    def throughput(self) -> float:
        return self.rows / self.seconds

    @property
    def rows_a_step(self) -> float:
        return self.rows / self.steps


@dataclass(frozen=True)
class _Job:
    setting: Setting
    parent: EagerTappedModel
    data: TrainingData
    record: WatermarkRecord

    def run(self, settings: MarkSettings, *, marked: bool) -> _Timed:
        """One fine-tuning of a copy of the parent; what it ran is counted, not computed."""
        model = copy.deepcopy(self.parent)
        rows = _Rows()
        handle = model.module.register_forward_hook(rows)
        record = self.record if marked else None
        self.setting.wait()
        started = time.perf_counter()
        result = embed(model, self.data, record, settings, device=self.setting.device)
        self.setting.wait()
        seconds = time.perf_counter() - started
        handle.remove()
        return _Timed(seconds, result.steps, rows.count)


class _Rows:
    """Counts the samples that pass a module."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, _module: nn.Module, inputs: tuple[Tensor, ...], _output: object) -> None:
        self.count += len(inputs[0])


def _ratio(pairs: list[tuple[float, float]]) -> dict[str, float]:
    ratios = [mine / other for mine, other in pairs]
    return {"median": statistics.median(ratios), "least": min(ratios), "largest": max(ratios)}
