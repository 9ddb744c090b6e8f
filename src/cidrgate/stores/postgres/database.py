"""What the URL of a PostgreSQL database means: where it is, the schema of our tables, and how connections are made."""

from __future__ import annotations

import re
import select
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote, quote_plus

from sqlalchemy import create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, InvalidatePoolError

from cidrgate.errors import StoreError
from cidrgate.stores.urls import is_ambiguous, redacted
from cidrgate.stores.waits import check_lock_timeout

if TYPE_CHECKING:
    import psycopg
    from sqlalchemy import URL, Engine

    from cidrgate.stores.postgres.connections import BoundedConnection

__all__ = ["BEGIN", "LONGEST_SILENCE", "Database"]

BEGIN = "cidrgate_begin"
"""Execution option that holds the statement a transaction begins with; None where a single statement needs none."""

LONGEST_SILENCE = 600.0
"""Seconds that the answer to one message may take where it may be a long one: all lists, an import, a new index."""

_SCHEMA = "cidrgate"

_SETTINGS = {
    "connect_timeout": "10",
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
    "tcp_user_timeout": "10000",
    "application_name": "cidrgate",
}
"""A connection over a network that is gone fails within some ten seconds instead of a quarter of an hour."""

_AUTHORITY = re.compile(r"(?P<scheme>[^:/?#]+://)(?:(?P<user>[^/?#]*)@)?(?P<hosts>[^/?#]*)(?P<rest>.*)", re.DOTALL)
_HOST = re.compile(r"\[(?P<ipv6>[^\]]+)\](?::(?P<port6>\d+))?|(?P<name>[^:/\[\]]*)(?::(?P<port>\d+))?|(?P<whole>.+)")
"""A host with its port: an IPv6 address in brackets, a name, or what has no port: a bare IPv6 address, a folder."""


