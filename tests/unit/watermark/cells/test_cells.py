"""The scheme `cells` on a small network: marked and read, chance for others, forgeries refused."""

import copy
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from deepsigns_registry.errors import (
    CouldNotCheckError,
    DataError,
    InapplicableError,
    TamperedError,
)
from deepsigns_registry.watermark.adapters.eager import EagerTappedModel
from deepsigns_registry.watermark.blackbox import BlackBox
from deepsigns_registry.watermark.blueprint import Network
from deepsigns_registry.watermark.cells import Cells
from deepsigns_registry.watermark.cells.carriers import carriers_of
from deepsigns_registry.watermark.data import LabelledData, TrainingData
from deepsigns_registry.watermark.embed import embed
from deepsigns_registry.watermark.evidence import Matches, SignSum
from deepsigns_registry.watermark.extract import extract
from deepsigns_registry.watermark.key import RootKey, scheme_key
from deepsigns_registry.watermark.prepare import check_against_parent, prepare_record
from deepsigns_registry.watermark.record import WatermarkRecord
from deepsigns_registry.watermark.scheme import (
    Answers,
    Fitting,
    Preparation,
    Probes,
    Scheme,
    SchemeSecret,
)
from deepsigns_registry.watermark.settings import MarkSettings
from deepsigns_registry.watermark.suspect import TappedSuspect
from deepsigns_registry.watermark.tapped import TappedModel, run_batched
from tests.support.training import train
from tests.unit.watermark.conftest import CLASSES, OWNER, blobs, multilayer

SCHEMES = [Cells()]
SETTINGS = MarkSettings(
    bits=64, epochs=5, minimum_steps=450, learning_rate=2e-3, cells_probes=700, cells_pool=1100
)
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Small:
    parent: EagerTappedModel
    marked: EagerTappedModel
    control: EagerTappedModel
    data: TrainingData
    record: WatermarkRecord

    @property
    def secret(self) -> SchemeSecret:
        return self.record.secrets["cells"]


@pytest.fixture(scope="module")
def small() -> Small:
    data = TrainingData(blobs(1800, 1), blobs(600, 2), CLASSES).validated()
    parent = EagerTappedModel(train(multilayer(0), data.train, epochs=10), "3")
    record = prepare_record(parent, data, RootKey(bytes(32), OWNER), SETTINGS, schemes=SCHEMES)
    marked, control = copy.deepcopy(parent), copy.deepcopy(parent)
    embed(marked, data, record, SETTINGS, schemes=SCHEMES)
    embed(control, data, None, SETTINGS)
    return Small(parent, marked, control, data, record)


def read(record: WatermarkRecord, model: TappedModel) -> SignSum:
    (found,) = extract(record, TappedSuspect(model), schemes=SCHEMES).evidence
    assert isinstance(found, SignSum)
    return found


def score(model: TappedModel, data: TrainingData) -> float:
    outputs, _ = run_batched(model, data.validation.inputs, CPU)
    return float((outputs.argmax(axis=1) == data.validation.labels).mean())


def test_a_marked_network_is_recognised_and_its_parent_is_not(small: Small) -> None:
    found = read(small.record, small.marked)
    assert found.level == "oracle"
    assert found.log10_p <= -6
    # The exact binomial of the signs, which is less sharp, agrees.
    binomial = Matches("cells", trials=found.trials, matches=found.matches, chance=0.5)
    assert found.log10_p < binomial.log10_p < -4
    assert score(small.marked, small.data) > score(small.control, small.data) - 0.01
    for other in (small.parent, small.control):
        assert read(small.record, other).log10_p > -3


def test_a_larger_margin_is_the_same_pattern_larger(small: Small) -> None:
    settings = replace(SETTINGS, cells_margin=4.5)
    root = RootKey(bytes(32), OWNER)
    large = prepare_record(small.parent, small.data, root, settings, schemes=SCHEMES)
    secret = large.secrets["cells"]
    assert "gap_share" not in small.secret.meta
    for part in ("probe", "pool"):
        np.testing.assert_allclose(
            carriers_of(secret, part).sizes, 3 * carriers_of(small.secret, part).sizes, rtol=1e-5
        )
    marked = copy.deepcopy(small.parent)
    embed(marked, small.data, large, settings, schemes=SCHEMES)
    moved, before = (
        np.abs(each - run_batched(small.parent, small.data.train.inputs, CPU)[0]).mean()
        for each in (
            run_batched(model, small.data.train.inputs, CPU)[0] for model in (marked, small.marked)
        )
    )
    assert moved > 1.5 * before
    assert read(large, marked).log10_p <= -6


