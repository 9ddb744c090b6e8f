"""DuckDB: a function of SQL, which gets whole columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from cidrgate.errors import needs_extra

with needs_extra("arrow", "cidrgate.arrow.duckdb"):
    import pyarrow

if TYPE_CHECKING:
    import duckdb

    from cidrgate._engine import Matcher

__all__ = ["register"]


_REGISTERED: WeakKeyDictionary[duckdb.DuckDBPyConnection, set[str]] = WeakKeyDictionary()
"""The names of the functions that were added here: a function of somebody else is not replaced."""


def register(connection: duckdb.DuckDBPyConnection, matcher: Matcher, name: str = "allows") -> None:
    """Add the function `allows(account, address)` to a connection: whether the address may act for the account.

    Each row is answered like `Matcher.allows`, except for what cannot be known: a row whose account is null, or whose
    address is null or not an address, is denied. The answer never is null.

    A second call with the same connection and name replaces the function.

    The lists are read anew for each batch of rows. A change while a query runs counts for its later rows, and two calls
    in one query may then answer one row differently. Where one answer is used twice, call in a subquery and use its
    column: DuckDB calls once for that, and refuses a call that another part of the same SELECT names by its alias.

    Args:
        connection: The connection of DuckDB; its cursors have the function too.
        matcher: The lists. They are read when a query runs, also one that was prepared before.
        name: The name of the function in SQL.

    Raises:
        duckdb.Error: If DuckDB has another function of that name, also one of another cursor of the connection.

    Example:
        >>> import duckdb
        >>> from cidrgate import Matcher
        >>> matcher = Matcher()
        >>> matcher.publish("acct-1", ["8.8.8.0/24"])
        >>> connection = duckdb.connect()
        >>> register(connection, matcher)
        >>> connection.sql("SELECT allows('acct-1', '8.8.8.8'), allows('acct-1', NULL)").fetchall()
        [(True, False)]
    """

    def answer(accounts: Any, addresses: Any) -> Any:
        return pyarrow.array(matcher.allows_many(accounts, addresses, invalid="deny"))

    # The names of its enumerations have moved between versions of DuckDB; their texts have not. Without side effects,
    # DuckDB would answer for two constants when a statement is prepared, and keep that answer.
    options: dict[str, Any] = {"type": "arrow", "null_handling": "special", "side_effects": True}
    registered = _REGISTERED.setdefault(connection, set())
    if name in registered:
        connection.remove_function(name)
        registered.remove(name)
    connection.create_function(name, answer, ["VARCHAR", "VARCHAR"], "BOOLEAN", **options)
    registered.add(name)
