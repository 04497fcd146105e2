"""A real browser without a window: what a person sees of a page, as text and as a picture."""

import shutil
import subprocess
from pathlib import Path

import pytest

__all__ = ["document", "picture"]

_NAMES = ("chromium", "chromium-browser", "google-chrome")
# Milliseconds of the page's own time, which passes as fast as its requests are answered.
_BUDGET = 15_000


def document(address: str, profile: Path) -> str:
    """A page's document after its scripts have run.

    Args:
        address: `http://...` or `file://...`.
        profile: A folder for what the browser writes.
    """
    return _run(profile, "--dump-dom", address)


def picture(address: str, profile: Path, out: Path, *, width: int, height: int) -> None:
    """Takes a PNG of a page.

    Args:
        address: `http://...` or `file://...`.
        profile: A folder for what the browser writes.
        out: The PNG file.
        width: Of the window, in pixels; a page at less than 500 is shown in a frame.
        height: Of the window, in pixels.
    """
    _run(profile, f"--screenshot={out}", f"--window-size={width},{height}", address)


def _run(profile: Path, *options: str) -> str:
    found = next(filter(None, map(shutil.which, _NAMES)), None)
    if found is None:
        pytest.skip("there is no chromium on this machine")
    done = subprocess.run(
        [
            *[found, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"],
            *["--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking"],
            *[f"--user-data-dir={profile}", f"--virtual-time-budget={_BUDGET}", *options],
        ],
        capture_output=True,
        text=True,
        timeout=240,
        check=True,
    )
    return done.stdout
