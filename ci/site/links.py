"""Follows every link of the built site: `python -m ci.site.links site`.

Offline: a page, a picture or an anchor inside the site has to be there, and nothing that a browser
loads by itself may come from anywhere else. Links for people to other places are not followed.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

__all__ = ["faults", "main"]

_LOADED = {"img": "src", "script": "src", "source": "src", "iframe": "src"}
_NOT_LOADED = frozenset({"canonical", "edit", "next", "prev"})


class _Page(HTMLParser):
    """What one page links to, loads, and can be linked to."""

    def __init__(self) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        if tag in _LOADED and _LOADED[tag] in given:
            self.loaded.append(given[_LOADED[tag]])
        if tag == "link" and not _NOT_LOADED & set(given.get("rel", "").split()):
            self.loaded.append(given.get("href", ""))
        if tag == "a" and "href" in given:
            self.links.append(given["href"])


def faults(site: Path) -> Iterator[str]:
    """What is wrong with the links of a built site, one line each.

    Args:
        site: Folder of the built site.
    """
    pages = {path: _read(path) for path in sorted(site.resolve().rglob("*.html"))}
    if not pages:
        yield f"{site}: holds no page"
    for path, page in pages.items():
        # The page for what is not found stands at the root, wherever it is shown.
        for target in (*page.loaded, *page.links):
            fault = _fault(path, target, pages, loads=target in page.loaded)
            if fault:
                yield f"{path.relative_to(site.resolve())}: {target}: {fault}"


def _read(path: Path) -> _Page:
    page = _Page()
    page.feed(path.read_text(encoding="utf-8"))
    return page


def _fault(path: Path, target: str, pages: Mapping[Path, _Page], *, loads: bool) -> str:
    parts = urlsplit(target)
    if parts.scheme or parts.netloc:
        return "is loaded from elsewhere" if loads and parts.scheme != "data" else ""
    if parts.path.startswith("/"):
        return "" if path.name == "404.html" else "starts at the root of a server"
    place = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    if place.is_dir():
        place /= "index.html"
    if not place.exists():
        return "is not there"
    anchor = unquote(parts.fragment)
    # "#" and "#__skip" steer the page itself.
    if anchor and place in pages and anchor not in pages[place].anchors:
        return "has no such anchor"
    return ""


def main(arguments: Sequence[str]) -> int:
    """Prints the faults; the exit code is 1 when there are any."""
    found = [fault for folder in arguments for fault in faults(Path(folder))]
    for fault in found:
        print(fault)  # noqa: T201 - a command
    return bool(found)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
