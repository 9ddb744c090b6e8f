"""DuckDB: a function of SQL, which gets whole columns."""

from __future__ import annotations

import secrets
import weakref
from typing import TYPE_CHECKING, Any

from cidrgate.errors import needs_extra

with needs_extra("arrow", "cidrgate.arrow.duckdb"):
    import pyarrow

if TYPE_CHECKING:
    from collections.abc import Callable

    import duckdb

    from cidrgate._engine import Matcher

__all__ = ["register"]


_KEPT: list[_Function] = []
"""The functions whose connections are gone. Others may still call them, and DuckDB does not say when that ends."""

_ASKED: dict[str, _Function | None] = {}
"""The texts that ask a function of SQL which object it calls, and the answers."""

# The names of its enumerations have moved between versions of DuckDB; their texts have not. Without side effects,
# DuckDB would answer for two constants when a statement is prepared, and keep that answer.
_OPTIONS: dict[str, Any] = {
    "parameters": ["VARCHAR", "VARCHAR"],
    "return_type": "BOOLEAN",
    "type": "arrow",
    "null_handling": "special",
    "side_effects": True,
}
_SIGNATURE = ["scalar", ["VARCHAR", "VARCHAR"], "BOOLEAN", "VOLATILE"]

# A table function is called elsewhere in a statement, so it may have the same name.
_FUNCTIONS = """
SELECT function_name, function_type, parameter_types, return_type, stability FROM duckdb_functions()
WHERE lower(function_name) = lower(?) AND function_type NOT IN ('table', 'table_macro', 'pragma')
"""


class _Function:
    """What a function of SQL calls.

    DuckDB has a pointer to it in its database, in prepared statements and in running queries, but a reference only in
    the connection that added the function. When that is gone, the object is kept, and no longer keeps the lists.
    """

    __slots__ = ("matcher",)

    matcher: Matcher | weakref.ref[Matcher]

    def __init__(self, matcher: Matcher) -> None:
        self.matcher = matcher

    def __call__(self, accounts: Any, addresses: Any) -> Any:
        """Answer for a batch of rows.

        Raises:
            ReferenceError: If the connection that added the function is gone, and the matcher as well.
        """
        if _ASKED and len(accounts) == 1 and (asked := accounts[0].as_py()) in _ASKED:
            _ASKED[asked] = self
            return pyarrow.array([False])
        given = self.matcher
        matcher = given() if isinstance(given, weakref.ref) else given
        if matcher is None:
            message = "the connection that registered this function is gone, and so is its matcher: keep the matcher"
            raise ReferenceError(message)
        return pyarrow.array(matcher.allows_many(accounts, addresses, invalid="deny"))

    def __del__(self, keep: Callable[[_Function], None] = _KEPT.append, weak: Any = weakref.ref) -> None:
        # When the interpreter ends, this module may be empty before the last connection is gone.
        keep(self)
        if not isinstance(self.matcher, weak):
            self.matcher = weak(self.matcher)


def register(connection: duckdb.DuckDBPyConnection, matcher: Matcher, name: str = "allows") -> None:
    """Add the function `allows(account, address)` to a connection: whether the address may act for the account.

    Each row is answered like `Matcher.allows`, except for what cannot be known: a row whose account is null, or whose
    address is null or not an address, is denied. The answer never is null.

    A second call with the same connection and name replaces the lists of the function at once, also for statements that
    were prepared before, for queries that run, and if a transaction is rolled back.

    The lists are read anew for each batch of rows. A change while a query runs counts for its later rows, and two calls
    in one query may then answer one row differently. Where one answer is used twice, call in a subquery and use its
    column: DuckDB calls once for that, and refuses a call that another part of the same SELECT names by its alias.

    The function belongs to the database: cursors have it, and so do other connections to the same file. The matcher is
    kept as long as the connection that added the function. Afterwards the function works for as long as something else
    keeps the matcher, and then is an error. An object of about 60 bytes is kept for each function until the process
    ends, because DuckDB does not say when nothing calls it any more. If a transaction that added the function is rolled
    back, register again outside a transaction; the matcher then is kept until the process ends.

    Args:
        connection: The connection of DuckDB. It must not have an unfinished result.
        matcher: The lists. They are read when a query runs, also one that was prepared before.
        name: The name of the function in SQL, in which case does not count.

    Raises:
        duckdb.Error: If DuckDB has another function of that name, built in or not, or one that was added here by
            another connection or cursor; or if the connection cannot run a statement now.

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
    import duckdb

    function = _registered(connection, name)
    added = _Function(matcher) if function is None else function
    try:
        # It fails also for a function of this module, with another error if another connection has added it.
        connection.create_function(name, added, **_OPTIONS)
    except duckdb.NotImplementedException:
        if function is None:
            # The connection still knows a function that was rolled back. A cursor does not, but is gone at once.
            connection.cursor().create_function(name, added, **_OPTIONS)
            _KEPT.append(added)
    added.matcher = matcher


def _registered(connection: duckdb.DuckDBPyConnection, name: str) -> _Function | None:
    """Return what the function of this name calls, or None if there is no function.

    Raises:
        duckdb.Error: If the function was not added here.
    """
    import duckdb

    found = connection.sql(_FUNCTIONS, params=[name]).fetchall()
    # DuckDB ignores the case of ASCII alone.
    signatures = [signature for other, *signature in found if other.encode().lower() == name.encode().lower()]
    if not signatures:
        return None
    asked = secrets.token_hex()
    _ASKED[asked] = None
    try:
        if signatures == [_SIGNATURE]:
            quoted = name.replace('"', '""')
            connection.sql(f'SELECT system.main."{quoted}"(?, NULL)', params=[asked]).fetchall()
    finally:
        function = _ASKED.pop(asked)
    if function is None:
        message = f"DuckDB has another function named {name!r}: pass another name"
        raise duckdb.CatalogException(message)
    return function
