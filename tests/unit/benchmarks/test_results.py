from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
from scipy import stats

from benchmarks.bars import BARS, HOLDING, judged
from benchmarks.kinds.capacity import BITS, bits_setting
from benchmarks.kinds.files import QUANTISATIONS, RESTRUCTURED, STRUCTURED
from benchmarks.measurement import Measurement, Row, rows_of
from benchmarks.plan import planned
from benchmarks.plots import draw
from benchmarks.readings import KEPT, Reading, keeps, worst
from benchmarks.results import Results, read_results, write_results
from benchmarks.scale import FULL
from benchmarks.table import BEGIN, END, insert, markdown
from deepsigns_registry.errors import ConfigurationError
from deepsigns_registry.watermark.evidence import Matches
from deepsigns_registry.watermark.extract import Extraction
from deepsigns_registry.watermark.record import WatermarkRecord


def measured(values: list[float], over: str) -> list[Measurement]:
    return [
        Measurement("fidelity", "mlp", "whitebox", "marked", "drop", value, over)
        for value in values
    ]


def test_seeds_are_joined() -> None:
    values = [3.0, 1.0, 8.0]
    assert [row.value for row in rows_of(measured(values, "high is worst"))] == [3, 8]
    assert [row.value for row in rows_of(measured(values, "low is worst"))] == [3, 1]
    assert [row.value for row in rows_of(measured(values, "sum"))] == [12]


def test_the_mean_has_the_interval_of_students_t() -> None:
    values = [0.001, 0.004, -0.002, 0.003, 0.0]
    mean, low, high = rows_of(measured(values, "mean"))
    expected = stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
    assert [row.metric for row in (mean, low, high)] == [
        "drop (mean)",
        "drop (95% low)",
        "drop (95% high)",
    ]
    assert (low.value, high.value) == pytest.approx((expected.low, expected.high))
    assert mean.value == pytest.approx(np.mean(values))


def test_one_number_cannot_be_joined_in_two_ways() -> None:
    with pytest.raises(ValueError, match="joined as"):
        rows_of([*measured([1.0], "sum"), *measured([1.0], "mean")])


def test_a_bar_is_judged_by_the_full_run_alone() -> None:
    setting = "marked, against the same fine-tuning without a mark"
    rows = [Row("fidelity", "cnn", "whitebox+blackbox", setting, "drop (mean)", 0.0051)]
    assert [row.met for row in judged(rows, full=True)] == [False]
    assert [row.met for row in judged(rows, full=False)] == [None]
    fine = [replace(rows[0], value=0.005)]
    assert [row.met for row in judged(fine, full=True)] == [True]
    assert judged(rows, full=False)[0].bar == "mean drop <= 0.5 point"


def test_a_detector_counts_where_it_finds_uchidas_marks() -> None:
    def rows(uchida: float) -> list[Row]:
        setting = "detector: statistics of weights"
        return [
            Row("security", "small", "whitebox+blackbox", setting, "AUC", 0.7),
            Row("security", "small", "uchida", setting, "AUC", uchida),
        ]

    assert judged(rows(0.95), full=True)[0].met is False
    assert judged(rows(0.85), full=True)[0].met is None


def test_capacity_ends_where_the_mark_first_fails() -> None:
    def rows(failing: int) -> list[Row]:
        return [
            Row("capacity", "mlp", "whitebox", bits_setting(bits), metric, value)
            for bits in BITS
            for metric, value in (
                ("bit errors (worst)", float(bits == failing)),
                ("drop (mean)", 0.001),
            )
        ]

    held = {failing: judged(rows(failing), full=True)[-1] for failing in (64, 512, 1024, 9999)}
    assert {failing: row.value for failing, row in held.items()} == {
        64: 0,
        512: 256,
        1024: 512,
        9999: BITS[-1],
    }
    assert held[1024].setting == HOLDING
    assert (held[512].met, held[1024].met) == (False, True)


def test_no_two_bars_are_for_one_number() -> None:
    names = [(b.criterion, b.scheme, b.setting, b.metric, b.models) for b in BARS]
    assert len(set(names)) == len(names)


