# mypy: allow-untyped-calls
"""The store in this process: discovery, settings, transactions, workspaces, replicas."""

import subprocess
import sys
import threading
from importlib.metadata import entry_points
from pathlib import Path

import pytest
import sqlalchemy
from mlflow.entities.model_registry import ModelVersionTag
from mlflow.exceptions import MlflowException
from mlflow.store.model_registry.sqlalchemy_workspace_store import WorkspaceAwareSqlAlchemyStore
from mlflow.tracking._model_registry.utils import _get_store_registry
from mlflow.utils.workspace_context import WorkspaceContext
from mlflow_deepsigns import open_store
from mlflow_deepsigns.store import DeepSignsStore, DeepSignsWorkspaceStore
from mlflow_deepsigns.transactions import database_time

from deepsigns_registry.registry.transitions import PromotionState
from tests.support.patience import HANG


def test_mlflow_discovers_the_store() -> None:
    [found] = entry_points(group="mlflow.model_registry_store", name="deepsigns")
    assert found.load() is open_store
    assert _get_store_registry().get_store_builder("deepsigns:sqlite:///x.db") is open_store


def test_every_client_loads_the_package_so_it_loads_nothing() -> None:
    code = "import sys, mlflow_deepsigns; print(sorted({m.split('.')[0] for m in sys.modules}))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=HANG
    )
    assert "mlflow_deepsigns" in done.stdout
    assert "'mlflow'" not in done.stdout
    assert "deepsigns_registry" not in done.stdout


def make(store: DeepSignsStore, name: str, *folders: Path) -> None:
    store.create_registered_model(name)
    for folder in folders:
        store.create_model_version(name, str(folder))


def state(store: DeepSignsStore, name: str, version: str) -> PromotionState:
    return PromotionState.from_tags(store.get_model_version(name, version).tags)


def test_alias_and_superseded_requests_change_together_or_not_at_all(
    store: DeepSignsStore, unmarked: Path, attested: Path
) -> None:
    make(store, "fraud", unmarked, attested)
    with pytest.raises(MlflowException, match="is queued"):
        store.set_registered_model_alias("fraud", "champion", "1")
    # The database itself refuses to write the superseded request.
    with store.engine.begin() as connection:
        connection.execute(
            sqlalchemy.text(
                "CREATE TRIGGER broken BEFORE UPDATE ON model_version_tags "
                "BEGIN SELECT RAISE(ABORT, 'disk full'); END"
            )
        )
    with pytest.raises(MlflowException, match="disk full"):
        store.set_registered_model_alias("fraud", "champion", "2")
    with pytest.raises(MlflowException, match="alias champion not found"):
        store.get_model_version_by_alias("fraud", "champion")
    assert state(store, "fraud", "1").requests["champion"].state == "queued"


def test_without_settings_everything_that_promotes_is_refused_and_reads_work(
    store: DeepSignsStore, attested: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(store, "fraud", attested)
    monkeypatch.delenv("DEEPSIGNS_CONFIG")
    for attempt in (
        lambda: store.set_registered_model_alias("fraud", "champion", "1"),
        lambda: store.transition_model_version_stage("fraud", "1", "Staging", False),
        lambda: store.create_model_version("fraud", str(attested)),
        lambda: store.rename_registered_model("fraud", "other"),
    ):
        with pytest.raises(MlflowException, match="could not be checked: the server") as caught:
            attempt()
        assert caught.value.error_code == "PERMISSION_DENIED"
    assert len(store.search_model_versions()) == 1
    store.set_model_version_tag("fraud", "1", ModelVersionTag("team", "risk"))


def test_an_empty_policy_is_said_to_trust_nobody(
    store: DeepSignsStore, config: Path, attested: Path
) -> None:
    make(store, "fraud", attested)
    config.write_text('[registry]\nprotected_aliases = ["champion"]\n')
    with pytest.raises(MlflowException, match="trusts nobody") as caught:
        store.set_registered_model_alias("fraud", "champion", "1")
    assert caught.value.error_code == "PERMISSION_DENIED"
    assert state(store, "fraud", "1").requests == {}


def test_many_threads_ask_for_the_same_promotion_and_one_request_is_kept(
    store: DeepSignsStore, unmarked: Path
) -> None:
    make(store, "fraud", unmarked)
    answers: list[str] = []

    def ask() -> None:
        with pytest.raises(MlflowException, match="is queued") as caught:
            store.set_registered_model_alias("fraud", "champion", "1")
        answers.append(caught.value.message)

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 6
    assert len(set(answers)) == 1


def test_a_locked_model_holds_other_transactions_off(store: DeepSignsStore, unmarked: Path) -> None:
    make(store, "fraud", unmarked)
    entered = threading.Event()

    def enter() -> None:
        with store._records.locked("fraud"):
            entered.set()

    other = threading.Thread(target=enter)
    with store._records.locked("fraud"):
        other.start()
        assert not entered.wait(0.5)
    other.join()
    assert entered.is_set()


def test_a_version_that_was_replaced_while_it_was_checked_is_not_promoted(
    store: DeepSignsStore, unmarked: Path, attested: Path
) -> None:
    make(store, "fraud", attested)
    checked = store._records.version("fraud", "1")
    store.delete_registered_model("fraud")
    make(store, "fraud", unmarked)
    with (
        pytest.raises(MlflowException, match="changed while it was checked"),
        store._records.locked("fraud") as records,
    ):
        records.unchanged(checked)


def test_a_read_replica_is_not_asked_whether_a_version_may_be_promoted(
    config: Path,
    database: str,
    tmp_path: Path,
    attested: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert config.exists()
    replica = tmp_path / "replica.db"
    replica.write_bytes((tmp_path / "mlflow.db").read_bytes())
    monkeypatch.setenv("_MLFLOW_SERVER_READ_REPLICA_BACKEND_STORE", f"sqlite:///{replica}")
    store = open_store(f"deepsigns:{database}")
    try:
        make(store, "fraud", attested)
        assert len(store.search_model_versions()) == 0
        store.set_registered_model_alias("fraud", "champion", "1")
        assert store._records.version("fraud", "1").location == str(attested)
    finally:
        store._dispose_engine()
        store.read_engine.dispose()


def test_workspaces_keep_their_promotions_apart(
    config: Path, database: str, unmarked: Path, attested: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert config.exists()
    monkeypatch.setenv("MLFLOW_ENABLE_WORKSPACES", "true")
    store = open_store(f"deepsigns:{database}")
    try:
        assert isinstance(store, DeepSignsWorkspaceStore)
        assert isinstance(store, WorkspaceAwareSqlAlchemyStore)
        with WorkspaceContext("red"):
            make(store, "fraud", unmarked)
            with pytest.raises(MlflowException, match="is queued"):
                store.set_registered_model_alias("fraud", "champion", "1")
        with WorkspaceContext("blue"):
            make(store, "fraud", attested)
            store.set_registered_model_alias("fraud", "champion", "1")
            assert state(store, "fraud", "1").requests == {}
        with WorkspaceContext("red"):
            assert state(store, "fraud", "1").requests["champion"].state == "queued"
    finally:
        store._dispose_engine()


def test_the_databases_clock_is_milliseconds_since_1970(store: DeepSignsStore) -> None:
    import time

    with store.ManagedSessionMaker(read_only=False) as session:
        assert abs(database_time(session) - time.time() * 1000) < 5000
