"""What units work with: the data, models and marks of a run, kept in files between units."""

import copy
import hashlib
import io
import os
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import nn

from benchmarks.data import halves, load
from benchmarks.models import MODELS
from benchmarks.scale import Scale
from benchmarks.units import Store, Unit
from deepsigns_registry.watermark.adapters.eager import EagerTappedModel, choose_tap
from deepsigns_registry.watermark.blueprint import Blueprint
from deepsigns_registry.watermark.data import LabelledData, TrainingData
from deepsigns_registry.watermark.embed import embed
from deepsigns_registry.watermark.key import RootKey
from deepsigns_registry.watermark.precision import lay_out
from deepsigns_registry.watermark.prepare import prepare_record
from deepsigns_registry.watermark.record import WatermarkRecord
from deepsigns_registry.watermark.scheme import Scheme
from deepsigns_registry.watermark.settings import MarkSettings
from deepsigns_registry.watermark.tapped import TappedModel
from deepsigns_registry.watermark.whitebox import width_needed

__all__ = ["OWNER", "Run", "Workshop", "base_settings", "key_of"]

OWNER = hashlib.sha256(b"owner").digest()
# Samples that a model is exported with.
_EXAMPLES = 16


@dataclass(frozen=True)
class Run:
    """What all units of a run have in common.

    Attributes:
        data: Name of the data set.
        folder: Where its files are.
        out: Where outcomes go.
        device: Where models run.
        scale: How large the run is.
    """

    data: str
    folder: Path | None
    out: Path
    device: str
    scale: Scale


class Workshop:
    """What a process works with.

    Args:
        run: The run.
        store: Its kept outcomes.
    """

    def __init__(self, run: Run, store: Store) -> None:
        torch.set_num_threads(1 if run.device == "cpu" else max(1, (os.cpu_count() or 1) // 2))
        self.run = run
        self.scale = run.scale
        self.device = torch.device(run.device)
        self.store = store

    @cached_property
    def data(self) -> TrainingData:
        """The data set, as much of it as this scale uses."""
        whole = load(self.run.data, self.run.folder)
        return TrainingData(
            _some(whole.train, self.scale.training),
            _some(whole.validation, self.scale.validation),
            whole.classes,
        )

    def owner_data(self, part: str, seed: int) -> TrainingData:
        """What the owner trains on.

        Args:
            part: `full`, the `half` that the seed chooses, or a number of samples.
            seed: Of the half.
        """
        if part == "full":
            return self.data
        if part.isdigit():
            train = _some(self.data.train, int(part))
            return TrainingData(train, self.data.validation, self.data.classes)
        train, _ = halves(self.data.train, seed)
        return TrainingData(train, self.data.validation, self.data.classes)

    def thief_data(self, part: str, seed: int) -> LabelledData:
        """What the thief trains on: all the owner's samples, or none of them."""
        return self.data.train if part == "full" else halves(self.data.train, seed)[1]

    @property
    def settings(self) -> MarkSettings:
        """How models are marked by default."""
        return base_settings(self.scale)

    def fresh(self, model: str, seed: int) -> nn.Module:
        """An architecture with weights that the seed draws."""
        torch.manual_seed(seed)
        shape = self.data.train.inputs.shape
        return MODELS[model]((shape[1], shape[2], shape[3]), self.data.classes)

    def tapped(self, module: nn.Module, settings: MarkSettings | None = None) -> EagerTappedModel:
        """A classifier, tapped where `layer = "auto"` taps it."""
        module = module.to(self.device).eval()
        example = torch.from_numpy(self.data.train.inputs[:4]).to(self.device)
        width = width_needed(settings or self.settings, self.data.classes)
        return EagerTappedModel(module, choose_tap(module, example, width=width).tap).eval()

    def save(self, unit: Unit, model: TappedModel, name: str = "model") -> None:
        """Keeps a model's weights."""
        assert isinstance(model, EagerTappedModel)  # noqa: S101 - what units train is eager
        state = {key: value.cpu() for key, value in model.module.state_dict().items()}
        content = io.BytesIO()
        torch.save(state, content)
        self.store.write(unit, f"{name}.pt", content.getvalue())

    def load(self, unit: Unit, name: str = "model") -> EagerTappedModel:
        """A model that a unit saved, ready to be trained."""
        content = io.BytesIO(self.store.read(unit, f"{name}.pt"))
        module = self.fresh(unit.model, 0)
        module.load_state_dict(torch.load(content, weights_only=True))
        return self.tapped(module)

    def record(self, unit: Unit) -> WatermarkRecord:
        """The record that a unit saved."""
        return WatermarkRecord.from_bytes(self.store.read(unit, "record"))

    def mark(
        self,
        model: EagerTappedModel,
        data: TrainingData,
        root: RootKey,
        settings: MarkSettings,
        schemes: Iterable[Scheme] | None = None,
    ) -> WatermarkRecord:
        """Marks a model in place."""
        chosen = None if schemes is None else tuple(schemes)
        record = prepare_record(
            model,
            data,
            root,
            settings,
            device=self.device,
            schemes=chosen,
            blueprint=self.blueprint(model),
        )
        embed(model, data, record, settings, device=self.device, schemes=chosen)
        return record

    def blueprint(self, parent: EagerTappedModel) -> Blueprint:
        """What alignment knows of an unmarked parent, from its exported file."""
        from deepsigns_registry.graph.export import export_onnx
        from deepsigns_registry.graph.wiring import parent_blueprint

        with tempfile.TemporaryDirectory(prefix="deepsigns-") as folder:
            path = Path(folder) / "parent.onnx"
            plain = EagerTappedModel(copy.deepcopy(parent.module).cpu(), parent.tap).eval()
            tap = export_onnx(plain, self.data.validation.inputs[:_EXAMPLES], path)
            return parent_blueprint(path, tap)

    def stolen(self, model: EagerTappedModel) -> EagerTappedModel:
        """A copy in the layout in which convolutions train fastest."""
        copied = EagerTappedModel(copy.deepcopy(model.module), model.tap).eval()
        lay_out(copied, torch.channels_last)
        return copied


def base_settings(scale: Scale) -> MarkSettings:
    """The default settings at a scale, in bfloat16 on every device: about twice as fast."""
    return scale.settings(MarkSettings(precision="bfloat16"))


def key_of(*words: object) -> RootKey:
    """The owner's root key for one purpose: the same in every run, so that it can be repeated."""
    text = " ".join(["benchmark", *(str(word) for word in words)])
    return RootKey(hashlib.sha256(text.encode()).digest(), OWNER)


def _some(data: LabelledData, count: int) -> LabelledData:
    if not count or count >= len(data):
        return data
    rows = np.sort(np.random.default_rng(0).permutation(len(data))[:count])
    return LabelledData(data.inputs[rows], data.labels[rows])
