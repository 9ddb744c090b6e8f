"""`commit`, which trusts no commit that a failover may lose, and `altering`: a transaction that alters the schema."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from cidrgate.stores.postgres.database import BEGIN, LONGEST_SILENCE
from cidrgate.stores.postgres.failures import refused_commit
from cidrgate.stores.writes import confirmed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

    from cidrgate.stores.postgres.database import Database
    from cidrgate.stores.unknown_outcomes import Check

__all__ = ["altering", "commit"]

_TAKE_TURNS = text("SELECT pg_advisory_xact_lock(hashtext('cidrgate migrate'))")


@contextmanager
def altering(database: Database, lock_timeout: float, check: Check) -> Iterator[Connection]:
    """Begin a transaction that alters the schema or grants rights, and commit it at the end of the block.

    Several processes take turns.

    Args:
        database: The database.
        lock_timeout: How many seconds a statement waits for a lock.
        check: What to do after the answer to the commit was lost.

    Raises:
        OutcomeUnknownError: If the answer to the commit was lost.
        sqlalchemy.exc.SQLAlchemyError: If the database cannot be reached, or refuses it.
    """
    # In a separate session on the server itself, without a pooler, so that no other client gets this session.
    direct = replace(database, pooled=None)
    begin = direct.begin("READ COMMITTED", writes=True)  # whoever waited for a turn sees what the others have done
    engine = direct.engine(1, lock_timeout).execution_options(**{BEGIN: begin, "schema_translate_map": None})
    try:
        with engine.connect() as connection, connection.begin():
            driver: Any = connection.connection.driver_connection
            driver.silence = LONGEST_SILENCE
            connection.execute(_TAKE_TURNS)
            yield connection
            with confirmed(database.name, refused_commit, check):
                commit(connection)
    finally:
        engine.dispose()


def commit(connection: Connection) -> None:
    """Commit a transaction.

    Raises:
        _UnreplicatedError: If the server stopped waiting for its synchronous standby: a failover may lose the change.
    """
    driver: Any = connection.connection.driver_connection
    driver.unreplicated.clear()
    connection.commit()
    if driver.unreplicated:
        raise _UnreplicatedError(driver.unreplicated[-1])


class _UnreplicatedError(SQLAlchemyError):
    """A change is committed on this server, and perhaps not on its synchronous standby."""
