"""The rights that the PostgreSQL user of a service needs: to read and write rows, but not to alter tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from cidrgate.errors import StoreError
from cidrgate.process.forking import loading, work
from cidrgate.stores.migrations import VERSION_TABLE
from cidrgate.stores.postgres.commits import altering
from cidrgate.stores.postgres.database import Database
from cidrgate.stores.postgres.failures import explained, hidden_rows
from cidrgate.stores.schema import changes, facts, metadata
from cidrgate.stores.unknown_outcomes import Check

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cidrgate.stores.postgres.connections import BoundedConnection
    from cidrgate.values import Duration

__all__ = ["grant"]

_ROWS = ("SELECT", "INSERT", "UPDATE", "DELETE")

_RIGHTS: Mapping[str, Sequence[str]] = {
    **dict.fromkeys(metadata.tables, _ROWS),
    # Only the oldest rows are deleted, and rows only lose personal data: the triggers hold both.
    changes.name: ("SELECT", "INSERT", "DELETE", "UPDATE (actor, origin, before, after, details)"),
    facts.name: ("SELECT", "UPDATE"),
    VERSION_TABLE: ("SELECT",),
}

_SEQUENCES = """
    SELECT sequences.relname FROM pg_class AS sequences
    JOIN pg_depend ON pg_depend.objid = sequences.oid AND pg_depend.classid = 'pg_class'::regclass
        AND pg_depend.refclassid = 'pg_class'::regclass AND pg_depend.deptype IN ('a', 'i')
    JOIN pg_class AS tables ON tables.oid = pg_depend.refobjid
    JOIN pg_namespace ON pg_namespace.oid = sequences.relnamespace
    WHERE sequences.relkind = 'S' AND pg_namespace.nspname = %s AND tables.relname = ANY(%s)
    ORDER BY sequences.relname
"""
"""Selects the sequences of our tables' ids; the schema may contain other sequences."""

_HIDDEN = """
    SELECT tables.relname FROM pg_class AS tables JOIN pg_namespace ON pg_namespace.oid = tables.relnamespace
    JOIN pg_roles AS roles ON roles.rolname = %s
    WHERE pg_namespace.nspname = %s AND tables.relname = ANY(%s) AND tables.relrowsecurity
        AND NOT roles.rolsuper AND NOT roles.rolbypassrls
        AND (tables.relforcerowsecurity OR NOT pg_has_role(roles.oid, tables.relowner, 'USAGE'))
    ORDER BY tables.relname
"""
"""Selects the tables that do not show a user all of their rows."""


_GRANT_AGAIN = Check("run `cidrgate migrate --grant` again: rights that the user has stay")


def grant(url: str, user: str, *, lock_timeout: Duration | None = None) -> None:
    """Give a user the rights that a service needs. Rights that the user has already stay unchanged.

    Args:
        url: As for `PostgresStore`, with the owner of the tables as the user. The tables have the current version.
        user: The name of the role, which may contain any characters.
        lock_timeout: As for `PostgresStore`.

    Raises:
        OutcomeUnknownError: If the answer to the commit was lost.
        StoreError: If there is no such role, the user of the URL cannot grant these rights, or row-level security would
            hide rows from the role.
    """
    database = Database.parse(url)
    with (
        work(),
        explained(database.name),
        altering(database, database.chosen_lock_timeout(lock_timeout), _GRANT_AGAIN) as connection,
    ):
        _grant(cast("BoundedConnection", connection.connection.driver_connection), database, user)


def _grant(connection: BoundedConnection, database: Database, user: str) -> None:
    with loading():
        from psycopg.sql import SQL, Identifier

    schema = database.schema
    if connection.execute("SELECT FROM pg_roles WHERE rolname = %s", [user]).fetchone() is None:
        create = SQL("CREATE ROLE {} LOGIN").format(Identifier(user)).as_string(connection)
        raise StoreError(f"{database.name} has no user {user!r}: create it first, for example with {create}")
    role = Identifier(user)
    connection.execute(SQL("GRANT USAGE ON SCHEMA {} TO {}").format(Identifier(schema), role))
    for table, rights in _RIGHTS.items():
        connection.execute(
            SQL("GRANT {} ON TABLE {} TO {}").format(SQL(", ").join(map(SQL, rights)), Identifier(schema, table), role)
        )
    for (sequence,) in connection.execute(_SEQUENCES, [schema, list(metadata.tables)]).fetchall():
        connection.execute(SQL("GRANT USAGE ON SEQUENCE {} TO {}").format(Identifier(schema, sequence), role))
    # A user who cannot grant a right gets a warning from the server, not an error.
    for table, rights in _RIGHTS.items():
        named = Identifier(schema, table).as_string(connection)
        for right in rights:
            verb, _, columns = right.rstrip(")").partition(" (")
            for column in columns.split(", "):
                asked = [user, named, *([column] if column else []), verb]
                function = "has_column_privilege(%s, %s, %s, %s)" if column else "has_table_privilege(%s, %s, %s)"
                if connection.execute(f"SELECT {function}", asked).fetchone() != (True,):
                    raise StoreError(
                        f"{database.name} did not grant {right} on {named}: run `cidrgate migrate --grant` as the "
                        "owner of the tables"
                    )
    hidden = connection.execute(_HIDDEN, [user, schema, list(_RIGHTS)]).fetchall()
    if hidden:
        raise StoreError(f"{database.name} {hidden_rows(', '.join(table for (table,) in hidden))}")