def test_another_share_of_the_gap_draws_other_signs(small: Small) -> None:
    meta = {**small.secret.meta, "gap_share": 0.6}
    invented = replace(small.record, secrets={"cells": replace(small.secret, meta=meta)})
    assert read(invented, small.marked).log10_p > -3
    for size in (math.nan, math.inf, 0.0, -1.0):
        forged = replace(small.secret, meta={**meta, "gap_share": size})
        with pytest.raises(TamperedError, match="margin"):
            checked(small, forged)


def test_a_student_who_never_saw_a_label_has_learned_it(small: Small) -> None:
    answers = run_batched(small.marked, small.data.train.inputs, CPU)[0]
    student = multilayer(5)
    optimizer = torch.optim.Adam(student.parameters(), lr=2e-3)
    inputs, soft = torch.from_numpy(small.data.train.inputs), torch.from_numpy(answers)
    generator = torch.Generator().manual_seed(0)
    for _ in range(30):
        for rows in torch.randperm(len(inputs), generator=generator).split(64):
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(student(inputs[rows]), soft[rows])
            torch.autograd.backward(loss)
            optimizer.step()
    assert read(small.record, EagerTappedModel(student, "3")).log10_p <= -6


def test_foreign_keys_find_nothing(small: Small) -> None:
    """z has mean 0 and deviation 1 over keys, for each of several models."""
    other = train(multilayer(9), small.data.train, epochs=3, seed=9)
    stranger = EagerTappedModel(other, "3")
    probes = Cells().probes(small.secret).inputs
    answers = {
        name: run_batched(model, probes, CPU)[0]
        for name, model in (
            ("marked", small.marked),
            ("control", small.control),
            ("stranger", stranger),
        )
    }
    keys = 200
    for name, outputs in answers.items():
        found = []
        for key in range(keys):
            foreign = changed(small.secret, sign_key=np.full(32, key, dtype=np.uint8))
            found.append(Cells().evidence(foreign, Answers(outputs)))
        share = np.array([evidence.matches / evidence.trials for evidence in found])
        z = (share - 0.5) * 2 * math.sqrt(found[0].trials)
        # Four deviations of mean and standard deviation over 200 keys.
        assert abs(z.mean()) < 4 / math.sqrt(keys), name
        assert abs(z.std() - 1) < 4 / math.sqrt(2 * keys), name
        for level in (-1.0, -2.0):
            allowed = keys * 10**level
            hits = sum(evidence.log10_p <= level for evidence in found)
            assert hits <= allowed + 4 * math.sqrt(allowed), name


def changed(secret: SchemeSecret, **arrays: NDArray[np.generic]) -> SchemeSecret:
    return replace(secret, arrays={**secret.arrays, **arrays})


def checked(small: Small, secret: SchemeSecret) -> None:
    manifest = small.record.manifest
    root = small.record.root
    Cells().check(secret, scheme_key(root.subkey("cells"), root.owner, manifest.root), manifest)


def test_the_secret_is_derived_again(small: Small) -> None:
    small.record.check(SCHEMES)
    checked(small, small.secret)
    again = WatermarkRecord.from_bytes(small.record.to_bytes())
    again.check(SCHEMES)
    assert read(again, small.marked) == read(small.record, small.marked)
    check_against_parent(small.record, small.parent, small.data, SETTINGS, schemes=SCHEMES)


def _swapped(values: NDArray[np.generic]) -> NDArray[np.generic]:
    return values[::-1].copy()


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("probe_indices", _swapped, "not those that the key chooses"),
        ("pool_indices", _swapped, "not those that the key chooses"),
        ("probe_samples", lambda values: values * np.float32(1.5), "is not that of the manifest"),
        ("pool_digests", _swapped, "to train on are not those of the manifest"),
        ("probe_groups", lambda values: values + np.int64(1), "groups are not those"),
        ("sign_key", lambda _: np.zeros(32, dtype=np.uint8), "signs are not those of the key"),
        ("direction_key", lambda _: np.zeros(32, np.uint8), "directions are not those of the key"),
        ("probe_outputs", lambda values: values.astype(np.float64), "no finite numbers"),
        ("probe_features", lambda values: values * np.float32(np.nan), "no finite numbers"),
        ("probe_features", lambda values: values[1:], "not of the same samples"),
        ("maps", lambda values: values[:, :, 1:], "not of the same samples"),
        ("maps", lambda values: values[:0], "cells are not those of a model"),
        ("maps", lambda values: values[:, :, :0], "cells are not those of a model"),
        ("maps", lambda values: values[0], "cells are not those of a model"),
        ("maps", lambda values: values[:, :0].repeat(9, 2), "cells are not those of a model"),
        ("scales", lambda values: -values, "scales do not fit"),
        ("contrasted", lambda values: values * 0, "contrasts are not of the model's classes"),
        ("contrasted", lambda values: values + 99, "contrasts are not of the model's classes"),
    ],
)
def test_what_the_key_determines_cannot_be_invented(
    small: Small,
    name: str,
    change: Callable[[NDArray[np.generic]], NDArray[np.generic]],
    message: str,
) -> None:
    with pytest.raises(TamperedError, match=message):
        checked(small, changed(small.secret, **{name: change(small.secret.arrays[name])}))


