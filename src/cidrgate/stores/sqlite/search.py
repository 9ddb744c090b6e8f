"""The full-text indexes of SQLite: of the networks of entries, and of the parts of account names.

A B-tree of networks would cost an import of millions of entries several times its own time, because networks come in no
order. A full-text index is written in sorted runs, and new rows need not be in it at once: rows with an id above
`indexed_to` are read from their table instead, until `index_new_rows` adds them. So a bulk import costs what it did.
A new row always has a greater id than all rows before it. Triggers index what is edited or deleted up to that id,
whichever version of cidrgate does it.

Without the FTS5 module the indexes do not exist, and every search reads its table.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sqlalchemy import Connection

    from cidrgate.stores.search import WantedNetwork

__all__ = ["NAMES", "NETWORKS", "SearchIndex", "names_query", "networks_query"]

_TRIGRAM = 3


class SearchIndex(NamedTuple):
    """A full-text index of one column of a table.

    Attributes:
        name: The name of the index.
        table: The table whose rows it contains, by their ids.
        column: The column.
    """

    name: str
    table: str
    column: str

    def indexed_to(self, connection: Connection) -> int:
        """Return the greatest id in the index. Every row with an id up to this is in the index."""
        if connection.execute(_EXISTS, {"name": self.name}).scalar() is None:
            return 0
        return connection.exec_driver_sql(f"SELECT max(id) FROM {self.name}_docsize").scalar() or 0  # noqa: S608

    def waiting(self, connection: Connection, most: int) -> int:
        """Return how many rows are not in the index yet; `most` if there are more. It is 0 without the module."""
        if connection.execute(_EXISTS, {"name": self.name}).scalar() is None:
            return 0
        rows = f"SELECT count(*) FROM (SELECT 1 FROM {self.table} WHERE id > ? LIMIT ?)"  # noqa: S608
        return int(connection.exec_driver_sql(rows, (self.indexed_to(connection), most)).scalar_one())

    def index_new_rows(self, connection: Connection, most: int) -> None:
        """Add the next rows to the index, in a write transaction.

        Args:
            connection: The connection, in a write transaction.
            most: The largest number of rows to add.
        """
        connection.exec_driver_sql(
            f"INSERT INTO {self.name} (rowid, {self.column}) "  # noqa: S608
            f"SELECT id, {self.column} FROM {self.table} WHERE id > ? ORDER BY id LIMIT ?",
            (self.indexed_to(connection), most),
        )

    def matching(self, connection: Connection, query: str, after: int, most: int) -> list[int]:
        """Return the ids of rows that match a query, in ascending order. Some may not exist any more.

        Args:
            connection: The connection.
            query: From `names_query` or `networks_query`.
            after: Only greater ids.
            most: The largest number of ids to return.
        """
        statement = f"SELECT rowid FROM {self.name} WHERE {self.name} MATCH ? AND rowid > ? ORDER BY rowid LIMIT ?"  # noqa: S608
        return [row[0] for row in connection.exec_driver_sql(statement, (query, after, most))]


NETWORKS = SearchIndex("entry_networks", "entries", "cidr")
NAMES = SearchIndex("account_names", "accounts", "name")

_EXISTS = text("SELECT 1 FROM sqlite_master WHERE name = :name")


def networks_query(wanted: WantedNetwork) -> str | None:
    """Return the query for the entries that a search may find; None if it may find every entry.

    Example:
        >>> from cidrgate.stores.search import WantedNetwork
        >>> networks_query(WantedNetwork("8.0.0.0/5", overlaps=False))
        '"0.0.0.0/0" OR "0.0.0.0/1" OR "0.0.0.0/2" OR "0.0.0.0/3" OR "0.0.0.0/4" OR "8.0.0.0/5"'
    """
    inside = wanted.beginnings_inside if wanted.overlaps else []
    if inside is None:
        return None
    return " OR ".join(chain((f'"{cidr}"' for cidr in wanted.covering), (f'"{text}" *' for text in inside)))


def names_query(*texts: str) -> str | None:
    """Return the query for the names that contain texts; None if all texts are shorter than what is indexed.

    The index has no positions, so it also finds names that contain the parts of a text somewhere.

    Example:
        >>> names_query("acme", "a"), names_query("ac")
        ('"acm" AND "cme"', None)
    """
    parts = dict.fromkeys(chain.from_iterable(map(_trigrams, texts)))
    return " AND ".join(_quoted(parts)) or None


def _trigrams(text: str) -> Iterator[str]:
    return (text[start : start + _TRIGRAM] for start in range(len(text) - _TRIGRAM + 1))


def _quoted(parts: Iterable[str]) -> Iterator[Any]:
    return ('"' + part.replace('"', '""') + '"' for part in parts)
