"""What a loader leaves beside a signed model does not count, and what could be executed does."""

import py_compile
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from deepsigns_registry.attestation.bundle import verify_folder, write_bundles
from deepsigns_registry.attestation.digests import digest_folder
from deepsigns_registry.attestation.leftovers import drop_leftovers, remove
from deepsigns_registry.attestation.policy import Policy
from deepsigns_registry.attestation.signing import FileSigner
from deepsigns_registry.attestation.statement import WatermarkPredicate, watermark_statement
from deepsigns_registry.errors import TamperedError

TAG = sys.implementation.cache_tag
CACHED = f"code/__pycache__/features.{TAG}.pyc"


@pytest.fixture
def model(tmp_path: Path, signer: FileSigner, predicate: WatermarkPredicate) -> Path:
    """A signed model with code."""
    folder = tmp_path / "model"
    (folder / "code" / "team").mkdir(parents=True)
    (folder / "MLmodel").write_text("flavors: {}\n")
    # The escape makes a warning of the compiler.
    (folder / "code" / "features.py").write_text('SCALE = 16\nassert SCALE\nx = "\\d"\n')
    (folder / "code" / "team" / "__init__.py").write_text("def scale(x):\n    return x / 16\n")
    write_bundles(folder, watermark_statement(digest_folder(folder), predicate), signer)
    return folder


def load(model: Path, *options: str) -> None:
    """What a service does that uses the code."""
    script = "import sys; sys.path.insert(0, sys.argv[1]); import features, team"
    code = str(model / "code")
    done = subprocess.run(
        [sys.executable, "-I", "-W", "ignore", *options, "-c", script, code], check=True
    )
    assert done.returncode == 0
    assert (model / "code" / "team" / "__pycache__").is_dir()


@pytest.mark.parametrize("options", [(), ("-O",), ("-OO",)])
def test_a_load_changes_nothing(model: Path, policy: Policy, options: tuple[str, ...]) -> None:
    before = verify_folder(model, policy)
    load(model, *options)
    after = verify_folder(model, policy)
    assert after.digests == before.digests
    assert after.combined_digest == before.combined_digest
    assert len(after.ignored) == 2
    assert set(after.ignored.values()) == {"byte code of the signed source"}


def test_byte_code_that_was_moved_with_the_model_is_still_the_source_s(
    model: Path, policy: Policy, tmp_path: Path
) -> None:
    load(model)
    shutil.copytree(model, tmp_path / "else" / "where")
    assert verify_folder(tmp_path / "else" / "where", policy).ignored


def test_a_cache_that_python_has_just_made_is_no_tampering(model: Path, policy: Policy) -> None:
    (model / "code" / "__pycache__").mkdir()
    verify_folder(model, policy)
    (model / f"{CACHED}.139872").write_bytes(b"half")
    assert list(verify_folder(model, policy).ignored) == [f"{CACHED}.139872"]


def other_source(model: Path) -> None:
    path = model.with_name("features.py")
    path.write_text("import os\n")
    py_compile.compile(str(path), str(model / CACHED), dfile=str(model / "code" / "features.py"))


def compile_to(name: str, *, optimize: int = -1) -> Callable[[Path], object]:
    def act(model: Path) -> None:
        target = model / name
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            source = str(model / "code" / "features.py")
            py_compile.compile(source, str(target), optimize=optimize)

    return act


def write(name: str, content: bytes = b"") -> Callable[[Path], object]:
    def act(model: Path) -> None:
        (model / name).parent.mkdir(parents=True, exist_ok=True)
        (model / name).write_bytes(content)

    return act


EXECUTABLE: dict[str, tuple[Callable[[Path], object], str]] = {
    "byte code of another source": (other_source, "something else than the signed source"),
    "optimised, and not called so": (compile_to(CACHED, optimize=2), "something else"),
    "of a module that is not there": (
        compile_to(f"code/__pycache__/evil.{TAG}.pyc"),
        "is no byte code of a signed source",
    ),
    "where the source would be": (compile_to("code/evil.pyc"), "was added and is not signed;"),
    "beside the source": (compile_to("code/features.pyc"), "was added and is not signed;"),
    "of another Python": (
        compile_to("code/__pycache__/features.cpython-39.pyc"),
        rf"another Python \(cpython-39\) than this one \({TAG}\), which cannot compare",
    ),
    "no byte code": (write(CACHED, b"\0" * 40), "is byte code of another Python"),
    "a source in the cache": (write("code/__pycache__/evil.py"), "is no byte code of a signed"),
    "a library": (write("code/features.so"), "was added and is not signed;"),
    "a cache of another program": (
        write(f"code/__pycache__/features.{TAG}-pytest-9.pyc"),
        "another Python",
    ),
    "a note that the policy does not name": (
        write("code/.DS_Store"),
        r'delete it, or set ignore = \["\.DS_Store"\] under \[policy\]$',
    ),
}


@pytest.mark.parametrize("name", EXECUTABLE)
def test_what_could_be_executed_counts(model: Path, policy: Policy, name: str) -> None:
    act, message = EXECUTABLE[name]
    (model / "code" / "__pycache__").mkdir()
    act(model)
    with pytest.raises(TamperedError, match=message):
        verify_folder(model, policy)


def test_byte_code_of_a_source_that_was_changed_with_it(model: Path, policy: Policy) -> None:
    (model / "code" / "features.py").write_text("import os\n")
    (model / "code" / "__pycache__").mkdir()
    compile_to(CACHED)(model)
    with pytest.raises(TamperedError, match="a source that was changed"):
        verify_folder(model, policy)


def test_the_policy_names_what_is_ignored(model: Path, policy: Policy) -> None:
    for name in (".DS_Store", "code/._features.py", "code/Thumbs.db"):
        write(name)(model)
    ignoring = Policy(policy.keys, ignore=(".DS_Store", "._*"))
    with pytest.raises(TamperedError, match=r"Thumbs\.db"):
        verify_folder(model, ignoring)
    (model / "code" / "Thumbs.db").unlink()
    assert verify_folder(model, ignoring).ignored == {
        ".DS_Store": "the policy ignores .DS_Store",
        "code/._features.py": "the policy ignores ._*",
    }


def test_what_was_ignored_is_not_delivered(model: Path, policy: Policy) -> None:
    load(model)
    remove(model, verify_folder(model, policy).ignored)
    assert not list(model.rglob("__pycache__"))
    assert verify_folder(model, policy).ignored == {}


def test_leftovers_are_not_signed_with_a_model(tmp_path: Path) -> None:
    """Signed, they would count as changed when Python writes them anew."""
    folder = tmp_path / "source"
    for name in ("MLmodel", "code/a.py", ".DS_Store", "code/._a.py", "data/x.bin"):
        write(name)(folder)
    write("code/__pycache__/a.cpython-39.pyc", b"old")(folder)
    write("code/__pycache__/deep/b.bin")(folder)
    (folder / "__pycache__").mkdir()
    drop_leftovers(folder)
    assert sorted(digest_folder(folder)) == ["MLmodel", "code/a.py", "data/x.bin"]
    assert not list(folder.rglob("__pycache__"))
