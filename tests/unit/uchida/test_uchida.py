"""The plugin as installed, beside our own schemes in one loop, on every kind of suspect."""

import copy
import hashlib
import math
from dataclasses import replace
from importlib.metadata import distribution
from pathlib import Path

import numpy as np
import pytest
import torch
from deepsigns_uchida import Uchida, uchida
from numpy.typing import NDArray
from torch import nn

from deepsigns_registry.attacks.quantize import Quantize
from deepsigns_registry.audit.columns import Reading, columns
from deepsigns_registry.errors import CouldNotCheckError, TamperedError, UnmarkableError
from deepsigns_registry.graph.export import export_onnx
from deepsigns_registry.graph.interpreter import OnnxTappedModel
from deepsigns_registry.graph.session import OnnxSuspect
from deepsigns_registry.watermark.adapters.eager import EagerTappedModel
from deepsigns_registry.watermark.adapters.exported import ExportedTappedModel
from deepsigns_registry.watermark.embed import embed
from deepsigns_registry.watermark.evidence import Evidence
from deepsigns_registry.watermark.extract import Extraction, extract
from deepsigns_registry.watermark.fidelity import correct, paired_drop
from deepsigns_registry.watermark.key import KEY_VERSION, RootKey, key_version, scheme_key
from deepsigns_registry.watermark.manifest import Manifest
from deepsigns_registry.watermark.prepare import prepare_record
from deepsigns_registry.watermark.record import WatermarkRecord
from deepsigns_registry.watermark.scheme import Answers, SchemeSecret
from deepsigns_registry.watermark.schemes import GROUP, named_schemes
from deepsigns_registry.watermark.suspect import Suspect, TappedSuspect
from deepsigns_registry.watermark.tapped import TappedModel
from deepsigns_registry.watermark.verdict import joint_log10_p, judge, questions
from tests.support.matched import matched
from tests.unit.uchida.conftest import Joint


def of_uchida(found: Extraction) -> Evidence:
    (evidence,) = [entry for entry in found.evidence if entry.scheme == "uchida"]
    return evidence


def assert_marked(record: WatermarkRecord, suspect: Suspect) -> None:
    found = extract(record, suspect)
    assert {entry.scheme: matched(entry).errors for entry in found.evidence}["whitebox"] == 0
    evidence = of_uchida(found)
    assert (evidence.trials, matched(evidence).errors, evidence.level) == (128, 0, "a")
    assert not found.incomplete
    verdict = judge(found.evidence, tries=3)
    assert verdict.word == "present"
    assert verdict.log10_p_adjusted("uchida") == pytest.approx(-38.05, abs=0.01)


def test_it_is_installed_like_any_plugin() -> None:
    points = distribution("deepsigns-uchida").entry_points.select(group=GROUP)
    assert [(point.name, point.value) for point in points] == [
        ("uchida", "deepsigns_uchida:Uchida")
    ]
    assert type(named_schemes(["uchida"])[0]) is Uchida


def test_three_marks_in_one_run_are_one_record(joint: Joint) -> None:
    assert_marked(joint.record, TappedSuspect(joint.model))
    again = WatermarkRecord.from_bytes(joint.record.to_bytes())
    again.check()
    assert again.commitments() == joint.record.commitments()
    assert again.commitments().keys() == {"whitebox", "blackbox", "uchida"}


def test_it_is_bound_priced_taken_together_and_shown_as_ours_are(joint: Joint) -> None:
    secret = joint.record.secrets["uchida"]
    assert key_version(secret.meta) == KEY_VERSION
    found = extract(joint.record, TappedSuspect(joint.model))
    tries = 10 * questions(len(joint.record.secrets))
    verdict = judge(found.evidence, tries=tries)
    assert tries == 40
    together = joint_log10_p([entry.log10_p for entry in found.evidence])
    assert verdict.log10_p_joint == pytest.approx(together + math.log10(tries))
    without = [entry for entry in found.evidence if entry.scheme != "uchida"]
    weaker = judge(without, tries=tries).log10_p_joint
    assert weaker is not None
    assert verdict.log10_p_joint is not None
    assert verdict.log10_p_joint < weaker
    (shown,) = [column for column in columns(joint.record.secrets) if column.scheme == "uchida"]
    read, adjusted = of_uchida(found), verdict.log10_p_adjusted("uchida")
    fields = shown.fields(Reading("uchida", read.trials, read.score, read.log10_p, adjusted))
    assert fields == {
        "uchida_trials": 128,
        "uchida_matches": 128,
        "uchida_log10_p": read.log10_p,
        "uchida_log10_p_adjusted": pytest.approx(read.log10_p + math.log10(tries)),
    }


