import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

from deepsigns_registry.attacks.overwrite import Overwrite, thief_root
from deepsigns_registry.attacks.retap import retapped
from deepsigns_registry.errors import CouldNotCheckError, DataError, UnmarkableError
from deepsigns_registry.graph.export import export_onnx
from deepsigns_registry.graph.interpreter import OnnxTappedModel
from deepsigns_registry.watermark.adapters.choice import Width
from deepsigns_registry.watermark.adapters.eager import EagerTappedModel, choose_tap
from deepsigns_registry.watermark.adapters.exported import ExportedTappedModel
from deepsigns_registry.watermark.blackbox import BlackBox
from deepsigns_registry.watermark.data import LabelledData, TrainingData
from deepsigns_registry.watermark.extract import extract
from deepsigns_registry.watermark.prepare import prepare_record
from deepsigns_registry.watermark.scheme import Preparation, SchemeSecret
from deepsigns_registry.watermark.settings import MarkSettings
from deepsigns_registry.watermark.suspect import TappedSuspect
from deepsigns_registry.watermark.tapped import TappedModel
from deepsigns_registry.watermark.verdict import PRESENT_AT
from deepsigns_registry.watermark.whitebox import width_needed

Accuracy = Callable[..., float]

# 64 bits by four carriers want 128 neurons.
SETTINGS = MarkSettings(bits=64, queries=100, sources=50, minimum_steps=400)


@pytest.fixture(params=["eager", "program", "view"])
def wide(request: pytest.FixtureRequest, data: LabelledData, tmp_path: Path) -> TappedModel:
    """A trained model of 160 neurons, by every adapter."""
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Flatten(), nn.Linear(64, 160), nn.ReLU(), nn.Linear(160, 4))
    inputs, labels = torch.from_numpy(data.inputs), torch.from_numpy(data.labels)
    optimizer = torch.optim.Adam(layers.parameters(), lr=1e-2)
    for _ in range(20):
        optimizer.zero_grad()
        functional.cross_entropy(layers(inputs), labels).backward()
        optimizer.step()
    model = EagerTappedModel(layers.eval(), "2")
    if request.param == "program":
        batch = ({0: torch.export.Dim.DYNAMIC},)
        return ExportedTappedModel(
            torch.export.export(layers, (inputs[:4],), dynamic_shapes=batch), "2"
        ).eval()
    if request.param == "view":
        path = tmp_path / "wide.onnx"
        return OnnxTappedModel.from_file(path, export_onnx(model, data.inputs[:4], path)).eval()
    return model


def test_the_model_carries_the_thief_s_mark(
    wide: TappedModel, data: LabelledData, accuracy: Accuracy
) -> None:
    twice = Overwrite(settings=SETTINGS).apply(wide, 1, data, seed=5)
    assert type(twice) is type(wide)
    assert twice.tap == wide.tap
    examples = torch.from_numpy(data.inputs[:16])
    width = width_needed(SETTINGS, 4)._replace(least=1)
    with retapped(copy.deepcopy(wide), examples, "test", width=width) as tapped:
        root, known = thief_root(5), TrainingData(data, data, 4)
        record = prepare_record(tapped, known, root, SETTINGS, recognisable=False)
        before = extract(record, TappedSuspect(tapped)).evidence
    with retapped(twice, examples, "test", width=width) as tapped:
        found = extract(record, TappedSuspect(tapped)).evidence
    assert {evidence.scheme for evidence in found} == {"whitebox", "blackbox", "spread"}
    for evidence in found:
        assert evidence.log10_p < PRESENT_AT
    for evidence in before:
        assert evidence.log10_p > -3
    assert accuracy(twice, data) > 0.9


def test_a_layer_too_narrow_for_the_signature_gets_a_shorter_one(
    eager: EagerTappedModel, data: LabelledData
) -> None:
    told: list[str] = []
    settings = MarkSettings(minimum_steps=2, queries=100, sources=50)
    assert settings.least_bits > 64
    twice = Overwrite(settings=settings).apply(
        eager, 1, data, seed=0, progress=lambda _, message: told.append(message)
    )
    assert told[-1] == "epoch 1 of 1"
    assert not torch.equal(twice.get_parameter("module.4.weight"), eager.module[4].weight)  # type: ignore[index]


@pytest.mark.parametrize(
    ("width", "neurons"), [(Width(), 32), (Width(32, 8), 32), (Width(100, 8), 128)]
)
def test_every_adapter_is_tapped_where_the_bits_need_it(
    victim: TappedModel, eager: EagerTappedModel, data: LabelledData, width: Width, neurons: int
) -> None:
    """The widest of the victim's activations is the flattened one that its first product reads."""
    examples = torch.from_numpy(data.inputs[:8])
    own = victim.tap
    views = []
    for model in (copy.deepcopy(eager), copy.deepcopy(victim)):
        with torch.no_grad(), retapped(model, examples, "test", width=width) as view:
            views.append(view(examples).activation)
    assert views[0].shape == (8, neurons)
    torch.testing.assert_close(views[0], views[1], rtol=1e-4, atol=1e-5)
    assert victim.tap == own
    with (
        pytest.raises(UnmarkableError, match="too few for the bits"),
        retapped(copy.deepcopy(victim), examples, "test", width=Width(500, 500)),
    ):
        pass


def test_the_thief_overwrites_where_an_owner_s_mark_is(data: LabelledData) -> None:
    torch.manual_seed(0)
    layers = nn.Sequential(
        nn.Flatten(), nn.Linear(64, 160), nn.ReLU(), nn.Linear(160, 24), nn.ReLU(), nn.Linear(24, 4)
    )
    model = EagerTappedModel(layers, "4")
    asked: list[str] = []

    class Listening(BlackBox):
        """Keeps what was tapped."""

        def prepare(self, preparation: Preparation) -> SchemeSecret:
            asked.append(preparation.model.tap)
            return super().prepare(preparation)

    settings = MarkSettings(bits=64, queries=100, sources=50, minimum_steps=2)
    Overwrite(settings=settings, schemes=[Listening()]).apply(model, 1, data, seed=0)
    owner = choose_tap(layers, torch.from_numpy(data.inputs[:4]), width=width_needed(settings, 4))
    assert asked == [owner.tap] == ["2"]


def test_what_cannot_carry_a_mark_is_reported(data: LabelledData) -> None:
    narrow = EagerTappedModel(
        nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 4)), "2"
    )
    with pytest.raises(CouldNotCheckError, match="attack overwrite: layer '2' has 8 neurons"):
        Overwrite().apply(narrow, 1, data, seed=0)
    flat = EagerTappedModel(nn.Sequential(nn.Flatten(), nn.Linear(64, 4)), "0")
    with pytest.raises(CouldNotCheckError, match="attack overwrite: the model has no hidden"):
        Overwrite().apply(flat, 1, data, seed=0)


def test_too_little_data_is_refused(eager: EagerTappedModel, data: LabelledData) -> None:
    few = LabelledData(data.inputs[:40], data.labels[:40])
    with pytest.raises(DataError, match="different samples"):
        Overwrite().apply(eager, 1, few, seed=0)


def test_roots_differ_by_seed() -> None:
    assert thief_root(1).secret == thief_root(1).secret
    assert thief_root(1).secret != thief_root(2).secret
