"""Hook of mkdocs: pages of the repository's root are pages of the site, and links go on working.

A link that leaves `docs/` is right on a repository host. On the site it is turned to the page that
was taken in, or to its own text where it leads to what is no page.
"""

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

__all__ = ["TAKEN_IN", "on_files", "on_page_markdown", "turned"]

TAKEN_IN = (
    "CONTRIBUTING.md",
    "SECURITY.md",
    "CHANGELOG.md",
    "ci/README.md",
    "deploy/README.md",
)
"""Pages outside `docs/`, by their path in the repository, which is their path in the site too."""

_LINK = re.compile(r"(!?)\[([^\]]+)\]\(([^)\s#:]+)(#[^)\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Called by mkdocs, with this name: adds the pages of the root."""
    root = Path(config.docs_dir).parent
    for name in TAKEN_IN:
        content = (root / name).read_text(encoding="utf-8")
        files.append(File.generated(config, name, content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001 - mkdocs names them
    """Called by mkdocs, with this name: turns the links of one page."""
    place = page.file.src_uri
    folder = posixpath.dirname(place if place in TAKEN_IN else f"docs/{place}")
    return turned(
        markdown, folder=folder, here=posixpath.dirname(place), root=Path(config.docs_dir).parent
    )


def turned(markdown: str, *, folder: str, here: str, root: Path) -> str:
    """The text of a page with links as the site has them.

    Args:
        markdown: As it stands in the repository.
        folder: The page's folder in the repository; empty for the root.
        here: The page's folder in the site.
        root: The repository.
    """

    def turn(link: re.Match[str]) -> str:
        image, text, target, anchor = link.groups()
        path = posixpath.normpath(posixpath.join(folder, target))
        if path in TAKEN_IN:
            place = path
        elif path.startswith("docs/") and not (root / path).is_dir():
            place = path.removeprefix("docs/")
        elif (root / path).exists():
            return text  # such as a folder of the source
        else:
            return link.group()  # mkdocs complains
        return f"{image}[{text}]({posixpath.relpath(place, here or '.')}{anchor or ''})"

    return _LINK.sub(turn, markdown)
