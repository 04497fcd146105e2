"""`deepsigns promote` underneath: setting an alias, and waiting for what was queued."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from deepsigns_registry.attestation.signing import FileSigner
from deepsigns_registry.config import Settings, load_settings
from deepsigns_registry.errors import (
    ConfigurationError,
    CouldNotCheckError,
    NotFoundError,
    RefusedError,
)
from deepsigns_registry.registry.aliases import set_alias, wait_for
from deepsigns_registry.registry.requests import claim, promote
from tests.support.patience import HANG

pytestmark = pytest.mark.integration

Register = Callable[[str, Path], str]


def test_a_queued_version_is_waited_for_until_it_is_promoted(
    *,
    client: MlflowClient,
    settings: Settings,
    signer: FileSigner,
    register: Register,
    plain_model: Path,
    attested_model: Path,
    name: str,
) -> None:
    version = register(name, plain_model)
    queued = set_alias(settings, f"{name}/{version}", "champion")
    assert queued.state == "queued"
    assert queued.request is not None
    with pytest.raises(CouldNotCheckError, match="still queued after 0 s"):
        wait_for(settings, queued, seconds=0)

    marked = register(name, attested_model)
    held = claim(client, queued.request, signer, worker="w", ttl=60)
    worker = threading.Thread(
        target=promote,
        args=(client, held, signer, queued.request),
        kwargs={"marked_version": marked},
    )
    worker.start()
    done = wait_for(settings, queued, seconds=HANG)
    worker.join()
    assert (done.state, done.version.version) == ("promoted", marked)
    assert wait_for(settings, set_alias(settings, f"{name}/{marked}", "blue"), seconds=0) == (
        set_alias(settings, f"{name}/{marked}", "blue")
    )


def test_a_superseded_request_is_not_waited_for(
    client: MlflowClient, settings: Settings, register: Register, plain_model: Path, name: str
) -> None:
    queued = set_alias(settings, f"{name}/{register(name, plain_model)}", "champion")
    client.delete_registered_model_alias(name, "champion")
    with pytest.raises(RefusedError, match="not promoted: alias deleted"):
        wait_for(settings, queued, seconds=HANG)


@pytest.mark.parametrize("alias", ["bad alias!", "v1"])
def test_an_alias_that_mlflow_does_not_take_is_a_usage_error(
    *, settings: Settings, register: Register, attested_model: Path, name: str, alias: str
) -> None:
    version = register(name, attested_model)
    with pytest.raises(ConfigurationError, match=r"MLflow says: .*alias name") as caught:
        set_alias(settings, f"{name}/{version}", alias)
    assert caught.value.exit_code == 2


def test_what_cannot_be_promoted_says_why(home: Path, settings: Settings) -> None:
    with pytest.raises(NotFoundError, match="not found"):
        set_alias(settings, "no-such-model/1", "champion")
    path = home / "database.toml"
    path.write_text('[registry]\ntracking_uri = "sqlite:///server/mlflow.db"\n')
    with pytest.raises(ConfigurationError, match="a database has no gate"):
        set_alias(load_settings(path), "fraud/1", "champion")
