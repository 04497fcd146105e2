"""Third parties' schemes read marks as they do in our own process, and can do nothing else."""

import sys
from pathlib import Path

import numpy as np
import pytest

from deepsigns_registry.errors import CouldNotCheckError, TamperedError
from deepsigns_registry.graph.limits import Limits
from deepsigns_registry.guests import reading_schemes
from deepsigns_registry.watermark.interface import HoldsOrdinary
from deepsigns_registry.watermark.manifest import Manifest
from deepsigns_registry.watermark.scheme import Answers, Scheme, SchemeSecret
from deepsigns_registry.watermark.schemes import named_schemes
from deepsigns_registry.watermark.witness import KnowsTap

NUMBERS = np.arange(8, dtype=np.float32).reshape(2, 4)
SECRET = SchemeSecret("guest", {"of": "a test"}, {"kept": np.arange(4)})
MANIFEST = Manifest(np.ones((2, 32), np.uint8), np.zeros(2, np.int64))

PLUGIN = """
import os
import socket
import numpy as np
from deepsigns_registry.errors import TamperedError
from deepsigns_registry.watermark.evidence import Matches
from deepsigns_registry.watermark.interface import Ordinary
from deepsigns_registry.watermark.scheme import Answers, Probes
from deepsigns_registry.watermark.tap import TapAgreement

class Guest:
    name = "guest"
    needs_activation = True
    needs_weight = False

    def prepare(self, preparation): ...
    def objective(self, secret, fitting): ...

    def probes(self, secret):
        print("said on the standard output")
        return Probes(np.ones((2, 3), np.float32))

    def evidence(self, secret, answers):
        if answers.weight is not None:
            return eval(bytes(answers.weight.astype(np.uint8)).decode())
        kept = secret.arrays["kept"]
        return Matches(self.name, len(kept), int(answers.outputs.argmax()) % 5, 0.5)

    def check(self, secret, subkey, manifest):
        if subkey != bytes(32):
            raise TamperedError("not of this key", advice="take another")
        assert len(manifest) == 2

    def ordinary(self, secret):
        return Ordinary(np.ones((2, 3), np.float32), np.ones((2, 4), np.float32))

    def parent_means(self, secret):
        return np.ones((2, 4), np.float32)

    def tap_agreement(self, secret, activation):
        return TapAgreement(float(activation.mean()), False)
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which a plugin is installed."""
    place = tmp_path / "installed"
    (place / "guest-1.dist-info").mkdir(parents=True)
    (place / "guesting.py").write_text(PLUGIN)
    (place / "guest-1.dist-info/METADATA").write_text("Name: guest\nVersion: 1\n")
    (place / "guest-1.dist-info/entry_points.txt").write_text(
        "[deepsigns_registry.schemes]\nguest = guesting:Guest\n"
    )
    monkeypatch.syspath_prepend(str(place))
    return place


def does(program: str) -> Answers:
    """Answers at which the plugin runs this."""
    return Answers(NUMBERS, weight=np.frombuffer(program.encode(), np.uint8).astype(np.float32))


def test_our_own_are_not_put_into_rooms() -> None:
    with reading_schemes(["spread", "whitebox"]) as schemes:
        assert [type(each) for each in schemes] == [
            type(each) for each in named_schemes(["spread", "whitebox"])
        ]


@pytest.mark.usefixtures("installed")
def test_a_guest_answers_as_it_would_here() -> None:
    with reading_schemes(["guest"]) as schemes:
        (guest,) = schemes
        assert isinstance(guest, Scheme)
        assert isinstance(guest, HoldsOrdinary)
        assert isinstance(guest, KnowsTap)
        assert (guest.name, guest.needs_activation, guest.needs_weight) == ("guest", True, False)
        np.testing.assert_array_equal(guest.probes(SECRET).inputs, np.ones((2, 3), np.float32))
        found = guest.evidence(SECRET, Answers(NUMBERS))
        assert found.figures() == {"trials": 4, "matches": 2, "errors": 2, "chance": 0.5}
        guest.check(SECRET, bytes(32), MANIFEST)
        ordinary = guest.ordinary(SECRET)
        assert ordinary is not None
        assert ordinary.outputs.shape == (2, 4)
        assert guest.parent_means(SECRET).shape == (2, 4)
        assert guest.tap_agreement(SECRET, NUMBERS) == (3.5, False)
    assert "guesting" not in sys.modules


@pytest.mark.usefixtures("installed")
def test_a_guest_may_call_something_tampered() -> None:
    with (
        reading_schemes(["guest"]) as (guest,),
        pytest.raises(TamperedError, match="not of this key; take another"),
    ):
        guest.check(SECRET, bytes(31) + b"1", MANIFEST)


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("1 / 0", "ZeroDivisionError"),
        ("Matches('whitebox', 1, 1, 0.5)", "`evidence` gave something else"),
        ("Matches('guest', True, 1, 0.5)", "`evidence` gave something else"),
        ("Matches('guest', 1, 1, float('nan'))", "impossible evidence"),
        ("Probes(np.ones((1, 1), np.float32))", "`evidence` gave something else"),
        ("object()", "a object is nothing that a scheme gives"),
        ("os._exit(7)", "exit code 7"),
        ("np.ones(2**30)", "MemoryError|MiB of memory|allocate"),
        ("iter(int, 1).__class__ and [None for _ in iter(int, 1)]", "seconds|SIG|MiB of memory"),
    ],
)
@pytest.mark.usefixtures("installed")
def test_whatever_a_guest_does_is_one_line(program: str, said: str) -> None:
    limits = Limits(seconds=20, resident_bytes=2**30)
    with (
        reading_schemes(["guest"], limits) as (guest,),
        pytest.raises(CouldNotCheckError, match=said) as caught,
    ):
        guest.evidence(SECRET, does(program))
    assert "scheme 'guest'" in str(caught.value)


@pytest.mark.parametrize(
    "program",
    [
        "open({key!r}).read()",
        "open({beside!r}, 'w')",
        "socket.create_connection(('127.0.0.1', {port}), 5)",
        "os.kill({parent}, 0)",
        "os.fork()",
    ],
)
def test_a_guest_gets_at_nothing(installed: Path, tmp_path: Path, program: str) -> None:
    import os
    import socket

    key = tmp_path / "owner.pem"
    key.write_text("PRIVATE KEY")
    with socket.create_server(("127.0.0.1", 0)) as server, reading_schemes(["guest"]) as (guest,):
        filled = program.format(
            key=str(key),
            beside=str(installed / "evil.py"),
            port=server.getsockname()[1],
            parent=os.getpid(),
        )
        with pytest.raises(CouldNotCheckError) as caught:
            guest.evidence(SECRET, does(f"Matches('guest', 1, int({filled} is None), 0.5)"))
    assert "PRIVATE" not in str(caught.value)
    assert "gave something else" not in str(caught.value)
    assert not (installed / "evil.py").exists()


def test_nobody_brings_it() -> None:
    with (
        pytest.raises(CouldNotCheckError, match="no plugin brings a watermark scheme"),
        reading_schemes(["nobody"]),
    ):
        pass