def test_the_third_mark_costs_no_accuracy(joint: Joint) -> None:
    control = copy.deepcopy(joint.parent)
    ours = prepare_record(joint.parent, joint.data, joint.record.root, joint.settings)
    embed(control, joint.data, ours, joint.settings)
    validation, device = joint.data.validation, torch.device("cpu")
    before, after = (correct(model, validation, device) for model in (control, joint.model))
    # Of 360 samples: the interval of the drop is not wholly beyond what a mark may cost.
    _, low, _ = paired_drop(before, after)
    assert low <= 0.01


def test_an_exported_program_shows_the_mark(joint: Joint) -> None:
    batch = ({0: torch.export.Dim("batch")},)
    inputs = torch.from_numpy(joint.data.train.inputs[:2])
    program = torch.export.export(joint.model.module.eval(), (inputs,), dynamic_shapes=batch)
    assert_marked(joint.record, TappedSuspect(ExportedTappedModel(program, "3")))


@pytest.fixture(scope="module")
def file(joint: Joint, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    path = tmp_path_factory.mktemp("uchida") / "model.onnx"
    return path, export_onnx(joint.model, joint.data.train.inputs[:8], path)


def test_a_file_shows_the_mark(joint: Joint, file: tuple[Path, str]) -> None:
    path, tap = file
    record = joint.record.with_tap(tap)
    assert_marked(record, OnnxSuspect(path))
    assert_marked(record, TappedSuspect(OnnxTappedModel.from_file(path, tap)))


@pytest.mark.parametrize("form", ["int8", "fp16"])
def test_a_quantised_file_shows_the_mark(
    joint: Joint, file: tuple[Path, str], tmp_path: Path, form: str
) -> None:
    path, tap = file
    attack = Quantize()
    view = OnnxTappedModel.from_file(path, tap)
    attacked = attack.apply(view, attack.parse(form), joint.data.train, seed=0)
    assert isinstance(attacked, OnnxTappedModel)
    small = tmp_path / "small.onnx"
    small.write_bytes(attacked.to_bytes())
    assert small.stat().st_size < 0.6 * path.stat().st_size
    assert_marked(joint.record.with_tap(tap), OnnxSuspect(small))


def test_the_parent_is_not_claimed(joint: Joint) -> None:
    found = extract(joint.record, TappedSuspect(joint.parent))
    assert judge(found.evidence, tries=3, incomplete=found.incomplete).word == "absent"
    # 128 fair bits stay within four standard deviations of 64 but for one key in 16,000.
    assert abs(matched(of_uchida(found)).matches - 64) <= 23


def test_alone_it_is_embedded_but_never_called_absent(joint: Joint) -> None:
    root = joint.record.root
    record = prepare_record(joint.parent, joint.data, root, joint.settings, schemes=[Uchida()])
    found = extract(record, TappedSuspect(joint.parent))
    # No activation verifies the tap.
    assert of_uchida(found).level == ""
    assert judge(found.evidence, tries=1, incomplete=found.incomplete).word == "undecided"
    # The same key in another run: the same mark.
    assert matched(of_uchida(extract(record, TappedSuspect(joint.model)))).errors == 0


def _derived(subkey: bytes, bits: int, length: int) -> dict[str, NDArray[np.generic]]:
    return {"matrix": uchida._matrix(subkey, bits, length), "bits": uchida._bits(subkey, bits)}


@pytest.mark.parametrize("kind", ["parent", "constant", "zero"])
def test_the_null_is_binomial(joint: Joint, kind: str) -> None:
    weight = TappedSuspect(joint.parent).weight("")
    assert weight is not None
    suspects = {"parent": weight, "constant": np.ones_like(weight), "zero": np.zeros_like(weight)}
    answers = Answers(np.zeros((2, 10), np.float32), weight=suspects[kind])
    counts = []
    for number in range(200):
        subkey = hashlib.sha256(bytes([number])).digest()
        secret = SchemeSecret("uchida", arrays=_derived(subkey, 128, 256))
        counts.append(matched(Uchida().evidence(secret, answers)).matches)
    # Binomial(128, 1/2): mean 64 and variance 32. Of 200 counts the mean has the standard
    # deviation sqrt(32 / 200) = 0.4, and the variance 32 sqrt(2 / 199) = 3.2; four of each.
    assert abs(np.mean(counts) - 64) <= 1.6
    assert abs(np.var(counts, ddof=1) - 32) <= 12.9


def _changed(name: str, secret: SchemeSecret) -> NDArray[np.generic]:
    array = secret.arrays[name].copy()
    flat = array.reshape(-1)
    flat[len(flat) // 2] = 1 - flat[len(flat) // 2]
    return array


@pytest.mark.parametrize("name", ["matrix", "bits", "probes", "probe_indices"])
def test_a_changed_array_is_tampering(joint: Joint, name: str) -> None:
    secret = joint.record.secrets["uchida"]
    assert set(secret.arrays) == {"matrix", "bits", "probes", "probe_indices"}
    forged = replace(secret, arrays={**secret.arrays, name: _changed(name, secret)})
    root, manifest = joint.record.root, joint.record.manifest
    subkey = scheme_key(root.subkey("uchida"), root.owner, manifest.root)
    Uchida().check(secret, subkey, joint.record.manifest)
    with pytest.raises(TamperedError, match="uchida secret"):
        Uchida().check(forged, subkey, joint.record.manifest)
    shorter = replace(secret, arrays={**secret.arrays, name: secret.arrays[name][:-1]})
    with pytest.raises((TamperedError, ValueError)):
        Uchida().check(shorter, subkey, joint.record.manifest)
    without = {key: value for key, value in secret.arrays.items() if key != name}
    record = replace(joint.record, secrets={"uchida": replace(secret, arrays=without)})
    with pytest.raises(TamperedError, match="incomplete"):
        record.check()


def test_too_few_bits_are_refused(joint: Joint) -> None:
    secret, subkey = joint.record.secrets["uchida"], joint.record.root.subkey("uchida")
    few = _derived(subkey, 32, 256)
    with pytest.raises(TamperedError, match="only 32 bits"):
        Uchida().check(
            replace(secret, arrays={**secret.arrays, **few}), subkey, joint.record.manifest
        )


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (None, "shows no weight behind the tap"),
        (np.ones((8, 12), np.float32), "12 values a neuron instead of 256"),
        (np.full((8, 256), np.nan, np.float32), "NaN"),
        (np.full((8, 256), np.inf, np.float32), "NaN or infinity"),
    ],
)
def test_a_weight_that_does_not_fit_is_no_evidence(
    joint: Joint, weight: NDArray[np.float32] | None, message: str
) -> None:
    answers = Answers(np.zeros((2, 10), np.float32), weight=weight)
    with pytest.raises(CouldNotCheckError, match=message):
        Uchida().evidence(joint.record.secrets["uchida"], answers)


