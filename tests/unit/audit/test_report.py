import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from deepsigns_registry.audit.columns import Reading
from deepsigns_registry.audit.curves import figures
from deepsigns_registry.audit.expectations import Expectation, Judgement
from deepsigns_registry.audit.finding import Finding
from deepsigns_registry.audit.report import render
from deepsigns_registry.audit.report_words import chance, headline
from deepsigns_registry.audit.results import Outcome, Row

MakeReading = Callable[..., Reading]
MakeRow = Callable[..., Row]
MakeFinding = Callable[..., Finding]
VOID = {"meta", "br", "path", "use", "circle", "rect"}


class Page(HTMLParser):
    """Elements, attributes and words of a page; fails when an element is not closed.

    `cells` is the width of each row of its tables.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.words = ""
        self.cells: list[int] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag == "tr":
            self.cells.append(0)
        if tag in {"td", "th"}:
            self.cells[-1] += int(dict(attrs).get("colspan") or 1)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data


def page(finding: Finding) -> Page:
    return Page(render(finding, figures(finding.rows, score=finding.score)))


@pytest.mark.parametrize(
    ("outcome", "title"),
    [
        ("present", "Watermark found"),
        ("absent", "Watermark not found"),
        ("undecided", "Undecided"),
        ("could-not-check", "Could not check"),
        ("tampered", "Tampered with"),
    ],
)
def test_page_leads_with_the_verdict(finding: MakeFinding, outcome: Outcome, title: str) -> None:
    made = page(finding(outcome=outcome, message="the server is down"))
    assert made.words.index(title) < made.words.index("What this means")
    assert "What it does not mean" in made.words
    assert "Check the signature" in made.words


def test_absent_never_says_that_it_is_not_ours(finding: MakeFinding) -> None:
    words = " ".join(page(finding(outcome="absent")).words.split())
    assert 'It does not mean "this model is not ours"' in words
    assert words.count("not ours") == 1


def test_page_loads_and_runs_nothing(finding: MakeFinding) -> None:
    text = render(finding(), figures(finding().rows))
    made = Page(text)
    assert not {"script", "img", "link", "iframe", "object", "a", "form"} & set(made.tags)
    assert "http:" not in text
    assert "https:" not in text
    assert not re.search(r"url\((?!#)", text)
    assert "@import" not in text
    links = [value for name, value in made.attributes if name in {"href", "src", "srcset"}]
    assert all(link.startswith("#") for link in links)
    assert not [name for name, _ in made.attributes if name.startswith("on")]
    policy = dict(made.attributes)["content"]
    assert "default-src 'none'" in text
    assert policy


HOSTILE = """</title></style><script>alert(1)</script><img src=x onerror=alert(2)>"'&amp;"""


def test_hostile_names_stay_text(finding: MakeFinding, row: MakeRow) -> None:
    judgement = Judgement((Expectation(HOSTILE, "complete", success=False, detail=HOSTILE),))
    rows = (row(), row("prune:" + HOSTILE, 0.5), row("x:1", 1.0, error=HOSTILE))
    for outcome in ("present", "could-not-check", "undecided", "tampered"):
        made = page(
            finding(
                deployment=HOSTILE,
                model=HOSTILE,
                target=HOSTILE,
                owner_name=HOSTILE,
                owner=HOSTILE,
                outcome=outcome,
                message=HOSTILE,
                attestation=HOSTILE,
                marking=HOSTILE,
                providers=(HOSTILE,),
                tool=HOSTILE,
                tracking_run=HOSTILE,
                rows=rows,
                judgement=judgement,
            )
        )
        assert not {"script", "img"} & set(made.tags)
        assert made.words.count(HOSTILE) >= 10


