import json
from pathlib import Path

import pytest

from benchmarks.__main__ import main
from benchmarks.measurement import Row

KEYS = {"criterion", "model", "scheme", "setting", "metric", "value", "bar", "met"}


def test_a_run_goes_on_where_it_stopped(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    command = ["criteria", "--data", "digits", "--quick", "--seeds", "1", "--workers", "1"]
    command += ["--models", "mlp", "--only", "reliability", "--out", str(tmp_path)]
    assert main(command) == 0
    assert "0 of 5 units are done" in capfd.readouterr().err
    first = json.loads((tmp_path / "results.json").read_bytes())
    assert set(first) == {"device", "seeds", "rows"}
    assert all(set(row) == KEYS for row in first["rows"])
    found = {(row["scheme"], row["setting"], row["metric"]): row["value"] for row in first["rows"]}
    assert found["whitebox", "marked on the full set", "log10 p"] < -6
    assert found["whitebox+blackbox", "marked on the full set", "verdicts 'absent'"] == 0

    (tmp_path / "units" / "quick" / "marked-mlp-0-half.json").unlink()
    assert main(command) == 0
    assert "4 of 5 units are done" in capfd.readouterr().err
    assert json.loads((tmp_path / "results.json").read_bytes()) == first


def test_unknown_names_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["criteria", "--models", "lenet"])
    assert "--models: lenet not in mlp, cnn" in capsys.readouterr().err


def test_a_table_needs_results(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["table", "--out", str(tmp_path)]) == 2
    assert "no results" in capsys.readouterr().err


def test_a_row_has_the_keys_of_the_format() -> None:
    assert set(Row("a", "b", "c", "d", "e", 0.0).to_json()) == KEYS
