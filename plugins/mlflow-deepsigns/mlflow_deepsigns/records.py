# mypy: allow-untyped-calls, no-warn-return-any
"""Promotion state in the registry's tables: what is read and written under the model's lock."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from flask import g, has_request_context
from mlflow.entities.model_registry.model_version_stages import STAGE_DELETED_INTERNAL
from mlflow.prompt.constants import _PROMPT_SOURCE_PLACEHOLDERS
from mlflow.store.model_registry.dbmodels.models import (
    SqlModelVersion,
    SqlModelVersionTag,
    SqlRegisteredModelAlias,
)
from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore
from sqlalchemy import or_
from sqlalchemy.orm import Session

from deepsigns_registry.attestation.statement import WatermarkPredicate
from deepsigns_registry.errors import RefusedError
from deepsigns_registry.registry.protocol import LINE_TAG, PREFIXES, PromotionRequest
from deepsigns_registry.registry.shown import (
    LONGEST_DESCRIPTION,
    line_of_marked,
    line_of_source,
    tags_of_marked,
    with_line,
)
from deepsigns_registry.registry.transitions import PromotionState, enqueue
from mlflow_deepsigns.transactions import Sessions, database_time, lock_model

# MLflow's tables are not annotated for mypy.
_TAGS: Any = SqlModelVersionTag

__all__ = ["LockedRecords", "Records", "VersionRow", "is_prompt_source"]


def is_prompt_source(source: str | None) -> bool:
    """Whether a version with this source is a prompt: it has no files that could be served.

    A tag would not do: anybody may put it on an ordinary model.
    """
    return source in _PROMPT_SOURCE_PLACEHOLDERS


@dataclass(frozen=True)
class VersionRow:
    """What the gate needs to know of a version; read from the primary database."""

    name: str
    version: int
    location: str
    is_prompt: bool

    @property
    def label(self) -> str:
        """How messages call it: `name/version`."""
        return f"{self.name}/{self.version}"


class Records:
    """The tables of one store."""

    def __init__(self, store: SqlAlchemyStore, sessions: Sessions) -> None:
        self._store = store
        self._sessions = sessions

    def version(self, name: str, version: str | int) -> VersionRow:
        """One version; raises MLflow's own error when there is none."""
        # A read replica may lag behind: the gate reads where it writes.
        with self._sessions(read_only=False) as session:
            return _row(self._store._get_sql_model_version(session, name, version))  # noqa: SLF001

    def versions(self, name: str) -> list[VersionRow]:
        """All versions of a model that are not deleted."""
        with self._sessions(read_only=False) as session:
            return [_row(found) for found in _alive(self._store, session, name)]

    @contextmanager
    def locked(self, name: str) -> Iterator["LockedRecords"]:
        """One transaction with the model's row locked; MLflow's own methods join it."""
        workspace = self._store._get_active_workspace()  # noqa: SLF001
        with self._sessions.transaction() as session:
            lock_model(session, workspace, name)
            yield LockedRecords(self._store, session, workspace)


