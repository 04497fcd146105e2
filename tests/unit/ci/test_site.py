"""The documentation as a site: links that leave docs/ are turned, and broken ones are found."""

from pathlib import Path

import pytest

from ci.site.links import faults, main
from ci.site.pages import turned

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("folder", "here", "text", "expected"),
    [
        ("docs", "", "[a](../SECURITY.md)", "[a](SECURITY.md)"),
        (
            "docs/spec",
            "spec",
            "[a](../../SECURITY.md#what-counts)",
            "[a](../SECURITY.md#what-counts)",
        ),
        ("docs", "", "[a](security.md#the-room)", "[a](security.md#the-room)"),
        ("docs", "", "[a](../plugins/uchida)", "a"),
        ("docs", "", "[a](results)", "a"),
        ("", "", "[a](docs/models.md)", "[a](models.md)"),
        ("ci", "ci", "[a](../docs/exit-codes.md)", "[a](../exit-codes.md)"),
        ("docs", "", "![a](images/audit-report.png)", "![a](images/audit-report.png)"),
        ("docs", "", "[a](https://example.com/x)", "[a](https://example.com/x)"),
        ("docs", "", "[a](nowhere.md)", "[a](nowhere.md)"),
    ],
)
def test_links_are_turned(folder: str, here: str, text: str, expected: str) -> None:
    assert turned(text, folder=folder, here=here, root=ROOT) == expected


_PAGE = '<h1 id="top">x</h1>{}'


@pytest.mark.parametrize(
    ("element", "fault"),
    [
        ('<a href="other.html">x</a>', ""),
        ('<a href="other.html#there">x</a>', ""),
        ('<a href="#top">x</a>', ""),
        ('<a href="https://example.com">x</a>', ""),
        ('<img src="data:image/png;base64,">', ""),
        ('<a href="other.html#gone">x</a>', "has no such anchor"),
        ('<a href="gone.html">x</a>', "is not there"),
        ('<img src="gone.png">', "is not there"),
        ('<a href="/other.html">x</a>', "starts at the root of a server"),
        ('<script src="https://example.com/x.js"></script>', "is loaded from elsewhere"),
        ('<link rel="stylesheet" href="//example.com/x.css">', "is loaded from elsewhere"),
    ],
)
def test_broken_links_are_found(tmp_path: Path, element: str, fault: str) -> None:
    (tmp_path / "index.html").write_text(_PAGE.format(element))
    (tmp_path / "other.html").write_text('<h2 id="there">y</h2>')
    found = list(faults(tmp_path))
    assert [line.rsplit(": ", 1)[1] for line in found] == ([fault] if fault else [])
    assert main([str(tmp_path)]) == bool(fault)


def test_an_empty_site_is_a_fault(tmp_path: Path) -> None:
    assert main([str(tmp_path)]) == 1
