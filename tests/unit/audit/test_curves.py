import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import replace

from deepsigns_registry.audit.curves import figures
from deepsigns_registry.audit.results import Row

MakeRow = Callable[..., Row]


def texts(svg: str) -> list[str]:
    tree = ET.fromstring(svg)  # noqa: S314 - our own figure
    return [element.text or "" for element in tree.iter() if element.tag == "text"]


def test_one_figure_a_family_with_every_strength_and_threshold(row: MakeRow) -> None:
    rows = [row(), row("prune:0.8", 0.8), row("prune:0.5", 0.5), row("finetune:3", 3.0)]
    drawn = figures(rows)
    assert list(drawn) == ["prune", "finetune"]
    said = texts(drawn["prune"])
    assert {"0", "0.5", "0.8", "present above", "not found below", "white box"} <= set(said)
    assert "Accuracy on the owner's validation data (%)" in said


def test_kinds_without_a_scale_stand_under_their_names(row: MakeRow) -> None:
    drawn = figures([row(), row("quantize:int8", 8.0), row("quantize:fp16", 16.0)])
    assert {"deployed", "int8", "fp16"} <= set(texts(drawn["quantize"]))


def test_errors_and_unmeasured_rows_are_left_out(row: MakeRow) -> None:
    rows = [row(), row("prune:0.5", 0.5, error="broke"), row("melt:1", 1.0, accuracy=None)]
    assert figures(rows) == {}
    assert figures([]) == {}


def test_attacks_are_drawn_without_the_deployed_row_and_without_a_scheme(row: MakeRow) -> None:
    lost = row("prune:0.5", 0.5, whitebox_log10_p_adjusted=None)
    (svg,) = figures([lost]).values()
    assert "black box" in texts(svg)
    assert "white box" not in texts(svg)


def test_figure_loads_nothing_and_takes_the_pages_colours(row: MakeRow) -> None:
    (svg,) = figures([row(), row("prune:0.5", 0.5)]).values()
    assert svg.startswith("<svg")
    assert "http" not in svg
    assert "<!DOCTYPE" not in svg
    assert "font-family" not in svg
    assert "var(--ink)" in svg
    assert not re.search(r"#0[1-7]0[1-7]0[1-7]", svg)
    assert all(link.startswith("#") for link in re.findall(r'href="([^"]*)"', svg))


def test_same_table_same_figure_and_identifiers_of_their_own(row: MakeRow) -> None:
    rows = [row(), row("prune:0.5", 0.5), row("finetune:3", 3.0)]
    once, twice = figures(rows), figures(rows)
    assert once == twice
    ids = [set(re.findall(r'id="([^"]*)"', svg)) for svg in once.values()]
    assert not ids[0] & ids[1]


def test_hostile_names_stay_text(row: MakeRow) -> None:
    hostile = '<script>$\\frac{$" onload="x" \\g<9>'
    rows = [row(), row(f"quantize:{hostile}", 1.0), replace(row("x:1", 1.0), attack=hostile)]
    by_kind, by_family = figures(rows).values()
    assert "<script" not in by_kind + by_family
    assert hostile[:24] in texts(by_kind)
    assert f"{hostile}: strength" in texts(by_family)
    assert "onload" not in ET.fromstring(by_family).attrib  # noqa: S314 - our own figure
