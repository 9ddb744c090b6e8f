"""The PostgreSQL store: one database for any number of processes on any number of machines.

Everything lies in a schema of its own. Writers lock the rows of the accounts they change, so each reads what it
changes; the database itself holds the rule that no two entries of an account overlap, whoever writes. A position in
the log is the database's own snapshot: what was committed since is exactly what that snapshot does not see.
"""

from __future__ import annotations

import os
import selectors
import time
import uuid
import weakref
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import create_engine, event, insert, make_url, text
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.schema import CreateSchema

from cidrgate.errors import StoreConflictError, StoreError
from cidrgate.stores.bulk import rows_of
from cidrgate.stores.schema import SCHEMA_VERSION, accounts, facts, metadata, utc_text
from cidrgate.stores.sql import Transaction

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from datetime import datetime

    from sqlalchemy import URL, Connection, Engine, Select

    from cidrgate.stores.bulk import NewList

__all__ = ["PostgresStore", "PostgresTransaction", "PostgresWatch", "create_tables"]

_SCHEMA = "cidrgate"
_CHANNEL = "cidrgate_changes"

_LARGEST_BLOCK = 4_096
"""How many ids are taken from the sequence at once, at most."""

_SETTINGS = {
    "connect_timeout": "10",
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
    "tcp_user_timeout": "10000",
    "application_name": "cidrgate",
}
"""A connection over a network that is gone fails within some ten seconds instead of a quarter of an hour."""

_CONFLICTS = frozenset({"23505", "23P01", "40001", "40P01"})
"""Unique and exclusion violation, serialization failure, deadlock: another writer was first."""

_ADVICE = {
    "28": "refuses this user: check the user and the password of the URL, and pg_hba.conf on the server",
    "3D000": "does not exist: create the database first, for example with `createdb`",
    "42501": "refuses this: give the user the right to it, or let the database's administrator run `cidrgate migrate`",
    "42P01": "has no tables of cidrgate: run `cidrgate migrate` first",
    "3F000": "has no schema of cidrgate: run `cidrgate migrate` first",
    "53100": "cannot grow: the server's disk is full; free some space and try again",
    "53300": "has no connection left: raise max_connections on the server, or use fewer processes",
    "25006": "is read-only: name the primary server, not a standby",
    "57P": "was shut down or restarted; try again when it is up",
    "08": "is not reached; check the host, the port and the network",
}

# What SQLAlchemy does not know of: the log's transactions, its triggers, and the signal to followers.
_AFTER_CREATE = (
    "ALTER TABLE changes ADD COLUMN txid xid8 NOT NULL DEFAULT pg_current_xact_id()",
    "CREATE INDEX changes_by_txid ON changes (txid)",
    """
    CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF TG_OP = 'DELETE' AND OLD.sequence < (SELECT log_start FROM facts) THEN
            RETURN OLD;
        END IF;
        RAISE EXCEPTION 'the change log is append-only';
    END $$
    """,
    """
    CREATE FUNCTION refuse_truncation() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION 'the change log is append-only';
    END $$
    """,
    """
    CREATE FUNCTION notify_followers() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM pg_notify('cidrgate_changes', TG_TABLE_SCHEMA);
        RETURN NULL;
    END $$
    """,
    "CREATE TRIGGER changes_refuse BEFORE UPDATE OR DELETE ON changes FOR EACH ROW EXECUTE FUNCTION refuse_change()",
    "CREATE TRIGGER changes_refuse_truncate BEFORE TRUNCATE ON changes EXECUTE FUNCTION refuse_truncation()",
    "CREATE TRIGGER changes_notify AFTER INSERT ON changes FOR EACH STATEMENT EXECUTE FUNCTION notify_followers()",
)

_POSITION = text(
    """
    SELECT facts.store_id, (pg_control_system()).system_identifier, pg_current_snapshot()::text,
        greatest((SELECT coalesce(max(sequence), 0) FROM changes), facts.log_start - 1)
    FROM facts
    """
)
_REWOUND = text("SELECT pg_snapshot_xmax(CAST(:seen AS pg_snapshot)) > pg_snapshot_xmax(pg_current_snapshot())")
_CHANGED = text(
    """
    SELECT DISTINCT account FROM changes
    WHERE txid >= pg_snapshot_xmin(CAST(:seen AS pg_snapshot))
        AND NOT pg_visible_in_snapshot(txid, CAST(:seen AS pg_snapshot))
    LIMIT :most
    """
)
_IDS = text("SELECT nextval(pg_get_serial_sequence('entries', 'id')) FROM generate_series(1, :wanted)")


