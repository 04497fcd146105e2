"""`make test` and `make test-deep` together are the whole suite."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Says of every test that is collected whether it is deep, before any is left out.
COLLECT = """
import sys
import pytest


class Listed:
    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items):
        for item in items:
            deep = item.get_closest_marker("deep") is not None
            print("listed", int(deep), item.path, file=sys.stderr)


sys.exit(pytest.main(["--collect-only", "-q", "-p", "no:cacheprovider", "tests"], [Listed()]))
"""


def test_no_test_is_in_neither_part_and_none_in_both() -> None:
    rules = (ROOT / "Makefile").read_text("utf-8")
    parts = dict(
        re.findall(r"^(test|test-deep): setup\n\t\$\(call suite,\w+,(.*)\)$", rules, re.MULTILINE)
    )
    # A marker and its negation leave nothing out, whatever is marked.
    assert parts == {"test": "not deep", "test-deep": "deep"}
    called = set((ROOT / ".ci/run").read_text("utf-8").split())
    assert {"test", "test-deep", "coverage"} <= called


@pytest.mark.deep
def test_every_file_of_tests_is_collected_and_what_starts_servers_is_deep() -> None:
    done = subprocess.run(
        [sys.executable, "-c", COLLECT], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:]
    found: dict[Path, set[bool]] = {}
    for deep, path in re.findall(r"^listed ([01]) (.*)$", done.stderr, re.MULTILINE):
        found.setdefault(Path(path), set()).add(deep == "1")
    # Some files hold examples for doctest alone; a test is a function or a method.
    files = {
        path
        for path in (ROOT / "tests").rglob("*.py")
        if re.search(r"^\s*(async )?def test_", path.read_text("utf-8"), re.MULTILINE)
    }
    assert files - found.keys() == set()
    assert files
    for path, deep in found.items():
        if "integration" in path.relative_to(ROOT).parts:
            assert deep == {True}, path
    assert any(deep == {False} for deep in found.values())
