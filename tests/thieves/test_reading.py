import math

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.thieves.reading import GROUPS, examined
from benchmarks.thieves.services import Detecting, LabelsOnly
from deepsigns_registry.watermark.extract import extract
from deepsigns_registry.watermark.suspect import Suspect, TappedSuspect
from deepsigns_registry.watermark.verdict import questions
from tests.unit.watermark.conftest import Marked


def test_every_scheme_is_priced_for_all_that_was_tried(marked: Marked) -> None:
    suspect = TappedSuspect(marked.model)
    found = examined(marked.record, suspect)
    extraction = extract(marked.record, suspect)
    tried = math.log10(questions(3) * extraction.alignments)
    for item in extraction.evidence:
        assert found.schemes[item.scheme] == pytest.approx(item.log10_p + tried)
    assert found.groups == {
        "white box": min(found.schemes["whitebox"], found.schemes["spread"]),
        "black box": found.schemes["blackbox"],
        "joint": found.groups["joint"],
    }
    assert found.groups["joint"] <= min(found.schemes.values())
    rows = list(found.measurements("mlp", "as marked"))
    assert {row.scheme for row in rows} == {"whitebox", "blackbox", "spread", *GROUPS}
    counts = {row.metric: row.value for row in rows if row.scheme == "joint"}
    assert (counts["verdicts 'present'"], counts["verdicts 'absent'"]) == (1, 0)


def test_a_service_of_labels_shows_nothing_but_these(marked: Marked) -> None:
    behind = TappedSuspect(marked.model)
    service: Suspect = LabelsOnly(behind)
    inputs = marked.data.validation.inputs[:50]
    outputs, activation = service.run(inputs, tap="3")
    expected, _ = behind.run(inputs, tap=None)
    assert activation is None
    assert service.weight("3") is None
    assert service.networks() == ()
    assert set(np.unique(outputs)) == {0, 1}
    np.testing.assert_array_equal(outputs.argmax(axis=1), expected.argmax(axis=1))
    found = examined(marked.record, service)
    assert found.schemes["whitebox"] == 0
    assert found.schemes["blackbox"] <= -6


def test_what_raises_an_alarm_is_answered_as_blank(marked: Marked) -> None:
    behind = TappedSuspect(marked.model)
    inputs = marked.data.validation.inputs[:50]

    def score(given: NDArray[np.float32]) -> NDArray[np.floating]:
        return given[:, 0]

    limit = float(np.median(inputs[:, 0]))
    outputs, _ = Detecting(behind, score, limit).run(inputs, tap=None)
    plain, _ = behind.run(inputs, tap=None)
    blank, _ = behind.run(np.zeros_like(inputs), tap=None)
    caught = (inputs[:, 0] > limit)[:, None]
    np.testing.assert_allclose(outputs, np.where(caught, blank, plain), rtol=1e-5, atol=1e-5)
    # A detector of everything leaves no query an answer of its own.
    everything = Detecting(behind, score, -np.inf)
    assert examined(marked.record, everything).groups["joint"] > -2
