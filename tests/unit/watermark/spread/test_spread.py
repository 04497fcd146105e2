"""The mark in the weights: what carries it, what reads it, and that nothing else does."""

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from deepsigns_registry.attacks.permute import Permute
from deepsigns_registry.attacks.prune import prune_smallest
from deepsigns_registry.errors import CouldNotCheckError, InapplicableError, TamperedError
from deepsigns_registry.graph.export import export_onnx
from deepsigns_registry.graph.interpreter import OnnxTappedModel
from deepsigns_registry.graph.session import OnnxSuspect
from deepsigns_registry.graph.wiring import parent_blueprint
from deepsigns_registry.watermark.adapters.eager import EagerTappedModel
from deepsigns_registry.watermark.blueprint import Blueprint
from deepsigns_registry.watermark.data import LabelledData, TrainingData
from deepsigns_registry.watermark.embed import Course, embed
from deepsigns_registry.watermark.evidence import Correlation
from deepsigns_registry.watermark.extract import extract
from deepsigns_registry.watermark.key import RootKey, scheme_key
from deepsigns_registry.watermark.prepare import check_against_parent, prepare_record
from deepsigns_registry.watermark.record import WatermarkRecord
from deepsigns_registry.watermark.scheme import JSON, Answers, SchemeSecret
from deepsigns_registry.watermark.settings import MarkSettings
from deepsigns_registry.watermark.spread import Spread
from deepsigns_registry.watermark.suspect import Suspect, TappedSuspect
from deepsigns_registry.watermark.verdict import judge
from tests.support.training import train
from tests.unit.watermark.conftest import CLASSES, FEATURES, OWNER, multilayer

ONLY = (Spread(),)
NOTHING = LabelledData(np.empty((0, 1), np.float32), np.empty(0, np.int64))
SHORT = MarkSettings(minimum_steps=60)


def root(number: int) -> RootKey:
    return RootKey(number.to_bytes(32, "big"), OWNER)


def read(record: WatermarkRecord, suspect: Suspect) -> Correlation:
    (found,) = extract(record, suspect, schemes=ONLY).evidence
    assert isinstance(found, Correlation)
    return found


@pytest.fixture(scope="module")
def parent(data: TrainingData) -> EagerTappedModel:
    return EagerTappedModel(train(multilayer(0), data.train, epochs=5), "3")


@pytest.fixture(scope="module")
def exported(
    parent: EagerTappedModel, data: TrainingData, tmp_path_factory: pytest.TempPathFactory
) -> tuple[WatermarkRecord, EagerTappedModel, Path]:
    """A record that knows the parent's file, the marked model and its file."""
    folder = tmp_path_factory.mktemp("spread")
    tap = export_onnx(parent, data.train.inputs[:4], folder / "parent.onnx")
    blueprint = parent_blueprint(folder / "parent.onnx", tap)
    record = prepare_record(parent, data, root(1), SHORT, schemes=ONLY, blueprint=blueprint)
    record = record.with_tap(tap, blueprint, schemes=ONLY)
    model = copy.deepcopy(parent)
    embed(model, data, record, SHORT, schemes=ONLY)
    export_onnx(model, data.train.inputs[:4], folder / "model.onnx")
    return record, model, folder / "model.onnx"


def test_the_mark_is_in_the_model_and_not_in_its_parent(
    exported: tuple[WatermarkRecord, EagerTappedModel, Path], parent: EagerTappedModel
) -> None:
    record, model, path = exported
    for suspect in (TappedSuspect(model), OnnxSuspect(path)):
        found = read(record, suspect)
        assert (round(found.log10_p) <= -12, found.level, found.parts) == (True, "b", 3)
    assert read(record, TappedSuspect(parent)).log10_p > -3


@pytest.mark.parametrize("settings", [SHORT, replace(SHORT, stealth=True)])
def test_where_no_layer_of_the_file_is_known_there_is_no_mark(
    parent: EagerTappedModel, data: TrainingData, settings: MarkSettings
) -> None:
    """As behind a recurrent layer: it would be embedded, and never found in a file."""
    with pytest.raises(InapplicableError, match=r"spread: .* weights"):
        prepare_record(parent, data, root(1), settings, schemes=ONLY, blueprint=Blueprint.empty())
    record = prepare_record(parent, data, root(1), SHORT, blueprint=Blueprint.empty())
    assert "spread" not in record.secrets
    assert "spread" in prepare_record(parent, data, root(1), SHORT).secrets


def test_weights_that_are_not_the_parents_are_no_sign_of_absence(
    exported: tuple[WatermarkRecord, EagerTappedModel, Path],
    parent: EagerTappedModel,
    data: TrainingData,
    tmp_path: Path,
) -> None:
    """They may stand beside the ones that are: only those of the parent show that there is none."""
    record, _, _ = exported
    control = copy.deepcopy(parent)
    embed(control, data, None, SHORT)
    other = EagerTappedModel(train(multilayer(9), data.train, epochs=5), "3")
    words = {}
    for name, model in (("control", control), ("other", other)):
        export_onnx(model, data.train.inputs[:4], tmp_path / f"{name}.onnx")
        found = extract(record, OnnxSuspect(tmp_path / f"{name}.onnx"), schemes=ONLY)
        words[name] = judge(found.evidence, tries=1, incomplete=found.incomplete).word
        assert (name == "other") == ("do not resemble" in "".join(found.incomplete))
    assert words == {"control": "absent", "other": "undecided"}