@pytest.mark.parametrize("margin", ["nan", "inf", 0.0, -1.0])
def test_no_margin_is_invented(small: Small, margin: str | float) -> None:
    with pytest.raises(TamperedError, match="the margin is no size"):
        checked(small, replace(small.secret, meta={**small.secret.meta, "margin": margin}))


@pytest.mark.parametrize("name", ["probe_features", "probe_outputs", "contrasted", "scales"])
def test_whoever_invents_carriers_draws_all_signs_anew(small: Small, name: str) -> None:
    values = small.secret.arrays[name].copy()
    if name == "contrasted":
        values[0] = values[0][::-1]
    else:
        values.ravel()[0] = np.nextafter(values.ravel()[0], np.float32(np.inf))
    invented = changed(small.secret, **{name: values})
    outputs = run_batched(small.marked, Cells().probes(invented).inputs, CPU)[0]
    assert Cells().evidence(invented, Answers(outputs)).log10_p > -3


def test_carriers_of_another_parent_are_refused(small: Small) -> None:
    with pytest.raises(TamperedError, match="cannot be derived again"):
        check_against_parent(small.record, small.control, small.data, SETTINGS, schemes=SCHEMES)


def test_rounding_of_another_processor_is_no_forgery(small: Small) -> None:
    arrays = dict(small.secret.arrays)
    for name in ("probe_features", "pool_features"):
        arrays[name] = arrays[name].astype(np.float32) + np.float32(1e-5)
    arrays["maps"] = arrays["maps"].astype(np.float32) * np.float32(1 + 1e-5)
    secret = replace(small.secret, arrays=arrays)
    record = replace(small.record, secrets={"cells": secret})
    check_against_parent(record, small.parent, small.data, SETTINGS, schemes=SCHEMES)


def test_the_samples_to_train_on_are_found_in_any_order(small: Small) -> None:
    def asked(samples: LabelledData) -> torch.Tensor:
        objective = Cells().objective(small.secret, Fitting(SETTINGS, 10, CPU, samples))
        drawn = objective.samples(torch.Generator().manual_seed(0))
        assert drawn is not None
        return drawn[0]

    samples = small.data.train
    order = np.random.default_rng(0).permutation(len(samples))
    moved = LabelledData(samples.inputs[order], samples.labels[order])
    torch.testing.assert_close(asked(moved), asked(samples))
    # Fewer than the mark was prepared from.
    with pytest.raises(DataError, match="does not hold all samples"):
        asked(LabelledData(samples.inputs[:900], samples.labels[:900]))


def test_what_has_room_for_few_signs_is_left_out(small: Small) -> None:
    inputs = small.data.train.inputs
    two = LabelledData(inputs, (inputs[:, 0] > 0).astype(np.int64))
    data = TrainingData(two, two, 2).validated()
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU())
    parent = EagerTappedModel(train(module.append(nn.Linear(64, 2)), two, epochs=3), "3")
    with pytest.raises(InapplicableError, match="room for 24 signs"):
        prepare_record(parent, data, RootKey(bytes(32), OWNER), SETTINGS, schemes=SCHEMES)


class Service:
    """A suspect that answers as a model does, with its classes in another order."""

    def __init__(self, model: TappedModel) -> None:
        self._behind, self.order = TappedSuspect(model), [3, 0, 5, 1, 2, 4]

    def run(
        self, inputs: NDArray[np.float32], *, tap: str | None
    ) -> tuple[NDArray[np.float32], None]:
        del tap
        return self._behind.run(inputs, tap=None)[0][:, self.order], None

    def weight(self, tap: str) -> None:
        del tap

    def matrices(self, probes: Probes) -> tuple[None, ...]:
        return (None,) * len(probes.matrices)

    def networks(self) -> tuple[Network, ...]:
        return ()

    def activations(
        self, network: Network, inputs: NDArray[np.float32], tensors: Sequence[str]
    ) -> dict[str, NDArray[np.float32]]:
        del network, inputs, tensors
        return {}


def test_classes_in_another_order_are_found_by_the_probes_themselves(small: Small) -> None:
    (found,) = extract(small.record, Service(small.marked), schemes=SCHEMES).evidence
    # Inputs of mean 0 and deviation 1 are nearly the same here, and may be taken for the form.
    assert found.log10_p == pytest.approx(read(small.record, small.marked).log10_p, rel=0.1)


