import json
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from benchmarks.__main__ import main
from benchmarks.ordinary.data import DATA, load
from benchmarks.ordinary.parents import train_parent
from benchmarks.ordinary.path import Reading
from benchmarks.ordinary.runner import run_trials
from benchmarks.ordinary.summary import Row, Summary, read_json, summarised
from benchmarks.ordinary.table import BEGIN, markdown, terminal
from benchmarks.ordinary.trial import Trial, judged, try_entry
from benchmarks.ordinary.zoo import ZOO
from benchmarks.table import END
from deepsigns_registry.errors import RefusedError
from deepsigns_registry.watermark.data import LabelledData
from deepsigns_registry.watermark.evidence import Evidence, Matches
from deepsigns_registry.watermark.verdict import judge

COLUMNS = {
    *("model", "data", "seeds", "marked", "accuracy_drop", "whitebox_log10_p"),
    *("blackbox_log10_p", "seconds", "plain_seconds", "reason"),
}
MARKED = Trial(
    "fraud10-128-64",
    0,
    "marked",
    control_score=0.97,
    accuracy_drop=0.002,
    limit_drop=0.001,
    limit=0.01,
    whitebox_log10_p=-38.0,
    blackbox_log10_p=-60.0,
    agreement=0.5,
    twin="absent",
    seconds=4.0,
    plain_seconds=2.0,
)


def silent(_fraction: float, _message: str, /, figures: object = None) -> None:
    """What a trial tells while it runs."""


def test_the_zoo_holds_what_was_asked_for() -> None:
    assert len(ZOO) == 36
    assert {entry.data for entry in ZOO.values()} == set(DATA)
    described = " ".join(str(entry.build()) for entry in ZOO.values())
    for layer in (
        *("ReLU", "Tanh", "GELU", "BatchNorm1d", "BatchNorm2d", "LayerNorm", "GroupNorm"),
        *("InstanceNorm2d", "Dropout", "Conv1d", "Conv2d", "GRU", "LSTM", "Transformer"),
        *("Softmax", "out_features=64", "out_features=1024"),
    ):
        assert layer in described, layer


@pytest.mark.parametrize("name", ZOO)
def test_every_model_takes_its_data_and_gives_its_outputs(name: str) -> None:
    entry, data = ZOO[name], DATA[ZOO[name].data]
    network = entry.build().eval()
    with torch.no_grad():
        outputs = network(torch.zeros(3, *data.shape))
    assert outputs.shape == (3, data.outputs)
    assert entry.probabilities == bool(torch.allclose(outputs.sum(dim=1), torch.ones(3)))


@pytest.mark.parametrize("name", DATA)
def test_a_data_set_is_what_it_says_and_the_same_for_a_seed(name: str) -> None:
    chosen, data = DATA[name], load(name, 1)
    assert data.task == chosen.task
    assert data.train.inputs.shape[1:] == chosen.shape
    if chosen.task == "classification":
        assert set(data.train.labels) == set(range(chosen.outputs))
    again, other = load(name, 1), load(name, 2)
    assert np.array_equal(data.train.inputs, again.train.inputs)
    assert not np.array_equal(data.train.inputs, other.train.inputs)


@pytest.mark.parametrize(("name", "share"), [("1%", 0.01), ("10%", 0.1), ("50%", 0.5)])
def test_fraud_is_as_frequent_as_its_name_says(name: str, share: float) -> None:
    data = load(f"fraud {name}", 0)
    labels = np.concatenate([data.train.labels, data.validation.labels])
    assert labels.mean() == pytest.approx(share, abs=1e-9)


def test_a_parent_learns_and_is_the_same_for_a_seed() -> None:
    data, entry = load("breast cancer", 0), ZOO["breast-64-tanh"]
    inputs = torch.from_numpy(data.validation.inputs)
    parents = [train_parent(entry, data.train, 0) for _ in range(2)]
    with torch.no_grad():
        first, again = (parent(inputs) for parent in parents)
    assert torch.equal(first, again)
    assert (first.argmax(dim=1).numpy() == data.validation.labels).mean() > 0.9


def test_a_parent_that_ends_in_a_softmax_learns_from_its_probabilities() -> None:
    data = load("digits", 0).train
    few = LabelledData(data.inputs[:640], data.labels[:640])
    losses = []
    for probabilities in (True, False):
        entry = replace(ZOO["digits-softmax"], epochs=6, probabilities=probabilities)
        parent = train_parent(entry, few, 0)
        with torch.no_grad():
            outputs = parent(torch.from_numpy(few.inputs))
        losses.append(float(functional.nll_loss(outputs.log(), torch.from_numpy(few.labels))))
    # A second softmax, as in the cross-entropy of logits, holds the answers back.
    assert losses[0] < 0.8 * losses[1]


def reading(*evidence: Evidence, drop: float = 0.0, incomplete: tuple[str, ...] = ()) -> Reading:
    verdict = judge(evidence, tries=1, incomplete=incomplete)
    return Reading(("whitebox", "blackbox"), verdict, incomplete, 0.5, 0.9, drop)


WHITE = Matches("whitebox", trials=128, matches=128, chance=0.5, level="a")
BLACK = Matches("blackbox", trials=400, matches=300, chance=0.5, level="oracle")


