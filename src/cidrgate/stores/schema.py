"""The tables that all SQL stores share: accounts, entries and their last matches, traffic, the change log, and facts.

The management service also has tables here, for credentials and for idempotent responses. Of secrets they contain only
SHA-256 hashes.

The tables here are those after the last revision of `cidrgate.stores.migrations`, which creates them. Each store
defines what differs between databases, such as locking and the assignment of ids.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Date,
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
    false,
    literal,
)
from sqlalchemy.dialects.postgresql import CIDR, ExcludeConstraint

from cidrgate.errors import StoreError
from cidrgate.values import DETAILS, Detail

if TYPE_CHECKING:
    from sqlalchemy import Dialect
    from sqlalchemy.types import TypeEngine

__all__ = [
    "ID_COLUMNS",
    "Key",
    "UtcTime",
    "utc_text",
    "metadata",
    "accounts",
    "entries",
    "changes",
    "matches",
    "observations",
    "incomplete_days",
    "facts",
    "tokens",
    "sessions",
    "links",
    "answers",
]


@lru_cache(maxsize=128)  # a bulk import writes the same time a million times
def utc_text(time: datetime) -> str:
    """Return a time with a time zone as ISO 8601 text in UTC. It always has microseconds, so texts sort like times.

    >>> utc_text(datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC))
    '2025-01-02T03:04:05.000000+00:00'

    Raises:
        StoreError: If the time has no time zone.
    """
    if time.tzinfo is None:
        raise StoreError(f"a stored time must be aware, not {time!r}")
    return time.astimezone(UTC).isoformat(timespec="microseconds")


class UtcTime(TypeDecorator[datetime]):
    """The type of a time with a time zone: text from `utc_text` on SQLite, otherwise the database's own type."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return the type of the column."""
        return dialect.type_descriptor(String(32) if dialect.name == "sqlite" else DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """Convert a time with a time zone for the database."""
        if value is None:
            return None
        stored = utc_text(value)
        return stored if dialect.name == "sqlite" else value

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """Convert a value from the database to a time in UTC."""
        if value is None:
            return None
        return datetime.fromisoformat(value) if isinstance(value, str) else value.astimezone(UTC)


Key = BigInteger().with_variant(Integer(), "sqlite")
"""The type of ids: on SQLite the type that makes a column an alias of the row id, elsewhere 64 bits."""

metadata = MetaData()

accounts = Table(
    "accounts",
    metadata,
    Column("id", Key, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("parent_id", Key, ForeignKey("accounts.id"), index=True),
    Column("created_at", UtcTime, nullable=False),
    Column("version", Integer, nullable=False, server_default="0"),  # how often its list was changed
    Column("display_name", Text),
    Column("mode", String(16), nullable=False, server_default="enforce"),
    Column("mode_until", UtcTime),  # when the mode ends by itself and the account is enforced again
    Column("mode_reason", Text),
    Column("closed", Boolean, nullable=False, server_default=false()),  # enforced while it is empty too
    Column("policy", JSON(none_as_null=True)),  # what differs from the policy of the store
    sqlite_autoincrement=True,
)

# An index of the few accounts with a mode that expires, so that they are found without reading the others.
Index(
    "accounts_by_mode_until",
    accounts.c.mode_until,
    sqlite_where=accounts.c.mode_until.is_not(None),
    postgresql_where=accounts.c.mode_until.is_not(None),
)

_TYPES: dict[type, TypeEngine[Any] | type[TypeEngine[Any]]] = {
    str: Text,
    bool: Boolean,
    int: BigInteger,
    datetime: UtcTime,
}
"""The types of columns for details, by the types of their values."""


def _detail_column(detail: Detail) -> Column[Any]:
    """Return the column of a detail of an entry. Its default in the database is what entries have that do not set it.

    Raises:
        TypeError: If a detail has a type without a column.
    """
    if detail.kind not in _TYPES:
        raise TypeError(f"{detail.name} has the type {detail.kind.__name__}: add it in cidrgate/stores/schema.py")
    default = None if detail.default is None else literal(detail.default, _TYPES[detail.kind])
    return Column(detail.name, _TYPES[detail.kind], nullable=detail.nullable, server_default=default)


entries = Table(
    "entries",
    metadata,
    Column("id", Key, primary_key=True),
    Column("account_id", Key, ForeignKey("accounts.id"), nullable=False),
    Column("cidr", Text().with_variant(CIDR(), "postgresql"), nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("created_by", Text),
    *map(_detail_column, DETAILS),
    UniqueConstraint("account_id", "cidr").ddl_if("sqlite"),
    # No two entries of an account may overlap, whichever program writes them. Equal networks overlap too. The network
    # is the first column, so that the index of this constraint also finds the entries of all accounts.
    ExcludeConstraint(
        ("cidr", "&&"), ("account_id", "="), name="entries_no_overlap", using="gist", ops={"cidr": "inet_ops"}
    ).ddl_if("postgresql"),
    Index("entries_by_account", "account_id").ddl_if("postgresql"),
    sqlite_autoincrement=True,  # the id of a removed entry is never used again
)

# An index of the few entries with an expiry, so that they are found without reading the others.
Index(
    "entries_by_expiry",
    entries.c.expires_at,
    sqlite_where=entries.c.expires_at.is_not(None),
    postgresql_where=entries.c.expires_at.is_not(None),
)

# The log contains account names and complete copies of entries, so it stays readable when these change. A row about the
# store as a whole, and not about an account, has the account "".
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
    Column("details", JSON(none_as_null=True)),  # what changed besides entries: {"before": …, "after": …}
    Column("origin", JSON(none_as_null=True)),  # how the actor was known, and from where the request came
    Index("changes_by_account", "account", "sequence"),
    sqlite_autoincrement=True,
)

# When an entry last matched a request, if a gate records that; the row is deleted with the entry.
matches = Table(
    "matches",
    metadata,
    Column("entry_id", Key, ForeignKey("entries.id", ondelete="CASCADE"), primary_key=True),
    Column("at", UtcTime, nullable=False),
)

# What was seen of each network that acted for an account on a day in UTC, if a process records traffic. The rows are
# deleted with the account, and after the days for which they are kept.
observations = Table(
    "observations",
    metadata,
    Column("account_id", Key, ForeignKey("accounts.id", ondelete="CASCADE"), primary_key=True),
    Column("day", Date, primary_key=True),
    Column("allowed", Boolean, primary_key=True),
    Column("network", Text().with_variant(CIDR(), "postgresql"), primary_key=True),
    Column("requests", BigInteger, nullable=False),
    Column("first_seen", UtcTime, nullable=False),
    Column("last_seen", UtcTime, nullable=False),
    Index("observations_by_day", "day", "account_id"),
    sqlite_with_rowid=False,
)

# The days in UTC of which something that was seen of an account is missing in its observations: a bound or an outage
# did not keep it, or it was erased. The rows are deleted with the account, and after the days.
incomplete_days = Table(
    "incomplete_days",
    metadata,
    Column("account_id", Key, ForeignKey("accounts.id", ondelete="CASCADE"), primary_key=True),
    Column("day", Date, primary_key=True),
    Index("incomplete_days_by_day", "day"),
    sqlite_with_rowid=False,
)

# One row. The store id ensures that a position is only used with the log of this store.
facts = Table(
    "facts",
    metadata,
    Column("store_id", String(32), primary_key=True),
    Column("log_start", Key, nullable=False, server_default="1"),  # older rows may have been deleted, by retention
    Column("policy", JSON(none_as_null=True)),  # what differs from the default policy; NULL if nobody set a policy
    Column("erasing_before", UtcTime),  # only in a transaction that erases personal data from rows of the log
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

# Sessions of browsers; ended sessions are deleted.
sessions = Table(
    "sessions",
    metadata,
    Column("secret_hash", String(64), primary_key=True),
    Column("name", Text, nullable=False),
    Column("scopes", JSON, nullable=False),
    Column("token_id", Key, ForeignKey("tokens.id"), index=True),  # the session ends with this token
    Column("created_at", UtcTime, nullable=False),
    Column("expires_at", UtcTime, nullable=False, index=True),
    Column("link_id", String(16)),  # the one-time link that signed in
    Column("address", Text),  # the client address that signed in
)

# One-time links, each of which begins one session and is then deleted.
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

# Idempotent responses, stored in the transaction of the change that they answer.
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

ID_COLUMNS: dict[str, str] = {
    table.name: column.name
    for table in metadata.sorted_tables
    for column in table.primary_key.columns
    if column.type is Key and not column.foreign_keys
}
"""The tables whose rows get ids of the database, which are never used again, and the columns of these ids."""
