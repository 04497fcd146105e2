import json
from pathlib import Path

import pytest

from benchmarks.__main__ import main
from benchmarks.measurement import Measurement, Row, rows_of
from benchmarks.results import Results
from benchmarks.thieves.bars import judged
from benchmarks.thieves.plan import QUICK
from benchmarks.thieves.reading import ADJUSTED, CRITERION, Finding
from benchmarks.thieves.table import markdown, terminal

HELD, LOST, OPEN = (
    "4-bit weights",
    "distilled, soft labels, 10 epochs",
    "fine-pruning of half the neurons",
)


def rows() -> list[Row]:
    measured: list[Measurement] = []
    for setting, white, black in ((HELD, -38.0, -380.0), (OPEN, -5.0, -3.0), (LOST, 0.0, -9.5)):
        groups = {"white box": white, "black box": black, "joint": min(white, black)}
        word = "present" if min(white, black) <= -6 else "undecided"
        finding = Finding({"whitebox": white, "blackbox": black}, groups, word)
        measured.append(Measurement(CRITERION, "mlp", "", setting, "accuracy", 0.9))
        measured += finding.measurements("mlp", setting)
    cost = "marked, against the same fine-tuning without a mark"
    measured += [
        Measurement("fidelity", "mlp", "whitebox+blackbox", cost, "drop", value, "mean")
        for value in (0.001, 0.003)
    ]
    return rows_of(measured)


def test_what_loses_comes_first() -> None:
    found = judged(rows(), QUICK, full=True)
    met = {
        (row.setting, row.scheme): row.met for row in found if row.metric == ADJUSTED and row.bar
    }
    assert met == {(HELD, "white box"): True, (LOST, "black box"): False}
    text = terminal(Results("a device", 1, found))
    order = [text.index(setting) for setting in (LOST, HELD, OPEN)]
    assert order == sorted(order)
    assert "3 bars judged, 2 not reached" in text
    lines = {line.split("  ")[0]: line for line in text.splitlines()}
    assert "present 1" in lines["yes"]
    # The interval of two seeds is wide: 0.2 points, and more than 1 either way.
    assert any("0.002 [-0.01071, 0.01471]" in line for line in text.splitlines())
    page = markdown(Results("a device", 1, found)).splitlines()
    columns = {line.count("|") for line in page if LOST in line or HELD in line}
    assert columns == {12}


def test_a_small_run_does_not_judge_what_needs_seeds() -> None:
    found = judged(rows(), QUICK, full=False)
    drop = next(row for row in found if row.metric == "drop (mean)")
    assert (drop.bar, drop.met) == ("mean drop <= 0.15 point", None)
    assert any(row.met is False for row in found)


@pytest.mark.deep
def test_the_command_measures_attacks_on_small_data(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["thieves", "--data", "digits", "--quick", "--models", "mlp", "--workers", "1"]
    command += ["--only", "prune,lowrank", "--out", str(tmp_path)]
    assert main([*command, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["rows"]
    word = next(
        row["value"]
        for row in found
        if (row["setting"], row["metric"]) == ("as marked", "verdicts 'present'")
    )
    assert word == 1
    assert {row["setting"] for row in found if row["met"] is not None} == {
        "90% of the weights pruned",
        "an eighth of the singular values left",
        "as marked, a service that answers labels alone",
    }
    # Everything is kept: a second run only writes its table.
    assert main(command) == 0
    assert "5 of 5 units are done" in capsys.readouterr().err
    assert (tmp_path / "thieves.json").exists()
    assert main([*command, "--docs", "page.md"]) == 2
    assert "--docs is for a run of every model and attack" in capsys.readouterr().err