@pytest.mark.parametrize(
    ("found", "outcome", "reason"),
    [
        (reading(WHITE, BLACK), "marked", ""),
        (
            reading(WHITE, replace(BLACK, matches=255)),
            "weak",
            "blackbox: 255 of 400 match, log10 p -7.",
        ),
        (reading(WHITE, replace(BLACK, matches=220)), "refused", "blackbox: 220 of 400"),
        (reading(WHITE), "refused", "blackbox: not read"),
        (reading(WHITE, BLACK, drop=0.02), "refused", "drop 2.00 points, limit 1.00"),
        (reading(WHITE, BLACK, incomplete=("tap not verified",)), "refused", "tap not verified"),
    ],
)
def test_a_marked_file_is_judged_by_everything_it_needs(
    found: Reading, outcome: str, reason: str
) -> None:
    judgement = judged(found, 0.01)
    assert judgement[0] == outcome
    assert judgement[1].startswith(reason)
    assert bool(judgement[1]) == (outcome != "marked")


def test_a_row_gives_the_worst_evidence_and_the_mean_cost() -> None:
    trials = [
        MARKED,
        replace(MARKED, seed=1, accuracy_drop=0.004, whitebox_log10_p=-20.0, agreement=0.4),
        Trial(MARKED.name, 2, "refused", "the tap", late=True, seconds=7.0, whitebox_log10_p=-1.0),
    ]
    row = summarised(trials, {MARKED.name: "fraud 10%"}).rows[0]
    assert (row.seeds, row.marked, row.refused, row.late, row.crashed) == (3, 2, 1, 1, 0)
    assert row.accuracy_drop == pytest.approx(0.003)
    assert (row.worst_drop, row.whitebox_log10_p, row.blackbox_log10_p) == (0.004, -20.0, -60.0)
    assert (row.agreement, row.seconds, row.plain_seconds) == (0.4, 5.0, 2.0)
    assert row.reason == "the tap"


def summary(*trials: Trial) -> Summary:
    return summarised(trials, dict.fromkeys((trial.name for trial in trials), "data"))


@pytest.mark.parametrize(
    ("trial", "sentence"),
    [
        (Trial("a", 0, "refused", "why"), "1 of 2 are marked"),
        (Trial("a", 0, "refused", "why", late=True), "1 were refused after training"),
        (Trial("a", 0, "crashed", "why"), "1 ended in an internal error"),
        (Trial("a", 0, "weak", "why"), "1 are neither marked nor refused"),
        (replace(MARKED, accuracy_drop=0.02), "1 models cost more than the limit"),
        (replace(MARKED, accuracy_drop=0.02), "the mean drop is 1.10 points"),
        (replace(MARKED, twin="present"), "1 unmarked twins were called present"),
    ],
)
def test_what_is_not_reached_is_said(trial: Trial, sentence: str) -> None:
    short = summary(MARKED, replace(trial, seed=1)).shortfalls()
    assert [line for line in short if line.startswith(sentence)], short
    assert not summary(MARKED).shortfalls()


def test_results_are_as_they_were_asked_for() -> None:
    regressor = replace(MARKED, name="diabetes-128-64", blackbox_log10_p=None)
    found = summary(MARKED, regressor, Trial("a", 0, "refused", "why | how"))
    content = json.loads(json.dumps(found.to_json()))
    assert (content["models"], content["marked"], content["refused"]) == (3, 2, 1)
    assert content["crashed"] == 0
    assert all(set(row) >= COLUMNS for row in content["rows"])
    assert all(set(row) == {field.name for field in fields(Row)} for row in content["rows"])
    assert read_json(json.dumps(content)) == found
    with pytest.raises(ValueError, match="no results"):
        read_json("[]")
    page, text = markdown(found), terminal(found)
    assert "| diabetes-128-64 | data | 1/1 | +0.20 | +0.20 | -38.0 |  | 4.0 | 2.0 |  |" in page
    assert "why \\| how" in page
    assert "2 of 3 marked, 1 refused (0 of them after training), 0 crashed" in text


def test_what_nobody_raised_on_purpose_is_a_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("division by zero\nand more")

    monkeypatch.setattr("benchmarks.ordinary.trial.train_parent", broken)
    trial = try_entry(ZOO["wine-128-64"], 0, silent)
    assert (trial.outcome, trial.late) == ("crashed", False)
    assert trial.reason.startswith("ZeroDivisionError: division by zero (test_ordinary.py:")


@pytest.mark.parametrize("late", [False, True])
def test_a_refusal_says_whether_it_came_after_training(
    monkeypatch: pytest.MonkeyPatch, late: bool
) -> None:
    def refuses(*_: object) -> None:
        raise RefusedError("no", advice="why")

    journey = "benchmarks.ordinary.trial.Journey"
    monkeypatch.setattr(f"{journey}.__init__", lambda *_: None)
    monkeypatch.setattr(f"{journey}.prepare", (lambda *_: None) if late else refuses)
    monkeypatch.setattr(f"{journey}.train", refuses)
    trial = try_entry(replace(ZOO["wine-128-64"], epochs=1), 0, silent)
    assert (trial.outcome, trial.reason, trial.late) == ("refused", "no; why", late)


def test_a_page_is_for_a_whole_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"{BEGIN}\n{END}\n")
    command = ["ordinary", "--only", "wine-128-64", "--docs", str(page), "--out", str(tmp_path)]
    assert main(command) == 2
    assert "--docs is for a run of every model and seed" in capsys.readouterr().err
    assert page.read_text() == f"{BEGIN}\n{END}\n"


def test_the_page_on_models_has_a_place_for_the_results() -> None:
    page = (Path(__file__).parents[3] / "docs" / "models.md").read_text(encoding="utf-8")
    assert page.index(BEGIN) < page.index(END)


def test_nothing_is_tried_when_nothing_is_wanted() -> None:
    assert run_trials([], 1, print) == []