class _Queries(TappedSuspect):
    """A deployment that answers queries and shows nothing else."""

    def weight(self, tap: str) -> None:  # noqa: ARG002
        return None


def test_a_deployment_without_weights_leaves_the_step_undone(joint: Joint) -> None:
    found = extract(joint.record, _Queries(joint.model))
    assert [evidence.scheme for evidence in found.evidence] == ["whitebox", "blackbox"]
    assert any("uchida: uchida: the suspect shows no weight" in step for step in found.incomplete)


def test_a_layer_that_cannot_carry_it_is_refused_before_training(joint: Joint) -> None:
    def prepared(model: TappedModel) -> WatermarkRecord:
        root = RootKey(bytes(32), bytes(32))
        return prepare_record(model, joint.data, root, joint.settings, schemes=[Uchida()])

    narrow = EagerTappedModel(joint.parent.module, "1")
    with pytest.raises(UnmarkableError, match="'1' has 64 weights, too few for 128 bits"):
        prepared(narrow)
    layers = nn.Sequential(nn.ReLU(), nn.Linear(64, 10))
    with pytest.raises(UnmarkableError, match="no one layer with a weight computes '0'"):
        prepared(EagerTappedModel(layers, "0"))


def test_a_model_that_hides_its_weight_is_not_trained(joint: Joint) -> None:
    class Hidden(EagerTappedModel):
        def tap_weight(self) -> None:
            return None

    with pytest.raises(UnmarkableError, match="shows no weight"):
        embed(Hidden(joint.parent.module, "3"), joint.data, joint.record, joint.settings)


def test_the_key_chooses_everything(joint: Joint) -> None:
    root, manifest = joint.record.root, Manifest.of(joint.data.train)
    ours = scheme_key(root.subkey("uchida"), root.owner, manifest.root)
    secret = joint.record.secrets["uchida"]
    Uchida().check(secret, ours, manifest)
    with pytest.raises(TamperedError, match="matrix is not that of the key"):
        Uchida().check(secret, bytes(32), manifest)
