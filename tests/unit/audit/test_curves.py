import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import replace

from deepsigns_registry.audit.columns import Reading
from deepsigns_registry.audit.curves import _curves, figures, standalone
from deepsigns_registry.audit.results import Row

MakeReading = Callable[..., Reading]
MakeRow = Callable[..., Row]


def texts(svg: str) -> list[str]:
    tree = ET.fromstring(f"<page>{svg}</page>")  # noqa: S314 - our own figure
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


def test_attacks_are_drawn_without_the_deployed_row_and_without_a_scheme(
    row: MakeRow, reading: MakeReading
) -> None:
    lost = row("prune:0.5", 0.5, readings=(reading("blackbox"),))
    (svg,) = figures([lost]).values()
    assert "black box" in texts(svg)
    assert "white box" not in texts(svg)


def test_any_number_of_schemes_has_curves_of_their_own(row: MakeRow, reading: MakeReading) -> None:
    schemes = ("whitebox", "blackbox", *(f"plugin-{number}" for number in range(9)))
    readings = tuple(map(reading, schemes))
    rows = [row(readings=readings), row("prune:0.5", 0.5, readings=readings)]
    (svg,) = figures(rows).values()
    assert {"white box", "black box", *schemes[2:]} <= set(texts(svg))
    assert all(f"var(--scheme-{number})" in svg for number in (1, 2, 3))
    looks = {curve[2:] for curve in _curves(rows)}
    assert len(looks) == len(schemes)


def test_a_scheme_looks_alike_in_every_figure(row: MakeRow, reading: MakeReading) -> None:
    both = (reading("first"), reading("second"))
    rows = [row("prune:0.5", 0.5, readings=both), row("finetune:3", 3.0, readings=both[1:])]
    pruned, tuned = figures(rows).values()
    assert "var(--scheme-1)" in pruned
    assert "var(--scheme-1)" not in tuned
    assert "var(--scheme-2)" in tuned


def test_score_of_another_task_is_named_and_no_percentage(row: MakeRow) -> None:
    (svg,) = figures([row(), row("prune:0.5", 0.5)], score="R2").values()
    assert "R2 on the owner's validation data" in texts(svg)
    assert not [text for text in texts(svg) if "ccuracy" in text or "%" in text]


def test_figure_loads_nothing_and_takes_the_pages_colours(row: MakeRow) -> None:
    (svg,) = figures([row(), row("prune:0.5", 0.5)]).values()
    assert svg.startswith("<svg")
    assert "http" not in svg
    assert "<!DOCTYPE" not in svg
    assert "font-family" not in svg
    assert "var(--ink)" in svg
    assert not re.search(r"#0[1-9a]0[1-9a]0[1-9a]", svg)
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
    drawn = ET.fromstring(f"<page>{by_family}</page>")  # noqa: S314 - our own figure
    assert all("onload" not in element.attrib for element in drawn.iter())


def test_a_file_that_stands_alone_has_colours_and_panels_side_by_side(row: MakeRow) -> None:
    (panels,) = figures([row(), row("prune:0.5", 0.5)]).values()
    file = standalone(panels)
    assert "var(--" not in file
    drawn = ET.fromstring(file)  # noqa: S314 - our own figure
    inner = [part for part in drawn if part.tag.endswith("svg")]
    assert [part.attrib["x"] for part in inner] == ["0", inner[0].attrib["width"]]
    width = float(drawn.attrib["viewBox"].split()[2])
    assert width == sum(float(part.attrib["width"]) for part in inner)