@dataclass(frozen=True, slots=True)
class Database:
    """A database, and the schema of our tables in it.

    Attributes:
        arguments: What libpq connects with, for what needs a session of its own: to listen, and to migrate.
        pooled: What it connects with for transactions, through a pooler that gives each one any session; None for the
            same.
        schema: The schema.
        name: What the store is called in messages: the URL without its password and settings.
        pool_size: How many connections for transactions the URL asks for; None if it does not say.
        lock_timeout: How many seconds of waiting for locks the URL asks for; None if it does not say.
    """

    arguments: dict[str, str] = field(repr=False)
    pooled: dict[str, str] | None = field(repr=False)
    schema: str
    name: str
    pool_size: int | None = None
    lock_timeout: float | None = None

    @classmethod
    def parse(cls, url: str) -> Self:
        """The database a person names.

        Args:
            url: `postgresql://user:password@host:port/database`, with libpq's parameters after a question mark. Several
                hosts stand as `//a:1,b:2/database`, or as `?host=a:1&host=b:2`; the one that takes writes is used.
                Besides libpq's there are the parameters `schema` (`cidrgate` if not given), `pool_size`,
                `lock_timeout`, and `pooled_url`: the same database behind a pooler, for all that needs no session.

        Raises:
            StoreError: If this is no such URL.

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
        return cls(
            arguments,
            pooled,
            schema,
            f"the store {_shown(parsed, arguments)}",
            _pool_size(own["pool_size"]),
            _lock_timeout(own["lock_timeout"]),
        )

    def connect(self) -> psycopg.Connection[Any]:
        """A connection with a session of its own, which commits each statement.

        Raises:
            StoreError: If the driver is not installed.
            psycopg.Error: If the database is not reached.
        """
        arguments: dict[str, Any] = dict(self.arguments)
        return _driver().connect(**arguments, autocommit=True)

    def engine(self, connections: int, lock_timeout: float) -> Engine:
        """An engine for transactions, which leaves nothing behind in a session that another client may get.

        Args:
            connections: How many there are at most; each is kept, as making one costs more than a change of a list.
            lock_timeout: Seconds to wait for one of them, and in a single statement for a lock.

        Raises:
            StoreError: If the driver is not installed.
        """
        driver = _driver()
        arguments: dict[str, Any] = {**(self.arguments if self.pooled is None else self.pooled), "autocommit": True}
        if self.pooled is not None:
            # Prepared statements stay in the session that made them, and a pooler gives the next transaction another.
            arguments["prepare_threshold"] = None
        engine = create_engine(
            "postgresql+psycopg://",
            connect_args=arguments,
            native_inet_types=False,
            pool_size=connections,
            max_overflow=0,
            pool_timeout=lock_timeout,
            execution_options={"schema_translate_map": {None: self.schema}},
        )

        @event.listens_for(engine, "do_connect")
        def connect(_dialect: object, _record: object, _arguments: object, settings: dict[str, Any]) -> object:
            return driver.connect(**settings)

        @event.listens_for(engine, "connect")
        def configure(connection: Any, _record: object) -> None:
            if self.pooled is None:
                connection.execute(f"SET timezone TO 'UTC'; SET lock_timeout TO {round(lock_timeout * 1000)}")

        @event.listens_for(engine, "begin")
        def begin(connection: Any) -> None:
            statement = connection.get_execution_options()[BEGIN]
            if statement is not None:
                connection.exec_driver_sql(statement)

        @event.listens_for(engine, "checkout")
        def refuse_lost(connection: Any, _record: object, _proxy: object) -> None:
            # A server that ends a connection says so, and only one that said something is asked whether it lives: the
            # question is a message and its answer, which would be part of every transaction.
            poll = select.poll()
            poll.register(connection.fileno(), select.POLLIN)
            if poll.poll(0):
                try:
                    engine.dialect.do_ping(connection)
                except connection.Error as error:
                    raise InvalidatePoolError(str(error)) from error

        return engine

    def begin(self, how: str, lock_timeout: float | None = None) -> str:
        """The statements that begin a transaction, sent as one message.

        Args:
            how: What stands after `BEGIN`.
            lock_timeout: Seconds that a statement waits for a lock, if another bound than the session's.
        """
        statements = [f"BEGIN {how}"]
        if self.pooled is not None:
            statements.append("SET LOCAL timezone TO 'UTC'")
        if lock_timeout is not None:
            statements.append(f"SET LOCAL lock_timeout TO {max(1, round(lock_timeout * 1000))}")
        return "; ".join(statements)


def _driver() -> type[BoundedConnection]:
    try:
        from cidrgate.stores.postgres.connections import BoundedConnection
    except ModuleNotFoundError as error:
        raise StoreError("PostgreSQL needs psycopg: pip install 'cidrgate[postgres]'") from error
    return BoundedConnection


def _parsed(url: str) -> URL:
    """A URL, with several hosts as a parameter of it."""
    try:
        parts = _AUTHORITY.fullmatch(url)
        if parts is not None and "," in parts["hosts"]:
            user = "" if parts["user"] is None else f"{parts['user']}@"
            path, _, query = parts["rest"].partition("?")
            hosts = f"host={quote_plus(parts['hosts'])}"
            url = f"{parts['scheme']}{user}{path or '/'}?{hosts}{'&' if query else ''}{query}"
        parsed = make_url(url).set(drivername="postgresql+psycopg")
    except (ArgumentError, ValueError):  # what they say may be a part of a password
        raise StoreError("this is no URL of a PostgreSQL database: write postgresql://user@host/database") from None
    if "@" in f"{parsed.host}{parsed.database}" or is_ambiguous(url):
        raise StoreError(
            "this is no URL of a PostgreSQL database: in a user's name and in a password, write @ as %40, / as %2F"
        )
    return parsed


def _single(url: URL, name: str) -> str | None:
    value = url.query.get(name)
    if isinstance(value, tuple):
        raise StoreError(f"the URL names {name} more than once")
    return value


def _arguments(url: URL) -> dict[str, str]:
    """What libpq connects with."""
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
            raise StoreError("the URL names ports with its hosts and in `port` too: choose one of the two")
        if not any(found):
            found = ports or ([arguments["port"]] if "port" in arguments else [])
        if len(found) not in (0, 1, len(places)):
            raise StoreError(f"the URL names {len(places)} hosts and {len(found)} ports: name one port, or one a host")
        arguments["host"] = ",".join(host for host, _ in places)
        arguments.pop("port", None)
        if found:
            arguments["port"] = ",".join(found)
    elif ports:
        arguments["port"] = ",".join(ports)
    if "," in arguments.get("host", ""):
        arguments.setdefault("target_session_attrs", "read-write")
    return _SETTINGS | arguments


def _several(url: URL, name: str) -> list[str]:
    values = url.query.get(name, ())
    values = (values,) if isinstance(values, str) else values
    return [one for value in values for one in value.split(",")]


def _place(text: str) -> tuple[str, str]:
    """A host and its port; an empty text for the default one.

    >>> _place("db:6432"), _place("[::1]:6432"), _place("::1"), _place("/run/postgresql")
    (('db', '6432'), ('::1', '6432'), ('::1', ''), ('/run/postgresql', ''))
    """
    found = _HOST.fullmatch(text)
    if found is None:
        return text, ""
    host = found["ipv6"] or found["name"] or found["whole"] or ""
    return host, found["port6"] or found["port"] or ""


def _shown(url: URL, arguments: dict[str, str]) -> str:
    """The URL without its password and settings."""
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
        raise StoreError(f"pool_size is a number of connections, not {redacted(repr(text))}")
    return int(text)


def _lock_timeout(text: str | None) -> float | None:
    try:
        return None if text is None else check_lock_timeout(float(text))
    except ValueError:
        raise StoreError(f"lock_timeout is a number of seconds above 0, not {redacted(repr(text))}") from None