class PostgresTransaction(Transaction):
    """A transaction on PostgreSQL; one that writes locks every account it reads."""

    def __init__(self, connection: Connection, *, writes: bool) -> None:
        super().__init__(connection)
        self._writes = writes
        self._ids = self._take_ids()

    def new_entry_ids(self) -> Iterator[int]:
        """Ids of the sequence, taken in growing blocks."""
        return self._ids

    def _take_ids(self) -> Iterator[int]:
        wanted = 1
        while True:
            yield from self._connection.scalars(_IDS, {"wanted": wanted}).all()
            wanted = min(8 * wanted, _LARGEST_BLOCK)

    def _lock(self, statement: Select[Any]) -> Select[Any]:
        # In one order, so that two writers of many accounts never wait for each other.
        return statement.order_by(accounts.c.id).with_for_update(of=accounts) if self._writes else statement

    def position(self) -> str:
        """The store's own id, the server's, what this transaction sees, and the end of the log."""
        return "|".join(str(part) for part in self._connection.execute(_POSITION).one())

    def changed_since(self, position: str, limit: int) -> set[str] | None:
        """The accounts of rows whose transactions the position did not see; None when nobody can tell."""
        store_id, server, seen, end = [*position.split("|"), "", "", ""][:4]
        now_id, now_server, _, _ = self.position().split("|")
        if (store_id, server) != (now_id, now_server) or not end.isdecimal() or int(end) + 1 < self.log_start():
            return None
        if self._connection.scalars(_REWOUND, {"seen": seen}).one():
            return None
        found = set(self._connection.scalars(_CHANGED, {"seen": seen, "most": limit + 1}))
        return found if len(found) <= limit else None

    def insert_lists(self, lists: Sequence[NewList], *, at: datetime, actor: str | None) -> None:
        """Store the first entries of many accounts, and log them, with COPY."""
        if not lists:
            return
        moment = utc_text(at)
        needed = sum(len(new.cidrs) for new in lists)
        rows = rows_of(lists, iter(self._connection.scalars(_IDS, {"wanted": needed}).all()), at, actor)
        by = _copied(actor)
        self._copy(
            "entries (id, account_id, cidr, label, expires_at, created_at, created_by)",
            (
                f"{entry_id}\t{account_id}\t{cidr}\t{_copied(label)}\t{_copied(end)}\t{moment}\t{by}\n"
                for entry_id, account_id, cidr, label, end in rows.entries
            ),
        )
        self._copy(
            "changes (at, actor, account, action, before, after)",
            (f"{moment}\t{by}\t{_copied(account)}\tadd\t[]\t{_copied(after)}\n" for account, after in rows.changes),
        )
        self._raise_versions(new.account_id for new in lists)

    def _copy(self, target: str, lines: Iterable[str]) -> None:
        driver: Any = self._connection.connection.driver_connection
        with driver.cursor() as cursor, cursor.copy(f"COPY {target} FROM STDIN") as copy:
            copy.write("".join(lines))


