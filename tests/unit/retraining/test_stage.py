"""What the jobs of one marking share."""

import warnings
from pathlib import Path

import numpy as np
import pytest

from deepsigns_registry.retraining.stage import MARKED_ONNX, _told, mark_model
from deepsigns_registry.retraining.unmarked import Unmarked
from deepsigns_registry.sections import ModelSettings
from tests.support.clusters import prepared, samples, saved, silent, trained

# As many loaders do: it draws anew whenever it is called.
LOADER = """
from pathlib import Path

import numpy as np

random = np.random.default_rng(0)


def load():
    with open(Path(__file__).with_name("calls"), "a") as calls:
        calls.write("x")
    both = np.load(Path(__file__).with_name("data.npz"))
    rows = random.permutation(len(both["x"]))
    x, y = both["x"][rows], both["y"][rows]
    return (x[:800], y[:800]), (x[800:], y[800:])
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    both = samples(1000, 0)
    np.savez(tmp_path / "data.npz", x=both.inputs, y=both.labels)
    (tmp_path / "drawn_anew.py").write_text(LOADER)
    (tmp_path / "deepsigns.toml").write_text('[models.m]\ndata = "drawn_anew:load"\n')
    saved(trained(both), tmp_path / "version", both.inputs[:4])
    (tmp_path / "out").mkdir()
    return tmp_path


def test_the_mark_is_trained_with_the_data_that_it_was_prepared_with(home: Path) -> None:
    kept: dict[str, Unmarked] = {}
    first = prepared(home, kept=kept)
    assert prepared(home, kept=kept).data == first.data
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mark_model(
            progress=silent,
            kept=kept,
            source=home / "version",
            config=home / "deepsigns.toml",
            model="m",
            record=first.record,
            checkpoints=home / "checkpoints",
            marking="m-1",
            out=home / "out",
        )
    assert (home / "out" / MARKED_ONNX).is_file()
    assert (home / "calls").read_text() == "x"
    assert prepared(home).data != first.data


def test_the_figures_of_a_hidden_mark_say_so() -> None:
    hidden, open_one = (ModelSettings(data="a:b", stealth=stealth) for stealth in (True, False))
    assert _told({"spread_parts": 3.0}, hidden) == {"stealth": 1.0, "spread_parts": 3.0}
    assert _told({"spread_parts": 3.0}, open_one) == {"spread_parts": 3.0}
    # A message without figures leaves those that stand.
    assert _told({}, hidden) is None
