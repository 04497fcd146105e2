import json
from pathlib import Path

import pytest

from benchmarks.__main__ import main
from benchmarks.measurement import Row

KEYS = {"criterion", "model", "scheme", "setting", "metric", "value", "bar", "met"}


@pytest.mark.deep
def test_a_run_goes_on_where_it_stopped(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    command = ["criteria", "--data", "digits", "--quick", "--seeds", "2", "--workers", "1"]
    command += ["--models", "mlp", "--only", "reliability", "--out", str(tmp_path)]
    assert main(command) == 0
    assert "0 of 10 units are done" in capfd.readouterr().err
    first = json.loads((tmp_path / "results.json").read_bytes())
    assert set(first) == {"device", "seeds", "rows"}
    assert all(set(row) == KEYS for row in first["rows"])
    found = {(row["scheme"], row["setting"], row["metric"]): row["value"] for row in first["rows"]}
    assert found["whitebox", "marked on the full set", "log10 p"] < -6
    assert found["whitebox+blackbox", "marked on the full set", "verdicts 'absent'"] == 0

    (tmp_path / "units" / "quick" / "marked-mlp-0-half.json").unlink()
    assert main(command) == 0
    assert "9 of 10 units are done" in capfd.readouterr().err
    assert json.loads((tmp_path / "results.json").read_bytes()) == first

    # Nothing that was measured is lost to a run that measures less, or something else.
    assert main([*command[:-4], "--only", "capacity", "--out", str(tmp_path)]) == 2
    assert "holds results that this run does not measure" in capfd.readouterr().err
    assert json.loads((tmp_path / "results.json").read_bytes()) == first


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--data-dir", "nowhere", "--data", "fashion-mnist"], "nowhere/train-images-idx3-ubyte"),
        (["--models", "cnn"], "model 'cnn' does not take images of shape (1, 8, 8)"),
        (["--device", "abacus"], "there is no device 'abacus' here"),
        (["--out", "file"], "file: File exists"),
        (["--only", "fidelity", "--docs", "file"], "--docs is for a run of every criterion"),
    ],
)
def test_what_cannot_be_run_is_said_once_and_before_it_runs(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    command = ["criteria", "--data", "digits", "--only", "fidelity", "--out", "out"]
    assert main([*command, *options]) == 2
    printed = capsys.readouterr().err
    assert printed.startswith("error: ")
    assert message in printed
    assert printed.count("\n") == 1


@pytest.mark.parametrize(("option", "value"), [("--seeds", "1"), ("--workers", "0")])
def test_numbers_that_are_too_small_are_refused(
    option: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["criteria", option, value])
    assert f"argument {option}: {value} is less than" in capsys.readouterr().err


def test_unknown_names_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["criteria", "--models", "lenet"])
    assert "--models: lenet not in mlp, cnn" in capsys.readouterr().err


def test_a_table_needs_results(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["table", "--out", str(tmp_path)]) == 2
    assert "no results" in capsys.readouterr().err


def test_a_row_has_the_keys_of_the_format() -> None:
    assert set(Row("a", "b", "c", "d", "e", 0.0).to_json()) == KEYS
