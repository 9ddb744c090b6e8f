"""`Database`: reads the URL of a PostgreSQL database with the schema of our tables, and creates connections."""

from __future__ import annotations

import re
import select
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self, cast
from urllib.parse import quote, quote_plus

from sqlalchemy import create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, DisconnectionError, InvalidatePoolError

from cidrgate.errors import StoreError
from cidrgate.process.forking import loading
from cidrgate.stores.connection_pool import ENDED, ConnectionPool
from cidrgate.stores.postgres.dialect import NAME
from cidrgate.stores.postgres.hosts import Hosts
from cidrgate.stores.postgres.lineage import Lineage
from cidrgate.stores.postgres.settings import KEEP_COMMITS, configure_session, last_row, set_locally
from cidrgate.stores.urls import is_ambiguous, redacted
from cidrgate.stores.waits import LOCK_TIMEOUT, check_lock_timeout

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import URL, Connection, Engine

    from cidrgate.stores.postgres.connections import BoundedConnection
    from cidrgate.values import Duration

__all__ = ["BEGIN", "LONGEST_SILENCE", "Database"]

BEGIN = "cidrgate_begin"
"""The execution option with the statement that begins a transaction; None if a single statement needs none."""

LONGEST_SILENCE = 600.0
"""Seconds that the answer to one large message may take: all lists, an import, a new index."""

_SCHEMA = "cidrgate"

_CONNECT_TIMEOUT = 10
"""Seconds that a new connection may take, divided among the hosts of a URL: one that is silent must not use all."""

_SHORTEST_CONNECT_TIMEOUT = 2
"""The least that libpq waits for a host, in seconds."""

_SETTINGS = {
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
    "tcp_user_timeout": "10000",
    "application_name": "cidrgate",
}
"""With these settings, a connection over a lost network fails within about ten seconds instead of a quarter of an hour.
"""

_IDLE = 0
"""libpq's PQTRANS_IDLE."""

_ENCODING = {"client_encoding": "UTF8"}
"""Set when the connection is opened, because the first answers are read before a statement could set it."""

_AUTHORITY = re.compile(r"(?P<scheme>[^:/?#]+://)(?:(?P<user>[^/?#]*)@)?(?P<hosts>[^/?#]*)(?P<rest>.*)", re.DOTALL)
_HOST = re.compile(r"\[(?P<ipv6>[^\]]+)\](?::(?P<port6>\d+))?|(?P<name>[^:/\[\]]*)(?::(?P<port>\d+))?|(?P<whole>.+)")
"""A host with its port: an IPv6 address in brackets or a name; or a bare IPv6 address or a folder, without a port."""