class LockedRecords:
    """The same tables inside a transaction that holds the model's lock."""

    def __init__(self, store: SqlAlchemyStore, session: Session, workspace: str) -> None:
        self._store = store
        self._session = session
        self._workspace = workspace

    def now(self) -> int:
        """Milliseconds since 1970 by the database's clock."""
        return database_time(self._session)

    def unchanged(self, row: VersionRow) -> None:
        """Sees that the version still is the one whose files were verified.

        Raises:
            RefusedError: Somebody deleted it and made another of the same number.
        """
        self.is_at(row.name, row.version, row.location)

    def is_at(self, name: str, version: str | int, location: str) -> None:
        """Sees that a version's files are where they were verified.

        Raises:
            RefusedError: They are not.
        """
        found = self._store._get_sql_model_version(self._session, name, version)  # noqa: SLF001
        if _row(found).location != location:
            raise RefusedError(f"{name}/{version} changed while it was checked", advice="try again")

    def no_more_than(self, name: str, rows: Sequence[VersionRow]) -> None:
        """Sees that no version was added to those that were verified.

        Raises:
            RefusedError: One was.
        """
        known = {row.version for row in rows}
        if any(found.version not in known for found in _alive(self._store, self._session, name)):
            raise RefusedError(
                f"{name} got another version while it was checked", advice="try again"
            )

    def aliases_of(self, name: str, version: str | int) -> list[str]:
        """Aliases that point at a version."""
        found = self._query(SqlRegisteredModelAlias).filter(
            SqlRegisteredModelAlias.name == name, SqlRegisteredModelAlias.version == int(version)
        )
        return [alias.alias for alias in found]

    def target(self, name: str, alias: str) -> str | None:
        """The version that an alias points at."""
        found = (
            self._query(SqlRegisteredModelAlias)
            .filter(SqlRegisteredModelAlias.name == name, SqlRegisteredModelAlias.alias == alias)
            .first()
        )
        return None if found is None else str(found.version)

    def move(self, name: str, alias: str, version: str | int) -> None:
        """Points an alias at a version."""
        SqlAlchemyStore.set_registered_model_alias(self._store, name, alias, version)

    def state(self, name: str, version: str | int) -> PromotionState:
        """Promotion state of a version."""
        return PromotionState.from_tags(self._tags(name, version))

    def save(self, name: str, version: str | int, state: PromotionState) -> None:
        """Writes a version's promotion state, and what people read of it."""
        for key, value in state.to_tags().items():
            self.set_tag(name, version, key, value)
        if state.requests:
            self._tell(name, version, line_of_source(state.requests.values()))

    def tell_marked(
        self, row: VersionRow, predicate: WatermarkPredicate, request: PromotionRequest | None
    ) -> None:
        """Writes what people read of a marked version.

        Args:
            row: The version.
            predicate: What its attestation says, verified.
            request: That it was marked for, when it is known.
        """
        for key, value in tags_of_marked(predicate, request).items():
            self.set_tag(row.name, row.version, key, value)
        line = line_of_marked(predicate, name=row.name, version=str(row.version), request=request)
        self._tell(row.name, row.version, line)

    def _tell(self, name: str, version: str | int, line: str | None) -> None:
        before = self._tags(name, version).get(LINE_TAG)
        alive = _alive(self._store, self._session, name)
        found = next((row for row in alive if row.version == int(version)), None)
        if found is None or before == line:
            return
        text = with_line(found.description, before, line)
        # Rather no line of ours than a cut one of somebody else's.
        if len(text) <= LONGEST_DESCRIPTION:
            found.description = text
            found.last_updated_time = self.now()
            self.set_tag(name, version, LINE_TAG, line)

    def set_tag(self, name: str, version: str | int, key: str, value: str | None) -> None:
        """Writes a tag of ours; None removes it."""
        where = {
            "workspace": self._workspace,
            "name": name,
            "version": int(version),
            "key": key,
        }
        if value is not None:
            self._session.merge(SqlModelVersionTag(**where, value=value))
            return
        present = self._session.get(SqlModelVersionTag, where)
        if present is not None:
            self._session.delete(present)

    def enqueue(self, row: VersionRow, alias: str) -> PromotionRequest:
        """Queues a version for an alias; what waits for the alias elsewhere is superseded."""
        self.supersede(row.name, alias, f"version {row.version} was wanted later", but=row.version)
        state, request = enqueue(
            self.state(row.name, row.version),
            model=row.name,
            version=str(row.version),
            alias=alias,
            previous_version=self.target(row.name, alias),
            now=self.now(),
            requested_by=_caller(),
        )
        self.save(row.name, row.version, state)
        return request

    def supersede(self, name: str, alias: str, detail: str, *, but: int | None = None) -> None:
        """Ends what is queued for an alias, on every version (but one)."""
        for version in self._with_requests(name):
            if version != but:
                state = self.state(name, version)
                ended = state.supersede(alias, detail)
                if ended is not state:
                    self.save(name, version, ended)

    def supersede_version(self, name: str, version: str | int, detail: str) -> None:
        """Ends everything that is queued for a version."""
        state = self.state(name, version)
        for request in state.queued():
            state = state.supersede(request.alias, detail)
        self.save(name, version, state)

    def renamed(self, name: str) -> None:
        """Writes a model's new name into its requests."""
        self._session.flush()
        for version in self._with_requests(name):
            self.save(name, version, self.state(name, version).renamed(name))

    def _query(self, model: Any) -> Any:
        return self._store._get_query(self._session, model)  # noqa: SLF001

    def _tags(self, name: str, version: str | int) -> dict[str, str]:
        found = self._own_tags(name).filter(_TAGS.version == int(version))
        return {tag.key: tag.value for tag in found}

    def _with_requests(self, name: str) -> list[int]:
        return sorted({tag.version for tag in self._own_tags(name)})

    def _own_tags(self, name: str) -> Any:
        self._session.flush()
        return self._query(_TAGS).filter(
            _TAGS.name == name, or_(*(_TAGS.key.like(f"{prefix}%") for prefix in PREFIXES))
        )


def _row(found: Any) -> VersionRow:
    return VersionRow(
        name=found.name,
        version=found.version,
        location=found.storage_location or found.source or "",
        is_prompt=is_prompt_source(found.source),
    )


def _alive(store: SqlAlchemyStore, session: Session, name: str) -> list[Any]:
    query = store._get_query(session, SqlModelVersion)  # noqa: SLF001
    return list(
        query.filter(
            SqlModelVersion.name == name, SqlModelVersion.current_stage != STAGE_DELETED_INTERNAL
        )
    )


def _caller() -> str:
    """The user that MLflow's authentication found, or nothing."""
    return str(getattr(g, "mlflow_authenticated_user", None) or "") if has_request_context() else ""
