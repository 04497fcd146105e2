"""Where nothing is protected, the store does what MLflow's own does: results and errors alike."""

import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow.entities.model_registry import ModelVersionTag, RegisteredModelTag
from mlflow.exceptions import MlflowException
from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore
from mlflow_deepsigns.store import DeepSignsStore

NAMES = ("a", "a", "b", "b", "no such", "")
VERSIONS = ("1", "1", "2", "2", "7", "x", "-1")
ALIASES = ("challenger", "blue", "latest", "v3", "", "not ok")
STAGES = ("Staging", "production", "Archived", "None", "nowhere")
MOVES = tuple((stage, archive) for stage in STAGES for archive in (True, False))
SOURCES = ("/srv/model", "models:/a/1", "dummy-source")
KEYS = ("team", "mlflow.note", "", "x" * 300)


@pytest.fixture
def plain(tmp_path: Path, empty_database: Path) -> Iterator[SqlAlchemyStore]:
    shutil.copy(empty_database, tmp_path / "plain.db")
    store = SqlAlchemyStore(f"sqlite:///{tmp_path / 'plain.db'}")
    yield store
    store._dispose_engine()


def calls(seed: int) -> Iterator[tuple[str, tuple[Any, ...]]]:
    draw = random.Random(seed)  # noqa: S311 - the same story for both stores
    pick = draw.choice
    for name in ("a", "b"):
        yield "create_registered_model", (name,)
        yield "create_model_version", (name, "/srv/model")
        yield "create_model_version", (name, "/srv/model")
    for _ in range(120):
        name, version, alias = pick(NAMES), pick(VERSIONS), pick(ALIASES)
        tag = (pick(KEYS), pick(("1", "", "y" * 6000)))
        yield pick(
            [
                ("create_registered_model", (name, [RegisteredModelTag(*tag)], "text")),
                (
                    "create_model_version",
                    (name, pick(SOURCES)),
                ),
                ("create_model_version", (name, "s3://b/m", "r" * 32, [ModelVersionTag(*tag)])),
                ("set_registered_model_alias", (name, alias, version)),
                ("set_registered_model_alias", (name, alias, version)),
                ("delete_registered_model_alias", (name, alias)),
                ("get_model_version_by_alias", (name, alias)),
                (
                    "transition_model_version_stage",
                    (name, version, pick(STAGES), pick((True, False))),
                ),
                ("set_model_version_tag", (name, version, ModelVersionTag(*tag))),
                ("delete_model_version_tag", (name, version, tag[0])),
                ("set_registered_model_tag", (name, RegisteredModelTag(*tag))),
                ("delete_registered_model_tag", (name, tag[0])),
                ("delete_model_version", (name, version)),
                ("get_model_version", (name, version)),
                ("get_model_version_download_uri", (name, version)),
                ("get_latest_versions", (name,)),
                ("get_registered_model", (name,)),
                ("update_model_version", (name, version, "text")),
                ("update_registered_model", (name, "text")),
                ("search_model_versions", (pick(("", f"name = '{name}'", "nonsense")),)),
                ("search_registered_models", ()),
                ("rename_registered_model", (name, pick(NAMES))),
                ("delete_registered_model", (pick((name, "no such")),)),
            ]
        )


def told(value: Any) -> Any:
    """What a store gave, without the times."""
    if isinstance(value, (list, tuple)):
        return [told(each) for each in value]
    if hasattr(value, "__dict__"):
        return {
            key: told(each)
            for key, each in vars(value).items()
            if "time" not in key and not key.startswith("__")
        }
    return value


def outcome(store: SqlAlchemyStore, method: str, arguments: tuple[Any, ...]) -> Any:
    try:
        return told(getattr(store, method)(*arguments))
    except MlflowException as error:
        # Database errors name rows and parameters in an order of their own.
        return error.error_code, error.message.split("Error:", maxsplit=1)[0].splitlines()[0]


@pytest.mark.parametrize("seed", range(8))
def test_the_same_calls_give_the_same_answers(
    store: DeepSignsStore, plain: SqlAlchemyStore, config: Path, seed: int
) -> None:
    text = config.read_text().replace("[registry]", "[registry]\nprotected_stages = []")
    config.write_text(text)
    succeeded = 0
    for method, arguments in calls(seed):
        expected = outcome(plain, method, arguments)
        assert outcome(store, method, arguments) == expected, (method, arguments)
        succeeded += not isinstance(expected, tuple)
    assert succeeded > 30