@dataclass(frozen=True, slots=True)
class Database:
    """A database, and the schema of our tables in it.

    Attributes:
        arguments: The arguments for libpq, for connections that need their own session: to listen and to migrate.
        pooled: The arguments for transactions through a pooler, which gives a transaction any session; None to use
            `arguments`.
        schema: The schema.
        name: The name of the store in messages: the URL without its password and settings.
        lineage: What proves that each session leads to the same store.
        pool_size: The number of connections for transactions in the URL; None if the URL does not set it.
        lock_timeout: The lock timeout in seconds in the URL; None if the URL does not set it.
        hosts: The order in which the hosts are tried.
    """

    arguments: dict[str, str] = field(repr=False)
    pooled: dict[str, str] | None = field(repr=False)
    schema: str
    name: str
    lineage: Lineage = field(repr=False, compare=False)
    pool_size: int | None = None
    lock_timeout: float | None = None
    hosts: Hosts = field(default_factory=Hosts, repr=False, compare=False)

    @classmethod
    def parse(cls, url: str) -> Self:
        """Read the URL of a database.

        Args:
            url: `postgresql://user:password@host:port/database`, with libpq's parameters after a question mark. Write
                several hosts as `//a:1,b:2/database` or `?host=a:1&host=b:2`; the one that accepts writes is used.
                Additional parameters are `schema` (default: `cidrgate`), `pool_size`, `lock_timeout`, and `pooled_url`:
                the same database behind a pooler, for work that does not need its own session.

        Raises:
            StoreError: If the URL is not valid.

        Example:
            >>> database = Database.parse("postgresql://me:secret@a:1,b/lists?schema=gate")
            >>> database.name, database.schema
            ('the store postgresql://me:***@a:1,b/lists', 'gate')
            >>> database.arguments["host"], database.arguments["port"]
            ('a,b', '1,')
        """
        parsed = _parsed(url)
        own = {name: _single(parsed, name) for name in ("schema", "pooled_url", "pool_size", "lock_timeout")}
        schema = _SCHEMA if own["schema"] is None else own["schema"]
        if not schema.isidentifier():
            raise StoreError(f"{redacted(repr(schema))} cannot name a schema: use letters, digits and underscores")
        arguments = _arguments(parsed.difference_update_query(own))
        pooled = None
        if own["pooled_url"] is not None:
            pooled = _arguments(_parsed(own["pooled_url"]))
        name = f"the store {_shown(parsed, arguments)}"
        return cls(
            arguments,
            pooled,
            schema,
            name,
            Lineage(name, schema),
            _pool_size(own["pool_size"]),
            _lock_timeout(own["lock_timeout"]),
        )

    def connect(self) -> BoundedConnection:
        """Open a connection with its own session, which commits each statement.

        Raises:
            StoreError: If the driver is not installed, or the database cannot be used.
            psycopg.Error: If the database cannot be reached.
        """
        return self._open({**self.arguments, "autocommit": True})

    def chosen_lock_timeout(self, lock_timeout: Duration | None) -> float:
        """Return how many seconds to wait for locks: as an argument says, else as the URL says, else the default."""
        if lock_timeout is not None:
            return check_lock_timeout(lock_timeout)
        return LOCK_TIMEOUT if self.lock_timeout is None else self.lock_timeout

    def _open(self, arguments: dict[str, Any], lock_timeout: float | None = None) -> BoundedConnection:
        driver, arguments = _driver(), self.hosts.in_order(arguments)
        try:
            return self._proven(driver.connect(**arguments), lock_timeout)
        except StoreError:
            for one in _each_host(arguments):  # the server that answered first is not the right one
                with suppress(StoreError, driver.Error):
                    return self._proven(driver.connect(**one), lock_timeout)
            raise

    def _proven(self, connection: BoundedConnection, lock_timeout: float | None) -> BoundedConnection:
        """Return a new connection once its session is configured, and leads to the store."""
        try:
            connection.server = self.lineage.prove(
                lambda columns: configure_session(connection, self.name, lock_timeout, columns)
            )
        except BaseException:
            connection.close()
            raise
        self.hosts.answered(connection.info.host, connection.info.port)
        return connection

    def engine(self, connections: int, lock_timeout: float) -> Engine:
        """Return an engine for transactions, which leaves no state in a session that another client may get.

        Args:
            connections: The largest number of connections. They stay open, because opening one costs more than a change
                of a list.
            lock_timeout: How many seconds to wait for a connection, and in a single statement for a lock.

        Raises:
            StoreError: If the driver is not installed.
        """
        _driver()
        arguments: dict[str, Any] = {**(self.arguments if self.pooled is None else self.pooled), "autocommit": True}
        if self.pooled is not None:
            # Prepared statements belong to one session, and a pooler gives the next transaction another session.
            arguments["prepare_threshold"] = None
        engine = create_engine(
            f"{NAME}://",
            connect_args=arguments,
            native_inet_types=False,
            poolclass=ConnectionPool,
            pool_size=connections,
            max_overflow=0,
            pool_timeout=lock_timeout,
            execution_options={"schema_translate_map": {None: self.schema}},
        )

        if self.pooled is None:

            @event.listens_for(engine, "do_connect")
            def connect(_dialect: object, _record: object, _arguments: object, settings: dict[str, Any]) -> Any:
                return self._open(settings, lock_timeout)

        @event.listens_for(engine, "begin")
        def begin(connection: Any) -> None:
            statement = connection.get_execution_options()[BEGIN]
            if self.pooled is not None:
                self._begin_proven(connection, statement)
            elif statement is not None:
                connection.exec_driver_sql(statement)

        @event.listens_for(engine, "checkout")
        def refuse_lost(connection: Any, _record: object, _proxy: object) -> None:
            if self.pooled is None and not self.lineage.is_current(connection.server):
                raise DisconnectionError("the store is on another server now")
            # A server that ends a connection sends a message. Only a connection with a message is pinged, because a
            # ping of every connection would add a message and its answer to every transaction.
            poll = select.poll()
            poll.register(connection.fileno(), select.POLLIN)
            if poll.poll(0):
                try:
                    engine.dialect.do_ping(connection)
                except connection.Error as error:
                    raise InvalidatePoolError(str(error)) from error

        return engine

    def _begin_proven(self, connection: Connection, statement: str, *, again: bool = True) -> None:
        """Begin a transaction, which a pooler may give to any server, and prove with the same message where it is.

        A pooler may hand over a session that its server is about to end, such as one that was idle for too long. The
        transaction is then begun once more, on another connection: nothing was done in it yet.
        """
        driver = cast("BoundedConnection", connection.connection.driver_connection)

        def ask(columns: str) -> Sequence[Any]:
            if driver.info.transaction_status != _IDLE:  # other columns were refused before
                driver.rollback()
            return last_row(driver, f"{statement}; SELECT {columns}")

        try:
            driver.server = self.lineage.prove(ask)
        except driver.Error as error:
            if driver.closed:
                connection.invalidate(error)
                if again and (error.sqlstate or "").startswith(ENDED):
                    cast("BoundedConnection", connection.connection.driver_connection).silence = driver.silence
                    self._begin_proven(connection, statement, again=False)
                    return
            raise DBAPIError.instance(statement, None, error, driver.Error, dialect=connection.dialect) from error

    def begin(self, isolation: str, *, writes: bool, lock_timeout: float | None = None) -> str:
        """Return the statements that begin a transaction, to be sent as one message.

        Args:
            isolation: The isolation level, which is never left to the default of the session.
            writes: Whether the transaction may write.
            lock_timeout: How many seconds a statement waits for a lock; None for the timeout of the session.
        """
        statements = [f"BEGIN ISOLATION LEVEL {isolation} READ {'WRITE' if writes else 'ONLY'}"]
        if self.pooled is not None:
            statements += set_locally()
            if writes:
                statements.append(KEEP_COMMITS.format(local="true"))
        if lock_timeout is not None:
            statements.append(f"SET LOCAL lock_timeout TO {max(1, round(lock_timeout * 1000))}")
        return "; ".join(statements)