def test_results_come_back_as_written(tmp_path: Path) -> None:
    rows = [Row("robustness", "mlp", "whitebox", "prune:0.5", "log10 p", -38.5, "p", met=True)]
    write_results(Results("a processor", 5, rows), tmp_path / "results.json")
    found = read_results(tmp_path / "results.json")
    assert (found.device, found.seeds, list(found.rows)) == ("a processor", 5, rows)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_no_number_is_not_written(tmp_path: Path, value: float) -> None:
    row = Row("robustness", "mlp", "", "prune:0.5", "accuracy", value)
    with pytest.raises(ValueError, match=r"prune:0\.5"):
        write_results(Results("a processor", 5, [row]), tmp_path / "results.json")
    assert not list(tmp_path.iterdir())


def test_the_table_says_what_was_lost_and_replaces_only_itself(tmp_path: Path) -> None:
    rows = [
        Row(
            "robustness", "mlp", "blackbox", "fine-tuning", "log10 p", -4.2, "p <= 1e-6", met=False
        ),
        Row("robustness", "mlp", "blackbox", "fine-tuning", "log10 p (worst)", -1.1),
    ]
    text = markdown(Results("a processor", 5, rows))
    assert "- mlp, fine-tuning: BB log10 p is -4.2; the bar: p <= 1e-6." in text
    assert "| -4.2 | -1.1 | **no** |" in text
    page = tmp_path / "results.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    insert(text, page)
    insert(text, page)
    assert page.read_text() == f"before\n{BEGIN}\n\n{text}\n{END}\nafter\n"
    page.write_text("no place")
    with pytest.raises(ConfigurationError, match="no place for results"):
        insert(text, page)


def test_a_mean_is_shown_with_its_interval() -> None:
    setting = "marked, against the same fine-tuning without a mark"
    rows = [
        Row("fidelity", "cnn", "whitebox+blackbox", setting, f"drop ({what})", value)
        for what, value in (("mean", 0.0014), ("95% low", -0.001), ("95% high", 0.004))
    ]
    text = markdown(Results("a processor", 5, judged(rows, full=True)))
    assert "| 0.14 points | -0.10 points to 0.40 points | yes |" in text


def test_a_bar_that_was_not_measured_is_listed() -> None:
    setting = "overwriting with another key, 1 epoch"
    rows = [Row("robustness", "cnn", "whitebox", setting, "log10 p", -30.0)]
    lines = markdown(Results("a processor", 5, judged(rows, full=True))).splitlines()
    (measured,) = (
        line for line in lines if "WB log10 p" in line and setting in line and "30" in line
    )
    assert measured.endswith("| yes |")
    missing = [line for line in lines if line.endswith("| **not measured** |")]
    assert any("permute:0.5 | WB readings not at level c" in line for line in missing)
    bars = [bar for bar in BARS if bar.criterion == "robustness"]
    assert len(missing) == len(bars) - 1


@pytest.mark.parametrize("model", ["mlp", "cnn"])
def test_every_bar_of_the_robustness_is_measured(model: str) -> None:
    settings = {unit.setting for unit in planned(["robustness"], [model], FULL)}
    bars = {bar.setting for bar in BARS if bar.criterion == "robustness"}
    # These kinds of units measure several settings each.
    inside = {*QUANTISATIONS, *RESTRUCTURED}
    inside |= {f"{kind}, {KEPT}" for kind in ("prune", "layer_prune", STRUCTURED)}
    inside |= {"prune:0.9", "layer_prune:0.9"}
    for bar in bars - inside:
        assert any(bar.startswith(setting) for setting in settings - {""}), bar


def test_the_worst_of_the_levels_counts() -> None:
    def reading(errors: int) -> Reading:
        found = Matches("whitebox", 128, 128 - errors, 0.5, level="a")
        record = cast("WatermarkRecord", SimpleNamespace(secrets={"whitebox": None}))
        return Reading(record, Extraction((found,), ()))

    rows = worst([reading(0), reading(3), reading(1)], "mlp", f"prune, {KEPT}")
    assert [(item.metric, round(item.value)) for item in rows] == [
        ("bit errors", 3),
        ("log10 p", -33),
    ]
    assert keeps(0.81, 0.9)
    assert not keeps(0.80, 0.9)


def test_curves_are_drawn(tmp_path: Path) -> None:
    rows = [
        Row("robustness", "mlp", scheme, f"prune:{level}", metric, value)
        for level, value in ((0.1, -38.0), (0.9, -20.0))
        for scheme, metric in (("whitebox", "log10 p"), ("", "accuracy"))
    ]
    (path,) = draw(rows, tmp_path)
    assert path.name == "pruning.png"
    assert path.read_bytes().startswith(b"\x89PNG")
