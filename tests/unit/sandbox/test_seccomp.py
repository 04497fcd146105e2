import re
from pathlib import Path

import pytest

from deepsigns_registry.sandbox.seccomp import DENIED

_HEADERS = (
    Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    Path("/usr/include/asm-generic/unistd.h"),
)


@pytest.mark.parametrize(("column", "header"), list(enumerate(_HEADERS)))
def test_numbers_are_those_of_the_kernels_headers(column: int, header: Path) -> None:
    """As far as the headers are there: a call that they do not know is newer."""
    text = header.read_text() if header.exists() else ""
    known = dict(re.findall(r"#define __NR_(\w+) (\d+)\b", text))
    wrong = {
        name: (numbers[column], int(known[name]))
        for name, numbers in DENIED.items()
        if name in known and numbers[column] != int(known[name])
    }
    assert not wrong


def test_no_number_is_denied_twice() -> None:
    for column in (0, 1):
        numbers = [pair[column] for pair in DENIED.values() if pair[column] >= 0]
        assert len(numbers) == len(set(numbers))