def _driver() -> type[BoundedConnection]:
    try:
        with loading():
            from cidrgate.stores.postgres.connections import BoundedConnection
    except ModuleNotFoundError as error:
        raise StoreError("PostgreSQL needs psycopg: pip install 'cidrgate[postgres]'") from error
    return BoundedConnection


def _parsed(url: str) -> URL:
    """Parse a URL, and move several hosts into a parameter of it."""
    try:
        parts = _AUTHORITY.fullmatch(url)
        if parts is not None and "," in parts["hosts"]:
            user = "" if parts["user"] is None else f"{parts['user']}@"
            path, _, query = parts["rest"].partition("?")
            hosts = f"host={quote_plus(parts['hosts'])}"
            url = f"{parts['scheme']}{user}{path or '/'}?{hosts}{'&' if query else ''}{query}"
        parsed = make_url(url).set(drivername="postgresql+psycopg")
    except (ArgumentError, ValueError):  # their messages may contain a part of a password
        raise StoreError("this is not a valid PostgreSQL URL: write postgresql://user@host/database") from None
    if "@" in f"{parsed.host}{parsed.database}" or is_ambiguous(url):
        raise StoreError(
            "this is not a valid PostgreSQL URL: in a user's name and in a password, write @ as %40, / as %2F"
        )
    return parsed


