"""One database transaction around what MLflow does and what the gate adds to it.

MLflow's store opens a session of its own in every method. `Sessions` makes its session maker
re-entrant within a thread, so that `super().set_registered_model_alias(...)` inside our
transaction is part of it: an alias and the requests that it supersedes change together.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from threading import local

from mlflow.store.model_registry.dbmodels.models import SqlRegisteredModel
from sqlalchemy import text, update
from sqlalchemy.orm import Session

__all__ = ["Sessions", "database_time", "lock_model"]

_MILLISECONDS = {
    "sqlite": "SELECT CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)",
    # Not now(): that is when the transaction began, before it waited for the lock.
    "postgresql": "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)",
    "mysql": "SELECT CAST(UNIX_TIMESTAMP(SYSDATE(3)) * 1000 AS SIGNED)",
    "mssql": "SELECT DATEDIFF_BIG(MILLISECOND, '1970-01-01', SYSUTCDATETIME())",
}


class Sessions:
    """MLflow's session maker, re-entrant inside `transaction`."""

    def __init__(self, maker: Callable[..., AbstractContextManager[Session]]) -> None:
        self._maker = maker
        self._here = local()

    @contextmanager
    def __call__(self, read_only: bool = True) -> Iterator[Session]:
        """A session: the one of the open transaction, else one of its own."""
        session: Session | None = getattr(self._here, "session", None)
        if session is not None:
            yield session
            session.flush()
            return
        with self._maker(read_only=read_only) as session:
            yield session

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """Everything inside is committed together, or not at all."""
        with self._maker(read_only=False) as session:
            self._here.session = session
            try:
                yield session
            finally:
                self._here.session = None


def lock_model(session: Session, workspace: str, name: str) -> None:
    """Holds all others off a registered model until the transaction ends.

    An UPDATE that changes nothing locks the row on every database, and has to come before any
    read, so that what is read afterwards is what was committed last.
    """
    session.execute(
        update(SqlRegisteredModel)
        .where(SqlRegisteredModel.workspace == workspace, SqlRegisteredModel.name == name)
        .values(last_updated_time=SqlRegisteredModel.last_updated_time)
        .execution_options(synchronize_session=False)
    )


def database_time(session: Session) -> int:
    """Milliseconds since 1970 by the database's clock: the only clock that all servers share."""
    dialect = session.get_bind().dialect.name
    return int(session.execute(text(_MILLISECONDS[dialect])).scalar_one())