class PostgresWatch:
    """Waits for the notification that every commit of a change sends.

    Args:
        url: The database.
        schema: The schema whose changes count.
    """

    def __init__(self, url: URL, schema: str) -> None:
        import psycopg

        self._schema = schema
        self._errors = psycopg.Error
        self._woken, self._waker = os.pipe()
        os.set_blocking(self._woken, False)
        os.set_blocking(self._waker, False)
        self._selector = selectors.DefaultSelector()
        self._connection: psycopg.Connection[Any] | None = None
        try:
            self._connection = psycopg.connect(
                url.set(drivername="postgresql").render_as_string(hide_password=False), autocommit=True
            )
            self._connection.execute(f"LISTEN {_CHANNEL}")
        except BaseException:
            self.close()
            raise
        self._selector.register(self._connection.fileno(), selectors.EVENT_READ)
        self._selector.register(self._woken, selectors.EVENT_READ)

    def wait(self, timeout: float) -> bool:
        """Wait until something was committed, `wake` is called, or the time is over.

        Args:
            timeout: Seconds.

        Returns:
            Whether something was committed.

        Raises:
            StoreError: If the connection is lost.
        """
        end = time.monotonic() + timeout
        while not self._notified():
            left = end - time.monotonic()
            if left <= 0:
                return False
            ready = [key.fd for key, _ in self._selector.select(left)]
            if self._woken in ready:
                os.read(self._woken, 4096)
                return self._notified()
        return True

    def wake(self) -> None:
        """End the wait of another thread, or the next one."""
        try:
            os.write(self._waker, b"\0")
        except OSError:  # it is awake already, or closed
            return

    def close(self) -> None:
        """Close the connection."""
        self._selector.close()
        if self._connection is not None:
            self._connection.close()
        os.close(self._woken)
        os.close(self._waker)

    def _notified(self) -> bool:
        if self._connection is None:
            return False
        try:
            # Every one of them is taken, so that the next wait really waits.
            payloads = [notice.payload for notice in self._connection.notifies(timeout=0)]
        except self._errors as error:
            raise StoreError(f"the connection that listens for changes is lost: {error}") from error
        return self._schema in payloads


class PostgresStore:
    """A store in a PostgreSQL database.

    Usable from several threads. Every failure of the database is a `StoreError` that says what to do.

    Args:
        url: `postgresql://user:password@host:port/database`, with libpq's parameters after a question mark; `schema`
            there names another schema than `cidrgate`.

    Raises:
        StoreError: If the database cannot be reached, or its tables are missing, too old or too new.
    """

    writers = 2

    def __init__(self, url: str) -> None:
        self._url, self._schema = _parsed(url)
        self._name = _named(self._url)
        self._closed = False
        self._engine = _make_engine(self._url, self._schema)
        self._reading = self._engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        self._close = weakref.finalize(self, self._engine.dispose)
        try:
            with self._explained(), self._reading.begin() as connection:
                _check_version(connection, self._name)
        except BaseException:
            self.close()
            raise

    def read(self) -> AbstractContextManager[PostgresTransaction]:
        """A transaction that sees one committed state of the store and changes nothing.

        Raises:
            StoreError: If the store is closed or cannot be read.
        """
        return self._transaction(self._reading, writes=False)

    def write(self) -> AbstractContextManager[PostgresTransaction]:
        """A transaction that keeps other writers off the accounts it reads; committed at the end of the block.

        An exception inside the block, or a commit that fails, leaves the store as it was.

        Raises:
            StoreConflictError: If another writer was first, in a way only the database found out.
            StoreError: If the store is closed, or cannot be written.
        """
        return self._transaction(self._engine, writes=True)

    def watch(self) -> PostgresWatch:
        """What waits for the commits of others, to be closed by the caller.

        Raises:
            StoreError: If the database cannot be reached.
        """
        with self._explained():
            return PostgresWatch(self._url, self._schema)

    def close(self) -> None:
        """Close every connection. May be called twice."""
        self._closed = True
        self._close()

    def after_fork(self) -> None:
        """Go on in a forked child, with connections of its own."""
        self._inherited = self._engine.pool  # kept, as what nobody refers to would be closed
        self._engine.dispose(close=False)

    @contextmanager
    def _transaction(self, engine: Engine, *, writes: bool) -> Iterator[PostgresTransaction]:
        with self._explained():
            if self._closed:
                raise StoreError(f"{self._name} is closed; open it again")
            with engine.begin() as connection:
                yield PostgresTransaction(connection, writes=writes)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        with explained(self._name):
            yield


def create_tables(url: str) -> None:
    """Create the schema and its tables in a database that has none of ours.

    Raises:
        StoreError: If the database cannot be reached, or refuses it.
    """
    parsed, schema = _parsed(url)
    engine = _make_engine(parsed, schema)
    name = _named(parsed)
    try:
        with explained(name), engine.begin() as connection:
            connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('cidrgate migrate'))"))
            if _version(connection):
                return
            connection.execute(CreateSchema(schema, if_not_exists=True))
            connection.execute(text("CREATE EXTENSION IF NOT EXISTS btree_gist"))
            metadata.create_all(connection)
            for statement in _AFTER_CREATE:
                connection.exec_driver_sql(statement)
            connection.execute(insert(facts).values(store_id=uuid.uuid4().hex))
            connection.exec_driver_sql("CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY)")
            connection.execute(
                text("INSERT INTO alembic_version VALUES (:version)"), {"version": f"{SCHEMA_VERSION:04}"}
            )
    finally:
        engine.dispose()


