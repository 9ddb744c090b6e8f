"""`refuse_replaced`: a store is read only from ordinary tables. Others hide or lose rows without an error."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

from cidrgate.errors import StoreError
from cidrgate.stores.migrations import VERSION_TABLE
from cidrgate.stores.schema import metadata

if TYPE_CHECKING:
    from sqlalchemy import Connection

__all__ = ["refuse_replaced"]

_REPLACED = text("""
    SELECT tables.relname FROM pg_class AS tables JOIN pg_namespace ON pg_namespace.oid = tables.relnamespace
    WHERE pg_namespace.nspname = :schema AND tables.relname = ANY(:names) AND (
        tables.relkind <> 'r' OR tables.relpersistence <> 'p'
        OR EXISTS (SELECT FROM pg_rewrite WHERE ev_class = tables.oid)
    )
    ORDER BY tables.relname
""")


def refuse_replaced(connection: Connection, schema: str, name: str) -> None:
    """Refuse views, foreign tables and partitioned ones, tables with rules, and tables that a crash empties.

    Args:
        connection: A connection to the database.
        schema: The schema of the tables.
        name: The name of the store in messages.

    Raises:
        StoreError: If there are some.
    """
    found = connection.scalars(_REPLACED, {"schema": schema, "names": [*metadata.tables, VERSION_TABLE]}).all()
    if found:
        raise StoreError(
            f"{name} has something else instead of its tables: {', '.join(found)}. Views, foreign tables, "
            "partitioned tables, rules and unlogged tables may hide or lose rows without an error: restore the tables "
            "that `cidrgate migrate` creates, unlogged ones by ALTER TABLE ... SET LOGGED"
        )
