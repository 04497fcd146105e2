"""A private folder for what a stranger sent, and its removal whatever that was.

`shutil.rmtree` goes into folders by calling itself and holds each of them open, so that a thousand
folders inside each other end it halfway, with an error of Python's and the rest left behind.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex

__all__ = ["remove_tree", "scratch_folder"]


@contextmanager
def scratch_folder(prefix: str = "deepsigns-", *, within: Path | None = None) -> Iterator[Path]:
    """A new folder that only this user may enter, there for as long as the block lasts.

    Args:
        prefix: What its name begins with.
        within: The folder that it is made in; the system's own for such by default.

    Raises:
        OSError: It cannot be made.

    Examples:
        >>> with scratch_folder() as folder:
        ...     inside = folder.is_dir()
        >>> inside, folder.exists()
        (True, False)
    """
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=within))
    try:
        yield folder
    finally:
        remove_tree(folder)


def remove_tree(folder: Path) -> None:
    """Removes a folder and all that is in it; follows no link, and leaves what will not go.

    A folder inside it is not gone into: what it holds is moved up first. So no path grows longer
    than three names, however deep the folders were.

    Examples:
        >>> folder = Path(tempfile.mkdtemp())
        >>> (folder / "a" / "b").mkdir(parents=True)
        >>> remove_tree(folder)
        >>> folder.exists()
        False
    """
    # Taken by nobody: whoever sent the files could not know the token.
    moved, number = f".{token_hex(8)}-", 0
    try:
        while waiting := _emptied(folder):
            for place in waiting:
                for name in _names(place):
                    number += 1
                    os.rename(f"{place}/{name}", f"{folder}/{moved}{number}")  # noqa: PTH104
                os.rmdir(place)  # noqa: PTH106
        folder.rmdir()
    except OSError:
        return


def _emptied(folder: Path) -> list[str]:
    """Removes what is no folder; what is left there."""
    left = []
    with os.scandir(folder) as entries:
        for entry in list(entries):
            if entry.is_dir(follow_symlinks=False):
                left.append(entry.path)
            else:
                os.unlink(entry.path)  # noqa: PTH108
    return left


def _names(folder: str) -> list[str]:
    os.chmod(folder, 0o700)  # noqa: PTH101 - a folder that may not be entered cannot be emptied
    with os.scandir(folder) as entries:
        return [entry.name for entry in entries]