def test_an_order_that_another_scheme_s_secret_invents_does_not_count(small: Small) -> None:
    """The best of all orders is stronger than chance: nobody may choose one to fit the signs."""
    both: list[Scheme] = [BlackBox(), Cells()]
    root, stranger = RootKey(bytes(32), OWNER), Service(small.parent)
    record = prepare_record(small.parent, small.data, root, SETTINGS, schemes=both)
    cells = record.secrets["cells"]
    outputs = stranger.run(Cells().probes(cells).inputs, tap=None)[0]
    best = min(
        itertools.permutations(range(CLASSES)),
        key=lambda order: Cells().evidence(cells, Answers(outputs[:, order])).log10_p,
    )
    queries = record.secrets["blackbox"]
    answers = stranger.run(queries.arrays["sources"].astype(np.float32), tap=None)[0]
    made_up = changed(queries, source_outputs=answers[:, best])
    forged = replace(record, secrets={**record.secrets, "blackbox": made_up})

    def found(given: WatermarkRecord) -> float:
        read = {entry.scheme: entry for entry in extract(given, stranger).evidence}
        return read["cells"].log10_p

    assert Cells().evidence(cells, Answers(outputs[:, best])).log10_p < found(record) - 1
    assert found(forged) == found(record)


def test_answers_of_another_shape_are_not_read(small: Small) -> None:
    count = len(small.secret.arrays["probe_indices"])
    for shape in ((count, CLASSES + 1), (count - 1, CLASSES), (count, CLASSES, 2)):
        with pytest.raises(CouldNotCheckError, match="instead of"):
            Cells().evidence(small.secret, Answers(np.zeros(shape, dtype=np.float32)))


def test_too_few_samples_leave_the_scheme_out(small: Small) -> None:
    few = TrainingData(blobs(180, 1), small.data.validation, CLASSES)
    with pytest.raises(InapplicableError, match="too few, or too large"):
        prepare_record(small.parent, few, RootKey(bytes(32), OWNER), SETTINGS, schemes=SCHEMES)


def test_little_data_is_marked_with_it_only_where_it_is_named(small: Small) -> None:
    root = RootKey(bytes(32), OWNER)
    with pytest.raises(InapplicableError, match="give at least 5000"):
        prepare_record(
            small.parent, small.data, root, SETTINGS, schemes=[Cells.where_data_is_plenty()]
        )
    assert "cells" not in prepare_record(small.parent, small.data, root, SETTINGS).secrets


def test_where_nothing_may_move_the_scheme_is_left_out(small: Small) -> None:
    root = RootKey(bytes(32), OWNER)
    still = replace(SETTINGS, cells_margin=0.0)
    with pytest.raises(InapplicableError, match="cells_margin is 0"):
        prepare_record(small.parent, small.data, root, still, schemes=SCHEMES)
    module = copy.deepcopy(small.parent.module)
    with torch.no_grad():
        # Activations at the tap that no longer depend on the sample.
        module.get_parameter("2.weight").zero_()
        module.get_parameter("2.bias").fill_(1.0)
        module.get_parameter("4.bias").copy_(torch.arange(CLASSES))
    root = small.record.root
    preparation = Preparation(
        EagerTappedModel(module, "3"),
        small.data,
        small.record.manifest,
        scheme_key(root.subkey("cells"), root.owner, small.record.manifest.root),
        CPU,
        SETTINGS,
    )
    with pytest.raises(InapplicableError, match="whose activations differ"):
        Cells().prepare(preparation)


@pytest.mark.parametrize("outputs", [1, 5])
def test_numbers_and_vectors_are_marked_up_and_down(outputs: int) -> None:
    def noisy(samples: int, seed: int) -> LabelledData:
        random = np.random.default_rng(seed)
        inputs = random.normal(size=(samples, 16)).astype(np.float32)
        mixing = np.random.default_rng(0).normal(size=(16, outputs)) / 4
        noise = 0.3 * random.normal(size=(samples, outputs))
        return LabelledData(inputs, (np.tanh(inputs @ mixing) + noise).astype(np.float32))

    data = TrainingData(noisy(2000, 1), noisy(500, 2), outputs).validated()
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU())
    module.append(nn.Linear(64, outputs))
    inputs, targets = torch.from_numpy(data.train.inputs), torch.from_numpy(data.train.labels)
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-3)
    for _ in range(200):
        optimizer.zero_grad()
        torch.autograd.backward(nn.functional.mse_loss(module(inputs), targets))
        optimizer.step()
    parent = EagerTappedModel(module, "3", task="regression")
    settings = replace(SETTINGS, cells_probes=900)
    record = prepare_record(parent, data, RootKey(bytes(32), OWNER), settings, schemes=SCHEMES)
    record.check(SCHEMES)
    marked = copy.deepcopy(parent)
    embed(marked, data, record, settings, schemes=SCHEMES)
    found = read(record, marked)
    assert found.log10_p <= -6
    # What is left of the parent's own answers is rounding: one key in 10,000 would be unlucky.
    assert read(record, parent).log10_p > -4
