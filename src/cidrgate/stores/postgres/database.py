"""What the URL of a PostgreSQL database means: where it is, the schema of our tables, how connections are set up."""

from __future__ import annotations

import select
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from sqlalchemy import create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, InvalidatePoolError

from cidrgate.errors import StoreError
from cidrgate.stores.urls import is_ambiguous, redacted

if TYPE_CHECKING:
    from sqlalchemy import URL, Engine

__all__ = ["Database"]

_SCHEMA = "cidrgate"

_CONNECTIONS = 15
"""How many connections a process has at most; each is kept, as making one costs more than a change of a list."""

_SETTINGS = {
    "connect_timeout": "10",
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
    "tcp_user_timeout": "10000",
    "application_name": "cidrgate",
}
"""A connection over a network that is gone fails within some ten seconds instead of a quarter of an hour."""


@dataclass(frozen=True, slots=True)
class Database:
    """A database, and the schema of our tables in it.

    Attributes:
        url: With every setting filled in.
        schema: The schema.
        name: What the store is called in messages: the URL without its password and settings.
    """

    url: URL = field(repr=False)
    schema: str
    name: str

    @classmethod
    def parse(cls, url: str) -> Self:
        """The database a person names.

        Args:
            url: `postgresql://user:password@host:port/database`, with libpq's parameters after a question mark;
                `schema` there names another schema than `cidrgate`.

        Raises:
            StoreError: If this is no such URL.

        Example:
            >>> database = Database.parse("postgresql://me:secret@host/lists?schema=gate")
            >>> database.name, database.schema
            ('the store postgresql://me:***@host/lists', 'gate')
        """
        try:
            parsed = make_url(url).set(drivername="postgresql+psycopg")
        except (ArgumentError, ValueError):  # what they say may be a part of a password
            raise StoreError("this is no URL of a PostgreSQL database: write postgresql://user@host/database") from None
        if "@" in f"{parsed.host}{parsed.database}" or is_ambiguous(url):
            raise StoreError(
                "this is no URL of a PostgreSQL database: in a user's name and in a password, write @ as %40, / as %2F"
            )
        schema = parsed.query.get("schema", _SCHEMA)
        if not isinstance(schema, str) or not schema.isidentifier():
            raise StoreError(f"{redacted(repr(schema))} cannot name a schema: use letters, digits and underscores")
        parsed = parsed.difference_update_query(["schema"])
        missing = {name: value for name, value in _SETTINGS.items() if name not in parsed.query}
        shown = redacted(url).partition("?")[0].replace("+psycopg://", "://", 1)
        return cls(parsed.update_query_dict(missing), schema, f"the store {shown}")

    def engine(self) -> Engine:
        """An engine whose connections see our schema first, and keep time in UTC.

        Raises:
            StoreError: If the driver is not installed.
        """
        # The engine shows its URL to whoever prints it, with everything but the password of the user.
        secret = {name: value for name, value in self.url.query.items() if redacted(f"{name}=x") != f"{name}=x"}
        try:
            engine = create_engine(
                self.url.difference_update_query(secret),
                connect_args=secret,
                native_inet_types=False,
                pool_size=_CONNECTIONS,
                max_overflow=0,
            )
        except ModuleNotFoundError as error:
            raise StoreError("PostgreSQL needs psycopg: pip install 'cidrgate[postgres]'") from error
        search_path = f'SET search_path TO "{self.schema}", public'

        @event.listens_for(engine, "connect")
        def configure(connection: Any, _record: object) -> None:
            connection.autocommit = True
            connection.execute(search_path)
            connection.execute("SET timezone TO 'UTC'")
            connection.autocommit = False

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
