"""The tables every SQL store shares: accounts, their entries and when these matched, the change log, and some facts.

And what the management service keeps: who may use it, and what it answered. Secrets are there as SHA-256 only.

This is how they are after the last revision of `cidrgate.stores.migrations`, which creates them. What differs between
databases (locking, how ids are handed out) is with each store.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
)
from sqlalchemy.dialects.postgresql import CIDR, ExcludeConstraint

from cidrgate.errors import StoreError

if TYPE_CHECKING:
    from sqlalchemy import Dialect
    from sqlalchemy.types import TypeEngine

__all__ = [
    "Key",
    "UtcTime",
    "utc_text",
    "metadata",
    "accounts",
    "entries",
    "changes",
    "matches",
    "facts",
    "tokens",
    "sessions",
    "links",
    "answers",
]


@lru_cache(maxsize=128)  # a bulk import writes the same time a million times
def utc_text(time: datetime) -> str:
    """An aware time as ISO 8601 text in UTC, always with microseconds: the text sorts as the time does.

    >>> utc_text(datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC))
    '2025-01-02T03:04:05.000000+00:00'

    Raises:
        StoreError: If the time is naive.
    """
    if time.tzinfo is None:
        raise StoreError(f"a stored time must be aware, not {time!r}")
    return time.astimezone(UTC).isoformat(timespec="microseconds")


class UtcTime(TypeDecorator[datetime]):
    """An aware datetime: `utc_text` on SQLite, which has no type for it, else the database's own type."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """The type of the column."""
        return dialect.type_descriptor(String(32) if dialect.name == "sqlite" else DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """Aware datetime to what the database takes."""
        if value is None:
            return None
        stored = utc_text(value)
        return stored if dialect.name == "sqlite" else value

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """What the database gives to an aware datetime in UTC."""
        if value is None:
            return None
        return datetime.fromisoformat(value) if isinstance(value, str) else value.astimezone(UTC)


Key = BigInteger().with_variant(Integer(), "sqlite")
"""The type of ids: what SQLite takes for an alias of its row ids, wide enough on any other database."""

metadata = MetaData()

accounts = Table(
    "accounts",
    metadata,
    Column("id", Key, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("parent_id", Key, ForeignKey("accounts.id"), index=True),
    Column("created_at", UtcTime, nullable=False),
    Column("version", Integer, nullable=False, server_default="0"),  # how often its list was changed
    sqlite_autoincrement=True,
)

entries = Table(
    "entries",
    metadata,
    Column("id", Key, primary_key=True),
    Column("account_id", Key, ForeignKey("accounts.id"), nullable=False),
    Column("cidr", Text().with_variant(CIDR(), "postgresql"), nullable=False),
    Column("label", Text),
    Column("created_at", UtcTime, nullable=False),
    Column("created_by", Text),
    Column("expires_at", UtcTime),
    UniqueConstraint("account_id", "cidr").ddl_if("sqlite"),
    # Equal networks overlap too. Whoever writes, no two entries of an account do.
    ExcludeConstraint(
        ("account_id", "="), ("cidr", "&&"), name="entries_no_overlap", using="gist", ops={"cidr": "inet_ops"}
    ).ddl_if("postgresql"),
    Index("entries_by_account", "account_id").ddl_if("postgresql"),
    sqlite_autoincrement=True,  # an id that was removed is never given to another entry
)

# Of the few entries that end by themselves: found without a look at the others.
Index(
    "entries_by_expiry",
    entries.c.expires_at,
    sqlite_where=entries.c.expires_at.is_not(None),
    postgresql_where=entries.c.expires_at.is_not(None),
)

# The log names accounts by text and copies entries whole: it stays readable whatever becomes of them.
changes = Table(
    "changes",
    metadata,
    Column("sequence", Key, primary_key=True),
    Column("at", UtcTime, nullable=False),
    Column("actor", Text),
    Column("account", Text, nullable=False),
    Column("action", String(32), nullable=False),
    Column("before", JSON, nullable=False),
    Column("after", JSON, nullable=False),
    Index("changes_by_account", "account", "sequence"),
    sqlite_autoincrement=True,
)

# When an entry last let an address in, where somebody notes it; it goes with the entry.
matches = Table(
    "matches",
    metadata,
    Column("entry_id", Key, ForeignKey("entries.id", ondelete="CASCADE"), primary_key=True),
    Column("at", UtcTime, nullable=False),
)

# One row. A position in the log is one in the log of this store only.
facts = Table(
    "facts",
    metadata,
    Column("store_id", String(32), primary_key=True),
    Column("log_start", Key, nullable=False, server_default="1"),  # rows before it may be deleted, by retention
)

tokens = Table(
    "tokens",
    metadata,
    Column("id", Key, primary_key=True),
    Column("name", Text, nullable=False),
    Column("secret_hash", String(64), nullable=False),
    Column("scopes", JSON, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("created_by", Text),
    Column("expires_at", UtcTime),
    Column("revoked_at", UtcTime),
    sqlite_autoincrement=True,
)

# Of people in a browser; ended sessions are deleted.
sessions = Table(
    "sessions",
    metadata,
    Column("secret_hash", String(64), primary_key=True),
    Column("name", Text, nullable=False),
    Column("scopes", JSON, nullable=False),
    Column("token_id", Key, ForeignKey("tokens.id"), index=True),  # the token it was begun with: it ends with it
    Column("created_at", UtcTime, nullable=False),
    Column("expires_at", UtcTime, nullable=False, index=True),
    Column("link_id", String(16)),  # the one-time link it was begun with
    Column("address", Text),  # where it was begun
)

# That begin a session once; deleted when they are used.
links = Table(
    "links",
    metadata,
    Column("secret_hash", String(64), primary_key=True),
    Column("name", Text, nullable=False),
    Column("scopes", JSON, nullable=False),
    Column("expires_at", UtcTime, nullable=False),
    Column("created_by", Text),
    Column("token_id", Key, ForeignKey("tokens.id", name="links_token_id_fkey"), index=True),  # the issuer's
)

# To requests that may come twice, stored in the transaction of what they changed.
answers = Table(
    "answers",
    metadata,
    Column("key_hash", String(64), primary_key=True),
    Column("request_hash", String(64), nullable=False),
    Column("status", Integer, nullable=False),
    Column("headers", JSON, nullable=False),
    Column("body", Text, nullable=False),
    Column("created_at", UtcTime, nullable=False, index=True),
)