def test_weights_in_another_order_are_read_in_the_parents(
    exported: tuple[WatermarkRecord, EagerTappedModel, Path], tmp_path: Path
) -> None:
    record, _, path = exported
    stolen = OnnxTappedModel.from_proto(onnx.load(path))
    onnx.save(
        Permute().apply(stolen, 0.5, NOTHING, seed=3).write_back(), tmp_path / "permuted.onnx"
    )
    extraction = extract(record, OnnxSuspect(tmp_path / "permuted.onnx"), schemes=ONLY)
    (found,) = extraction.evidence
    assert (round(found.log10_p) <= -12, found.level, extraction.alignments) == (True, "c", 2)


def test_most_of_the_weights_may_go(
    exported: tuple[WatermarkRecord, EagerTappedModel, Path],
) -> None:
    record, model, _ = exported
    pruned = copy.deepcopy(model)
    prune_smallest([*pruned.parameters()], 0.7)
    assert read(record, TappedSuspect(pruned)).log10_p < -6


def test_further_rounds_do_not_add_up(
    exported: tuple[WatermarkRecord, EagerTappedModel, Path], data: TrainingData
) -> None:
    record, model, _ = exported
    again = copy.deepcopy(model)
    embed(again, data, record, SHORT, schemes=ONLY, course=Course(steps=1))
    before, after = (dict(each.named_parameters()) for each in (model, again))
    for name, value in before.items():
        most = float(value.detach().abs().max())
        assert torch.allclose(value, after[name], atol=2e-3 + 0.02 * most)


def test_foreign_keys_give_what_chance_gives(
    exported: tuple[WatermarkRecord, EagerTappedModel, Path],
) -> None:
    record, model, _ = exported
    secret = record.secrets["spread"]
    shown = Answers(
        np.zeros((0, 0), np.float32),
        matrices=TappedSuspect(model).matrices(Spread().probes(secret)),
    )
    found = []
    for number in range(300):
        drawn = np.frombuffer(number.to_bytes(32, "little"), dtype=np.uint8)
        foreign = replace(secret, arrays={**secret.arrays, "pattern_key": drawn})
        found.append(Spread().evidence(foreign, shown).log10_p)
    for level in (-1.0, -2.0):
        share, chance = np.mean(np.array(found) <= level), 10**level
        # Four standard deviations of a share of 300.
        assert abs(share - chance) <= 4 * np.sqrt(chance / 300)
    assert min(found) > -6


@pytest.mark.parametrize("fault", ["pattern_key", "blueprint", "signs", "strength", "matrices"])
def test_a_secret_that_was_made_up_is_refused(
    exported: tuple[WatermarkRecord, EagerTappedModel, Path], fault: str
) -> None:
    record = exported[0]
    secret = record.secrets["spread"]
    key = scheme_key(record.root.subkey("spread"), OWNER, record.manifest.root)
    Spread().check(secret, key, record.manifest)
    if fault == "strength":
        other = SchemeSecret("spread", {**secret.meta, "strength": 3.0}, secret.arrays)
    elif fault == "matrices":
        # Each pattern takes as long as the list is.
        listed: JSON = [["w", 0, 1, 9, False] for _ in range(4097)]
        arrays = {**secret.arrays, "signs": np.ones(4097, np.int8)}
        other = SchemeSecret("spread", {**secret.meta, "matrices": listed}, arrays)
    else:
        changed = secret.arrays[fault].copy()
        changed[0] ^= 2
        other = replace(secret, arrays={**secret.arrays, fault: changed})
    with pytest.raises(TamperedError):
        Spread().check(other, key, record.manifest)


def test_a_sceptic_derives_the_same(
    exported: tuple[WatermarkRecord, EagerTappedModel, Path],
    parent: EagerTappedModel,
    data: TrainingData,
) -> None:
    record = exported[0]
    record.check(ONLY)
    check_against_parent(record, parent, data, SHORT, schemes=ONLY)
    other = EagerTappedModel(multilayer(5), "3")
    with pytest.raises(TamperedError, match="spread"):
        check_against_parent(record, other, data, SHORT, schemes=ONLY)


def test_another_blueprint_puts_nothing_in_order(
    exported: tuple[WatermarkRecord, EagerTappedModel, Path], tmp_path: Path
) -> None:
    record, _, path = exported
    stolen = OnnxTappedModel.from_proto(onnx.load(path))
    onnx.save(
        Permute().apply(stolen, 0.5, NOTHING, seed=3).write_back(), tmp_path / "permuted.onnx"
    )
    norms = record.blueprint.norms.copy()
    norms[0] *= 1.001
    other = replace(record, blueprint=replace(record.blueprint, norms=norms))
    assert read(other, OnnxSuspect(tmp_path / "permuted.onnx")).log10_p > -6


def test_a_model_of_few_weights_is_left_alone(data: TrainingData) -> None:
    small = EagerTappedModel(
        nn.Sequential(nn.Linear(FEATURES, 64), nn.ReLU(), nn.Linear(64, CLASSES)), "1"
    )
    with pytest.raises(InapplicableError, match="1408 weights"):
        prepare_record(small, data, root(1), SHORT, schemes=ONLY)


def test_a_suspect_without_these_weights_could_not_be_checked(
    exported: tuple[WatermarkRecord, EagerTappedModel, Path],
) -> None:
    record = exported[0]
    wider = EagerTappedModel(multilayer(0, neurons=120), "3")
    extraction = extract(record, TappedSuspect(wider), schemes=ONLY)
    assert not extraction.evidence
    assert len(extraction.incomplete) == 1
    assert "none of its weight matrices was found" in extraction.incomplete[0]
    damaged = copy.deepcopy(exported[1])
    with torch.no_grad():
        for weight in damaged.parameters():
            weight.fill_(torch.nan)
    secret = record.secrets["spread"]
    shown = TappedSuspect(damaged).matrices(Spread().probes(secret))
    answers = Answers(np.zeros((0, 0), np.float32), matrices=shown)
    with pytest.raises(CouldNotCheckError):
        Spread().evidence(secret, answers)
