"""What stands where the file should be, and files that change while they are read."""

import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Thread

from benchmarks.hostile.tricks.writing import ordinary, written

_LONGEST = 5.0


def pipe(folder: Path) -> Path:
    os.mkfifo(folder / "suspect.onnx")
    return folder / "suspect.onnx"


def folder_in_its_place(folder: Path) -> Path:
    (folder / "suspect.onnx").mkdir()
    return folder / "suspect.onnx"


def endless_device(_folder: Path) -> Path:
    return Path("/dev/zero")


def terminal_of_the_process(_folder: Path) -> Path:
    return Path("/dev/tty")


def listening_socket(folder: Path) -> Path:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(folder / "suspect.onnx"))
    return folder / "suspect.onnx"


def link_to_nothing(folder: Path) -> Path:
    (folder / "suspect.onnx").symlink_to(folder / "nothing")
    return folder / "suspect.onnx"


def link_to_itself(folder: Path) -> Path:
    (folder / "suspect.onnx").symlink_to("suspect.onnx")
    return folder / "suspect.onnx"


def link_to_a_secret(folder: Path) -> Path:
    (folder / "suspect.onnx").symlink_to("/etc/passwd")
    return folder / "suspect.onnx"


def file_of_two_names(folder: Path) -> Path:
    (folder / "other").hardlink_to(written(folder, ordinary()))
    return folder / "suspect.onnx"


def memory_of_the_process(_folder: Path) -> Path:
    return Path("/proc/self/mem")


def endless_file_of_the_kernel(_folder: Path) -> Path:
    return Path("/proc/self/pagemap")


def nothing_there(folder: Path) -> Path:
    return folder / "suspect.onnx"


def name_with_a_zero(folder: Path) -> Path:
    return folder / "suspect\0.onnx"


def name_that_is_too_long(folder: Path) -> Path:
    return folder / ("n" * 5000)


def file_under_a_file(folder: Path) -> Path:
    return written(folder, ordinary()) / "suspect.onnx"


def empty(folder: Path) -> Path:
    return written(folder, b"")


def cut_short(folder: Path) -> Path:
    content = ordinary().SerializeToString()
    return written(folder, content[: len(content) // 2])


def holes_of_a_terabyte(folder: Path) -> Path:
    path = written(folder, ordinary())
    os.truncate(path, 2**40)
    return path


def zeros_behind_the_end(folder: Path) -> Path:
    return written(folder, ordinary().SerializeToString() + bytes(2**20))


def another_format(folder: Path) -> Path:
    return written(folder, b"\x80\x04cos\nsystem\n(S'true'\ntR." * 1000)


def archive_in_its_place(folder: Path) -> Path:
    return written(folder, b"PK\x03\x04" + bytes(1000))


def length_beyond_the_end(folder: Path) -> Path:
    """A field that claims four gibibytes."""
    return written(folder, b"\x3a\xff\xff\xff\xff\x0f" + ordinary().SerializeToString())


def group_that_never_ends(folder: Path) -> Path:
    """Fields of a kind that only the oldest files have, each inside the one before."""
    return written(folder, ordinary().SerializeToString() + b"\xfb\x07" * 500_000)


def _while_it_is_read(folder: Path, change: Callable[[Path, int], None]) -> Path:
    path = written(folder, ordinary())

    def changing() -> None:
        ends, turn = time.monotonic() + _LONGEST, 0
        with suppress(OSError):
            while time.monotonic() < ends and folder.is_dir():
                change(path, turn)
                turn += 1
                time.sleep(0.0005)

    Thread(target=changing, daemon=True).start()
    return path


def file_that_grows_and_shrinks(folder: Path) -> Path:
    content = ordinary().SerializeToString()

    def change(path: Path, turn: int) -> None:
        os.truncate(path, len(content) // 2 if turn % 2 else 2**24)

    return _while_it_is_read(folder, change)


def file_that_is_exchanged(folder: Path) -> Path:
    """By a link to a secret, and back."""

    def change(path: Path, turn: int) -> None:
        other = path.with_name("other")
        if turn % 2:
            other.symlink_to("/etc/passwd")
        else:
            other.write_bytes(ordinary().SerializeToString())
        other.replace(path)

    return _while_it_is_read(folder, change)


def file_that_is_written_anew(folder: Path) -> Path:
    content = ordinary().SerializeToString()

    def change(path: Path, turn: int) -> None:
        path.write_bytes(content if turn % 2 else content[::-1])

    return _while_it_is_read(folder, change)