def _single(url: URL, name: str) -> str | None:
    value = url.query.get(name)
    if isinstance(value, tuple):
        raise StoreError(f"the URL names {name} more than once")
    return value


def _arguments(url: URL) -> dict[str, str]:
    """Return the arguments for libpq."""
    translated = url.translate_connect_args(username="user", database="dbname")
    arguments = {name: str(value) for name, value in translated.items()}
    for name in url.query:
        if name not in ("host", "port"):
            value = _single(url, name)
            assert value is not None  # noqa: S101 - it is in the query
            arguments[name] = value
    hosts, ports = _several(url, "host"), _several(url, "port")
    if hosts:
        places = [_place(host) for host in hosts]
        found = [port for _, port in places]
        if any(found) and ports:
            raise StoreError("the URL names ports both with its hosts and in `port`: choose one of the two")
        if not any(found):
            found = ports or ([arguments["port"]] if "port" in arguments else [])
        if len(found) not in (0, 1, len(places)):
            raise StoreError(f"the URL has {len(places)} hosts and {len(found)} ports: name one port, or one per host")
        arguments["host"] = ",".join(host for host, _ in places)
        arguments.pop("port", None)
        if found:
            arguments["port"] = ",".join(found)
    elif ports:
        arguments["port"] = ",".join(ports)
    count = arguments.get("host", "").count(",") + 1
    if count > 1:
        arguments.setdefault("target_session_attrs", "read-write")
    timeout = {"connect_timeout": str(max(_SHORTEST_CONNECT_TIMEOUT, _CONNECT_TIMEOUT // count))}
    return _SETTINGS | timeout | arguments | _ENCODING


def _each_host(arguments: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the arguments for each of several hosts alone.

    >>> [one["host"] + ":" + one["port"] for one in _each_host({"host": "a,b", "port": "1,2"})]
    ['a:1', 'b:2']
    >>> list(_each_host({"host": "a"}))
    []
    """
    lists = {name: str(arguments[name]).split(",") for name in ("host", "hostaddr", "port") if name in arguments}
    count = max(map(len, lists.values()), default=0)
    for number in range(count if count > 1 else 0):
        yield arguments | {name: one[number if len(one) > 1 else 0] for name, one in lists.items()}


def _several(url: URL, name: str) -> list[str]:
    values = url.query.get(name, ())
    values = (values,) if isinstance(values, str) else values
    return [one for value in values for one in value.split(",")]


def _place(text: str) -> tuple[str, str]:
    """Return a host and its port, which is an empty text for the default port.

    >>> _place("db:6432"), _place("[::1]:6432"), _place("::1"), _place("/run/postgresql")
    (('db', '6432'), ('::1', '6432'), ('::1', ''), ('/run/postgresql', ''))
    """
    found = _HOST.fullmatch(text)
    if found is None:
        return text, ""
    host = found["ipv6"] or found["name"] or found["whole"] or ""
    return host, found["port6"] or found["port"] or ""


def _shown(url: URL, arguments: dict[str, str]) -> str:
    """Return the URL without its password and settings."""
    hosts = arguments.get("host", "").split(",")
    ports = arguments.get("port", "").split(",")
    ports = ports * len(hosts) if len(ports) == 1 else ports
    places = [
        (f"[{host}]" if ":" in host else host) + (f":{port}" if port else "")
        for host, port in zip(hosts, ports, strict=True)
    ]
    user = "" if url.username is None else quote(url.username) + ("" if url.password is None else ":***") + "@"
    return f"postgresql://{user}{','.join(places)}/{url.database or ''}"


def _pool_size(text: str | None) -> int | None:
    if text is None:
        return None
    if not text.isascii() or not text.isdecimal():
        raise StoreError(f"pool_size must be a number of connections, not {redacted(repr(text))}")
    return int(text)


def _lock_timeout(text: str | None) -> float | None:
    try:
        return None if text is None else check_lock_timeout(float(text))
    except ValueError:
        raise StoreError(f"lock_timeout must be a number of seconds above 0, not {redacted(repr(text))}") from None
