"""In which form a suspect is asked, and which of its outputs is which."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from deepsigns_registry.errors import CouldNotCheckError, TamperedError
from deepsigns_registry.graph.session import OnnxSuspect
from deepsigns_registry.watermark.blackbox import BlackBox
from deepsigns_registry.watermark.extract import extract
from deepsigns_registry.watermark.interface import Floats, Interfaced, Ordinary, find_interface
from deepsigns_registry.watermark.key import scheme_key
from deepsigns_registry.watermark.scheme import Answers
from deepsigns_registry.watermark.suspect import TappedSuspect
from deepsigns_registry.watermark.tapped import run_batched
from deepsigns_registry.watermark.verdict import judge
from tests.unit.watermark.test_alignment import exported, known
from tests.unit.watermark.test_rewritten import write

if TYPE_CHECKING:
    from tests.unit.watermark.conftest import Marked

CPU = torch.device("cpu")
IMAGES = np.random.default_rng(0).uniform(size=(80, 2, 5, 4)).astype(np.float32)
WEIGHT = np.random.default_rng(1).normal(size=(40, 3)).astype(np.float32)


def parents(inputs: Floats) -> Floats:
    flat = inputs.reshape(len(inputs), -1).astype(np.float64)
    return np.asarray(np.tanh(flat @ WEIGHT), np.float32)


class Asked(TappedSuspect):
    """A suspect that takes images of one shape and undoes what a thief has folded in."""

    def __init__(self, shape: tuple[int, ...], answer: Callable[[Floats], Floats]) -> None:
        self._shape, self._answer = shape, answer

    def run(self, inputs: Floats, *, tap: str | None) -> tuple[Floats, None]:
        if inputs.shape[1:] != self._shape:
            raise CouldNotCheckError(f"{tap}: takes {self._shape}", advice="ask as it wants")
        return self._answer(inputs), None


def as_is(inputs: Floats) -> Floats:
    return parents(inputs)


def bytes_in(inputs: Floats) -> Floats:
    return parents(np.asarray(inputs / 255, np.float32))


def turned(inputs: Floats) -> Floats:
    return parents(np.asarray(IMAGES.min() + IMAGES.max() - inputs, np.float32))


def signed(inputs: Floats) -> Floats:
    return parents(np.asarray((inputs + 1) / 2, np.float32))


def one_more(inputs: Floats) -> Floats:
    known = parents(inputs)
    return np.stack([known[:, 2], np.full(len(known), -9.0), known[:, 0], known[:, 1]], axis=1)


def flat(inputs: Floats) -> Floats:
    return parents(inputs.reshape(-1, 2, 5, 4))


def last(inputs: Floats) -> Floats:
    return parents(inputs.transpose(0, 3, 1, 2))


def test_a_few_hundredths_are_no_other_range() -> None:
    # Of mean 0 and deviation 1 but for the samples at hand.
    inputs = np.random.default_rng(5).normal(0.03, 0.97, size=(64, 40)).astype(np.float32)

    def slightly_nearer(asked: Floats) -> Floats:
        return parents(np.asarray(asked * 0.97 + 0.03, np.float32))[:, [1, 2, 0]]

    found = find_interface(
        Ordinary(inputs, parents(inputs)), Asked(inputs.shape[1:], slightly_nearer)
    )
    assert found is not None
    assert (found.scale, found.offset, found.order) == (1.0, 0.0, (2, 0, 1))


@pytest.mark.parametrize(
    ("shape", "answer"),
    [
        ((2, 5, 4), as_is),
        ((2, 5, 4), bytes_in),
        ((2, 5, 4), turned),
        ((2, 5, 4), signed),
        ((2, 5, 4), one_more),
        ((40,), flat),
        ((5, 4, 2), last),
    ],
)
def test_the_form_is_found_in_which_a_suspect_answers_as_the_parent(
    shape: tuple[int, ...], answer: Callable[[Floats], Floats]
) -> None:
    suspect = Asked(shape, answer)
    found = find_interface(Ordinary(IMAGES, parents(IMAGES)), suspect)
    assert found is not None
    assert found.is_plain == (answer is as_is)
    outputs, _ = Interfaced(suspect, found).run(IMAGES, tap=None)
    np.testing.assert_allclose(outputs, parents(IMAGES), atol=2e-2)


@pytest.mark.parametrize("layout", ["same", "flat"])
def test_one_range_that_is_refused_does_not_hide_the_others(layout: str) -> None:
    """A file may look up every input in a table, and fail beyond its end."""

    def picky(inputs: Floats) -> Floats:
        if inputs.min() < -0.01 or inputs.max() > 1.01:
            raise CouldNotCheckError("index out of range", advice="ask it as it wants")
        return one_more(inputs.reshape(-1, 2, 5, 4))

    shape = (2, 5, 4) if layout == "same" else (40,)
    found = find_interface(Ordinary(IMAGES, parents(IMAGES)), Asked(shape, picky))
    assert found is not None
    assert (found.layout, found.scale, found.order) == (layout, 1.0, (2, 3, 0))


class Declared(Asked):
    """A suspect that says of which shape its samples are."""

    @property
    def row(self) -> tuple[int, ...] | None:
        return self._shape


@pytest.mark.parametrize(
    ("shape", "back"),
    [
        ((2, 5, 4), lambda images: images),
        ((5, 4, 2), lambda images: images.transpose(0, 3, 1, 2)),
        ((8, 5), lambda images: images),
        ((40, 1, 1), lambda images: images),
    ],
)
def test_rows_are_asked_in_the_shape_that_a_suspect_declares(
    shape: tuple[int, ...], back: Callable[[Floats], Floats]
) -> None:
    rows = IMAGES.reshape(len(IMAGES), -1)
    suspect = Declared(shape, lambda inputs: parents(back(inputs)))
    found = find_interface(Ordinary(rows, parents(rows)), suspect)
    assert found is not None
    answers = found.answered(suspect.run(found.asked(rows), tap=None)[0])
    np.testing.assert_allclose(answers, parents(rows), atol=1e-6)
    assert not found.is_plain


def test_a_shape_of_another_size_is_not_asked() -> None:
    rows = IMAGES.reshape(len(IMAGES), -1)
    assert find_interface(Ordinary(rows, parents(rows)), Declared((3, 5), parents)) is None


def test_what_answers_in_no_form_has_none() -> None:
    ordinary = Ordinary(IMAGES, parents(IMAGES))
    assert find_interface(ordinary, Asked((7,), as_is)) is None
    two = Asked((2, 5, 4), lambda inputs: parents(inputs)[:, :2])
    assert find_interface(ordinary, two) is None
    nothing = Asked((2, 5, 4), lambda inputs: np.full((len(inputs), 3), np.nan, np.float32))
    found = find_interface(ordinary, nothing)
    assert found is not None
    assert found.is_plain


@pytest.mark.parametrize("kind", ["classes", "extra-class", "scale", "inverted", "probabilities"])
def test_a_copy_with_another_interface_answers_its_queries(
    marked: "Marked", tmp_path: Path, kind: str
) -> None:
    record = known(marked.record, marked.parent, tmp_path)
    path = tmp_path / "suspect.onnx"
    exported(marked.model, marked.data.train.inputs[:4], path)
    found = extract(record, write(path, kind))
    read = {entry.scheme: entry for entry in found.evidence}
    assert read["blackbox"].log10_p < -20
    assert read["whitebox"].log10_p < -15
    assert judge(found.evidence, tries=10, ways=1, incomplete=found.incomplete).word == "present"


def test_a_sibling_with_another_interface_answers_none(marked: "Marked", tmp_path: Path) -> None:
    record = known(marked.record, marked.parent, tmp_path)
    path = tmp_path / "suspect.onnx"
    exported(marked.sibling, marked.data.train.inputs[:4], path)
    found = extract(record, write(path, "classes", "scale"))
    read = {entry.scheme: entry for entry in found.evidence}
    # One key in 10,000 would be unlucky here.
    assert read["blackbox"].log10_p > -4


def test_a_record_of_the_first_format_is_read_as_it_was(marked: "Marked", tmp_path: Path) -> None:
    record = known(marked.record, marked.parent, tmp_path)
    secret = record.secrets["blackbox"]
    arrays = {name: value for name, value in secret.arrays.items() if name != "source_outputs"}
    earlier = type(secret)(secret.scheme, secret.meta, arrays)
    old = type(record)(**{**vars(record), "secrets": {**record.secrets, "blackbox": earlier}})
    path = tmp_path / "suspect.onnx"
    exported(marked.model, marked.data.train.inputs[:4], path)
    found = extract(old, OnnxSuspect(path))
    assert {entry.scheme for entry in found.evidence} >= {"whitebox", "blackbox"}


def test_answers_that_were_made_up_draw_other_labels(marked: "Marked") -> None:
    secret = marked.record.secrets["blackbox"]
    outputs = secret.arrays["source_outputs"].copy()
    outputs[0, 0] = np.nextafter(outputs[0, 0], np.float32(9))
    other = replace(secret, arrays={**secret.arrays, "source_outputs": outputs})
    answers = Answers(run_batched(marked.model, BlackBox().probes(secret).inputs, CPU)[0])
    assert BlackBox().evidence(secret, answers).log10_p < -20
    assert BlackBox().evidence(other, answers).log10_p > -4


@pytest.mark.parametrize(
    "made_up", [np.zeros((3, 6), np.float32), np.full((60, 6), np.nan, np.float32)]
)
def test_answers_of_another_form_are_refused(marked: "Marked", made_up: Floats) -> None:
    record = marked.record
    secret = record.secrets["blackbox"]
    other = replace(secret, arrays={**secret.arrays, "source_outputs": made_up})
    key = scheme_key(record.root.subkey("blackbox"), record.root.owner, record.manifest.root)
    with pytest.raises(TamperedError, match="no logits"):
        BlackBox().check(other, key, record.manifest)
