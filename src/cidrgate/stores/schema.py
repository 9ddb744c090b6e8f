"""The tables every SQL store shares: accounts, their entries, the append-only change log, and facts on the store.

What differs between databases (locking, triggers, constraints, how ids are handed out) is with each store.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING

from sqlalchemy import (
    JSON,
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

if TYPE_CHECKING:
    from sqlalchemy import Dialect

__all__ = ["SCHEMA_VERSION", "UtcText", "utc_text", "metadata", "accounts", "entries", "changes", "facts"]

SCHEMA_VERSION = 2
"""Written into every new store; a store with a higher number was made by a newer cidrgate."""


@lru_cache(maxsize=128)  # a bulk import writes the same time a million times
def utc_text(time: datetime) -> str:
    """An aware time as ISO 8601 text in UTC, always with microseconds: the text sorts as the time does.

    >>> utc_text(datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC))
    '2025-01-02T03:04:05.000000+00:00'

    Raises:
        ValueError: If the time is naive.
    """
    if time.tzinfo is None:
        raise ValueError(f"a stored time must be aware, not {time!r}")
    return time.astimezone(UTC).isoformat(timespec="microseconds")


class UtcText(TypeDecorator[datetime]):
    """An aware datetime as `utc_text`, for databases without a type that keeps the zone."""

    impl = String(32)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> str | None:
        """Aware datetime to text."""
        return None if value is None else utc_text(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> datetime | None:
        """Text to an aware datetime in UTC."""
        return None if value is None else datetime.fromisoformat(value)


_Time = DateTime(timezone=True).with_variant(UtcText(), "sqlite")

metadata = MetaData()

accounts = Table(
    "accounts",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("parent_id", Integer, ForeignKey("accounts.id"), index=True),
    Column("created_at", _Time, nullable=False),
    Column("version", Integer, nullable=False, server_default="0"),  # how often its list was changed
    sqlite_autoincrement=True,
)

entries = Table(
    "entries",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("account_id", Integer, ForeignKey("accounts.id"), nullable=False),
    Column("cidr", Text, nullable=False),
    Column("label", Text),
    Column("created_at", _Time, nullable=False),
    Column("created_by", Text),
    Column("expires_at", _Time),
    UniqueConstraint("account_id", "cidr"),
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
    Column("sequence", Integer, primary_key=True),
    Column("at", _Time, nullable=False),
    Column("actor", Text),
    Column("account", Text, nullable=False),
    Column("action", String(32), nullable=False),
    Column("before", JSON, nullable=False),
    Column("after", JSON, nullable=False),
    Index("changes_by_account", "account", "sequence"),
    sqlite_autoincrement=True,
)

# One row. A position in the log is one in the log of this store only.
facts = Table(
    "facts",
    metadata,
    Column("store_id", String(32), primary_key=True),
    Column("log_start", Integer, nullable=False, server_default="1"),  # rows before it may be deleted, by retention
)
