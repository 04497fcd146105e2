"""The three kinds of answer have codes of their own, and every error survives a process."""

import pickle

import pytest

from deepsigns_registry import errors
from deepsigns_registry.errors import (
    ConfigurationError,
    CouldNotCheckError,
    DeepSignsError,
    RefusedError,
    TamperedError,
)


def test_no_could_not_check_and_tampered_are_never_confused() -> None:
    codes = {RefusedError: 1, ConfigurationError: 2, CouldNotCheckError: 3, TamperedError: 4}
    for kind, code in codes.items():
        assert kind.exit_code == code
        others = [other for other in codes if other is not kind]
        assert not any(issubclass(kind, other) for other in others)


@pytest.mark.parametrize("name", [name for name in errors.__all__ if name.endswith("Error")])
def test_an_error_survives_pickling(name: str) -> None:
    kind: type[DeepSignsError] = getattr(errors, name)
    again = pickle.loads(pickle.dumps(kind("what: where", advice="do this")))  # noqa: S301
    assert type(again) is kind
    assert str(again) == "what: where; do this"


def test_a_message_is_one_line() -> None:
    assert str(RefusedError("a\n b", advice="c\n\td")) == "a b; c d"


def test_codes_are_unique() -> None:
    kinds = [getattr(errors, name) for name in errors.__all__ if name.endswith("Error")]
    assert len({kind.code for kind in kinds}) == len(kinds)


def test_nothing_in_an_error_steers_a_terminal() -> None:
    error = RefusedError("a\x1b[2Jb\nc", advice="\x07d", public="e\x9bf")
    assert (error.message, error.advice, error.public) == ("a [2Jb c", "d", "e f")
