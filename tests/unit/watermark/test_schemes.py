"""Schemes of other distributions, really installed: found by name, run only when asked for."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from deepsigns_registry.errors import CouldNotCheckError
from deepsigns_registry.watermark.extract import extract
from deepsigns_registry.watermark.key import RootKey
from deepsigns_registry.watermark.prepare import prepare_record
from deepsigns_registry.watermark.schemes import GROUP, known_schemes, named_schemes
from deepsigns_registry.watermark.suspect import TappedSuspect
from deepsigns_registry.watermark.whitebox import WhiteBox
from tests.support.matched import matched
from tests.support.wheels import Distribution, install

if TYPE_CHECKING:
    from tests.unit.watermark.conftest import Marked

# Another white box: same method, another name and so other keys.
GOOD = """
from deepsigns_registry.watermark.whitebox import WhiteBox


class Second(WhiteBox):
    name = "second"


class Thief(WhiteBox):
    name = "whitebox"
"""
# Whoever runs this module sees it in the list.
BROKEN = """
import sys
from tests.support.matched import matched
sys.path.append("broken was here")
raise RuntimeError("no such library on this machine")
"""


GOOD_POINTS = {
    "second": "theirs_good:Second",
    "whitebox": "theirs_good:Thief",
    "misnamed": "theirs_good:Second",
    "nothing": "builtins:dict",
    "missing": "nowhere:X",
    "twice": "theirs_good:Second",
}
BROKEN_POINTS = {"broken": "theirs_broken:Broken", "twice": "theirs_broken:Broken"}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    good = Distribution("theirs_good", GOOD, GROUP, GOOD_POINTS)
    broken = Distribution("theirs_broken", BROKEN, GROUP, BROKEN_POINTS)
    return install(tmp_path_factory.mktemp("schemes"), [good, broken])


@pytest.fixture(autouse=True)
def _on_the_path(installed: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(installed)
    yield
    for name in {"theirs_good", "theirs_broken"} & sys.modules.keys():
        del sys.modules[name]


def test_names_are_known_without_running_anything() -> None:
    known = known_schemes()
    assert known[:2] == ("whitebox", "blackbox")
    assert {"second", "broken", "misnamed"} <= set(known)
    assert len(set(known)) == len(known)
    assert not {"theirs_good", "theirs_broken"} & sys.modules.keys()


def test_a_plugin_s_scheme_marks_and_reads_like_ours(marked: "Marked") -> None:
    record = prepare_record(
        marked.parent,
        marked.data,
        RootKey(bytes(32), bytes(32)),
        marked.settings,
        schemes=named_schemes(["second", "whitebox"]),
    )
    assert set(record.secrets) == {"second", "whitebox"}
    record.check()
    found = extract(record, TappedSuspect(marked.parent)).evidence
    assert [evidence.scheme for evidence in found] == ["second", "whitebox"]


def test_a_plugin_cannot_replace_one_of_ours() -> None:
    (scheme,) = named_schemes(["whitebox"])
    assert type(scheme) is WhiteBox


def test_our_own_mark_is_read_beside_a_broken_plugin(marked: "Marked") -> None:
    marked.record.check()
    assert matched(extract(marked.record, TappedSuspect(marked.model)).evidence[0]).errors == 0
    assert "broken was here" not in sys.path


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("broken", "'theirs_broken:Broken' cannot be loaded: no such library"),
        ("missing", "'nowhere:X' cannot be loaded: No module named 'nowhere'"),
        ("nothing", "'builtins:dict' does not bring a watermark scheme named 'nothing'"),
        ("misnamed", "'theirs_good:Second' does not bring a watermark scheme named 'misnamed'"),
        ("nobodys", "no plugin brings a watermark scheme named 'nobodys'"),
    ],
)
def test_what_is_no_scheme_is_named(marked: "Marked", name: str, message: str) -> None:
    secrets = {name: marked.record.secrets["whitebox"]}
    with pytest.raises(CouldNotCheckError, match=message):
        replace(marked.record, secrets=secrets).check()


def test_two_plugins_of_one_name_are_no_answer() -> None:
    with pytest.raises(CouldNotCheckError, match="named 'twice': theirs_broken:Broken, theirs_"):
        named_schemes(["twice"])
    assert known_schemes().count("twice") == 1


def test_schemes_that_are_given_are_the_only_ones() -> None:
    with pytest.raises(CouldNotCheckError, match="no watermark scheme named 'second'"):
        named_schemes(["second"], [WhiteBox()])
