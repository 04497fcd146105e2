"""The table that `deepsigns audit run` prints."""

from collections.abc import Callable

from deepsigns_registry.audit.columns import Reading
from deepsigns_registry.audit.finding import Finding
from deepsigns_registry.audit.results import Row
from deepsigns_registry.cli.audit import _table

MakeReading = Callable[..., Reading]
MakeRow = Callable[..., Row]
MakeFinding = Callable[..., Finding]


def test_the_usual_table(finding: MakeFinding) -> None:
    assert _table(finding()) == [
        "  file             accuracy  white box  black box  verdict",
        "  deployed           0.9700      -37.9     -316.4  present",
        "  prune:0.5          0.9700      -37.9     -316.4  present",
    ]


def test_columns_follow_the_schemes_and_the_score(
    finding: MakeFinding, row: MakeRow, reading: MakeReading
) -> None:
    rows = (row(readings=(reading("uchida"),)), row("x:1").failed("broke", "code"))
    table = _table(finding(rows=rows, schemes=("whitebox", "uchida"), score="R2"))
    assert table[0].split() == ["file", "R2", "white", "box", "uchida", "verdict"]
    assert table[1].split() == ["deployed", "0.9700", "-", "-37.9", "present"]
    assert table[2].split()[-1] == "broke"
    assert table[1].index("-37.9") + len("-37.9") == table[0].index("uchida") + len("uchida")


def test_audit_that_opened_no_record_prints_a_head_alone(finding: MakeFinding) -> None:
    (head,) = _table(finding(rows=(), schemes=()))
    assert head.split() == ["file", "accuracy", "verdict"]
