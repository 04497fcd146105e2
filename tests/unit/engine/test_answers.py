"""What a job that runs foreign code may answer with."""

import os
import pickle
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from deepsigns_registry.engine.answers import read_answer
from deepsigns_registry.engine.jobs import JobProgress
from deepsigns_registry.engine.local import LocalEngine
from deepsigns_registry.errors import CouldNotCheckError, DataError
from deepsigns_registry.watermark.data import LabelledData
from deepsigns_registry.watermark.evidence import Matches


def test_values_records_and_errors_come_back() -> None:
    data = LabelledData(np.zeros((3, 2), np.float32), np.arange(3))
    matches = Matches("whitebox", trials=128, matches=100, chance=0.5)
    given = ("result", {"a": [1, 2.5, b"x"], "path": Path("/x"), "set": {1}, "m": matches})
    assert read_answer(pickle.dumps(given)) == given
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        found = read_answer(pickle.dumps(data, protocol))
        np.testing.assert_array_equal(found.labels, data.labels)
    error = read_answer(pickle.dumps(DataError("train: no samples", advice="look")))
    assert (type(error), error.message, error.advice) == (DataError, "train: no samples", "look")
    assert read_answer(pickle.dumps(np.float64(2.5))) == 2.5


class Calls:
    """Pickled as a call of something."""

    def __init__(self, function: object, *arguments: object) -> None:
        self._call = function, arguments

    def __reduce__(self) -> tuple[object, ...]:
        return self._call


def _calls(planted: Path) -> list[Calls]:
    from deepsigns_registry.engine.local import LocalEngine
    from deepsigns_registry.plugins import load_plugin
    from deepsigns_registry.sandbox.room import Room

    return [
        Calls(os.system, f"touch {planted}"),
        Calls(eval, f"open({str(planted)!r}, 'w')"),
        Calls(Room, planted),
        Calls(load_plugin, "x", "y"),
        Calls(LocalEngine, 1),
        Calls(np.load, str(planted)),
    ]


@pytest.mark.parametrize("number", range(6))
def test_nothing_else_is_called(number: int, tmp_path: Path) -> None:
    planted = tmp_path / "planted"
    content = pickle.dumps(("result", _calls(planted)[number]))
    with pytest.raises(CouldNotCheckError, match="a job answered with '"):
        read_answer(content)
    assert not planted.exists()


@pytest.mark.parametrize("content", [b"", b"no pickle", b"cos\nsystem\n", b"\x80\x05."])
def test_what_is_no_pickle_is_one_line(content: bytes) -> None:
    with pytest.raises(CouldNotCheckError, match="a job answered"):
        read_answer(content)


@dataclass
class Hostile:
    """A job's result that runs something where it is read."""

    planted: str

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch {self.planted}",)


def take_over(*, progress: JobProgress, planted: str) -> Hostile:
    del progress
    return Hostile(planted)


def test_a_job_cannot_run_anything_in_its_parent(tmp_path: Path) -> None:
    planted = tmp_path / "planted"
    with pytest.raises(CouldNotCheckError, match=r"a job answered with 'posix.system'"):
        LocalEngine(hidden=[]).run(take_over, [{"planted": str(planted)}])
    assert not planted.exists()