@contextmanager
def explained(name: str) -> Iterator[None]:
    """Turn the database's errors into a `StoreError` that says what to do.

    Args:
        name: What the store is called, without its password.
    """
    try:
        yield
    except SQLAlchemyError as error:
        raise _explanation(name, getattr(error, "orig", None) or error) from error
    except UnicodeEncodeError as error:
        raise StoreError(f"{name} holds Unicode text only: {error}") from error
    except Exception as error:
        if type(error).__module__.partition(".")[0] != "psycopg":
            raise
        raise _explanation(name, error) from error


def _explanation(name: str, cause: BaseException) -> StoreError:
    state = getattr(cause, "sqlstate", None) or ""
    if state in _CONFLICTS:
        return StoreConflictError(f"{name} was changed by another writer at the same time: {cause}")
    for beginning, advice in _ADVICE.items():
        if state.startswith(beginning):
            return StoreError(f"{name} {advice}")
    if "NUL" in str(cause):
        return StoreError(f"{name} holds text without NUL characters only: leave them out")
    if not state and type(cause).__name__ == "OperationalError":
        return StoreError(f"{name} is not reached: {cause}")
    return StoreError(f"{name} failed: {cause}")


def _parsed(url: str) -> tuple[URL, str]:
    """The URL with its settings filled in, and the schema."""
    try:
        parsed = make_url(url).set(drivername="postgresql+psycopg")
    except ArgumentError as error:
        raise StoreError("this is no URL of a PostgreSQL database: write postgresql://user@host/database") from error
    schema = parsed.query.get("schema", _SCHEMA)
    if not isinstance(schema, str) or not schema.isidentifier():
        raise StoreError(f"{schema!r} cannot name a schema: use letters, digits and underscores")
    parsed = parsed.difference_update_query(["schema"])
    missing = {name: value for name, value in _SETTINGS.items() if name not in parsed.query}
    return parsed.update_query_dict(missing), schema


def _named(url: URL) -> str:
    """How a store is called in messages: without its password and settings."""
    shown = url.set(drivername="postgresql", query={}).render_as_string(hide_password=True)
    return f"the store {shown}"


def _make_engine(url: URL, schema: str) -> Engine:
    try:
        engine = create_engine(url, native_inet_types=False, pool_pre_ping=True, pool_size=5, max_overflow=10)
    except ModuleNotFoundError as error:
        raise StoreError("PostgreSQL needs psycopg: pip install 'cidrgate[postgres]'") from error

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _record: object) -> None:
        connection.autocommit = True
        connection.execute(f'SET search_path TO "{schema}", public')
        connection.execute("SET timezone TO 'UTC'")
        connection.autocommit = False

    return engine


def _version(connection: Connection) -> int:
    """The version of the schema in a database, 0 where there is none."""
    if connection.scalars(text("SELECT to_regclass('alembic_version') IS NULL")).one():
        return 0
    return int(connection.scalars(text("SELECT version_num FROM alembic_version")).one())


def _check_version(connection: Connection, name: str) -> None:
    version = _version(connection)
    if version == 0:
        raise StoreError(f"{name} has no tables of cidrgate: run `cidrgate migrate` first")
    if version < SCHEMA_VERSION:
        raise StoreError(
            f"{name} has schema version {version}, this cidrgate needs {SCHEMA_VERSION}: run `cidrgate migrate`"
        )
    if version > SCHEMA_VERSION:
        raise StoreError(
            f"{name} has schema version {version}, made by a newer cidrgate; this one knows versions up to "
            f"{SCHEMA_VERSION}: upgrade cidrgate"
        )


def _copied(value: str | None) -> str:
    r"""A text as COPY reads it: `\N` for none.

    >>> print(_copied("a\tb"), _copied(None))
    a\tb \N
    """
    if value is None:
        return r"\N"
    if value.isalnum():
        return value
    return value.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")