def test_table_shows_every_row(finding: MakeFinding, row: MakeRow, reading: MakeReading) -> None:
    damaged = (reading("whitebox", score=67), reading("blackbox"))
    rows = (
        row(),
        row("prune:0.9", 0.9, verdict="absent", readings=damaged, accuracy=0.2),
        row("melt:1", 1.0, error="the attack failed"),
        row("x:1", 1.0, readings=(reading("blackbox"),), accuracy=None),
    )
    words = page(finding(rows=rows)).words
    for expected in ("61 / 128", "20.0%", "not found", "could not check: the attack failed"):
        assert expected in words


def test_columns_follow_the_schemes_of_the_record(
    finding: MakeFinding, row: MakeRow, reading: MakeReading
) -> None:
    readings = (reading("uchida", score=120), reading("whitebox"), reading("blackbox"))
    rows = (row(readings=readings), row("x:1", 1.0, readings=readings[1:]), row("y:1", error="z"))
    made = page(finding(rows=rows, schemes=("uchida", "blackbox", "whitebox")))
    order = [made.words.index(title) for title in ("White box", "Black box", "uchida")]
    assert order == sorted(order)
    assert "120 of 128 match" in made.words
    assert "120 / 128" in made.words
    # Name, score, seconds and verdict, and two columns for each of three schemes.
    assert made.cells == [10, 10, 10, 10, 10]
    assert ("colspan", "9") in made.attributes


def test_a_correlation_is_told_as_one(
    finding: MakeFinding, row: MakeRow, reading: MakeReading
) -> None:
    schemes = ("spread", "theirs")
    read = tuple(reading(name, trials=535_040, score=62.5, measured=True) for name in schemes)
    made = page(finding(rows=(row(readings=read),), schemes=schemes))
    assert made.words.count("62.5 standard deviations, a correlation over 535,040 values") == 2
    assert "535040" not in made.words
    assert "Matches" not in made.words


def test_report_of_a_regressor_has_the_white_box_alone(
    finding: MakeFinding, row: MakeRow, reading: MakeReading
) -> None:
    rows = (
        row(readings=(reading("whitebox"),)),
        row("prune:0.5", 0.5, readings=(reading("whitebox"),)),
    )
    made = page(finding(rows=rows, schemes=("whitebox",), score="R2"))
    assert "White box" in made.words
    assert "0.970" in made.words
    assert "while the R2 stays high" in " ".join(made.words.split())
    for unsaid in ("lack box", "ccuracy", "quer", "answers", "97.0%"):
        assert unsaid not in made.words.partition("Watermark audit")[2]


def test_scheme_that_could_not_be_read_keeps_its_place(
    finding: MakeFinding, row: MakeRow, reading: MakeReading
) -> None:
    made = page(finding(rows=(row(readings=(reading("blackbox"),)),)))
    assert "White boxnot read" in made.words


def test_unfinished_audit_has_no_table(finding: MakeFinding) -> None:
    made = page(finding(outcome="could-not-check", message="gone", rows=(), onnx_digest=""))
    assert "table" not in made.tags
    assert "not fetched" in made.words


def test_failed_expectation_is_said_at_the_top(finding: MakeFinding) -> None:
    judgement = Judgement((Expectation("The accuracy is enough", "policy", success=False),))
    head = headline(finding(judgement=judgement))
    assert head.title == "Watermark found"
    assert "The accuracy is enough" in head.sentences[1]


def test_undecided_says_why(finding: MakeFinding, row: MakeRow, reading: MakeReading) -> None:
    weak = (reading("whitebox", log10_p_adjusted=-4.0), reading("uchida", log10_p_adjusted=-1.0))
    between = replace(finding(), outcome="undecided", rows=(row(readings=weak),))
    assert "1 in 10,000" in headline(between).sentences[0]
    nothing = replace(between, rows=())
    assert headline(nothing).sentences == ("No evidence could be read.",)


@pytest.mark.parametrize(
    ("log10_p", "words"),
    [(0.0, "about 100%"), (-0.5, "about 32%"), (-1.0, "1 in 10"), (-6.99, "1 in 10⁶")],
)
def test_chance_is_never_overstated(log10_p: float, words: str) -> None:
    assert chance(log10_p) == words
