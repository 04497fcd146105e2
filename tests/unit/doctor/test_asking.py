"""One question to a server: bounded, and its failures in the words of `registry.unreachable`."""

import pytest

from deepsigns_registry.doctor.asking import ask, is_server
from deepsigns_registry.errors import ConfigurationError, CouldNotCheckError
from tests.support.installation import said_by


def test_an_answer() -> None:
    with said_by({"/version": "3.17.1"}) as uri:
        answer = ask(f"{uri}/", "/version")
    assert (answer.status, answer.text) == (200, "3.17.1")
    assert answer.headers["date"]


def test_a_long_answer_is_cut() -> None:
    with said_by({"/version": "x" * 100_000}) as uri:
        assert len(ask(uri, "/version").text) <= 4096


def test_nobody_answers() -> None:
    with pytest.raises(CouldNotCheckError, match="the MLflow server does not answer"):
        ask("http://127.0.0.1:1", "/version")


def test_no_address() -> None:
    with pytest.raises((CouldNotCheckError, ConfigurationError)):
        ask("http://[", "/version")
    assert not is_server("sqlite:///mlflow.db")
