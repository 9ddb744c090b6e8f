"""The rows of whole tables: what a backup reads from a store, and writes to an empty one.

The rows keep their keys, because the change log refers to entries by their ids. The store that takes them gets a new
store id, so every follower and every snapshot of another store notices that this is another one.
"""

from __future__ import annotations

import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import select, update

from cidrgate.stores.schema import accounts, answers, changes, entries, facts, matches, tokens
from cidrgate.stores.table_rows import RowField, fields_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from sqlalchemy import Table

    from cidrgate.stores.sql import Transaction

__all__ = ["BACKED_UP", "FACTS", "LEFT_OUT", "TABLES", "facts_of", "is_empty", "read_rows", "take_over", "write_rows"]

TABLES = (accounts, entries, matches, changes, tokens, answers)
"""The tables of a backup, in an order in which every row comes after the rows that it refers to."""

BACKED_UP: dict[str, tuple[RowField, ...]] = {table.name: fields_of(table) for table in TABLES}
"""Every column of each table of a backup."""

FACTS = fields_of(facts, without={"store_id"})
"""What a backup contains about the store as a whole."""

LEFT_OUT = {
    "facts": "one row, of which a backup contains all but the id of the store, in its first line",
    "sessions": "a browser signs in again; a copy of a session would outlive its end in the original",
    "links": "a one-time link could be used a second time",
    "observations": "addresses of requests are kept for a number of days only, and a copy would outlive them",
    "incomplete_days": "it is about observations, which are left out",
}
"""The tables that are not copied as they are, and why."""

_ROWS_A_PART = 500

_OF_VALUES = frozenset({"DataError", "IntegrityError"})
"""The errors of a database driver, by PEP 249, that say that a database cannot hold these values."""


def facts_of(transaction: Transaction) -> dict[str, Any]:
    """Return what a backup contains about the store as a whole, as JSON values."""
    row = transaction.connection.execute(select(*(facts.c[field.name] for field in FACTS))).one()
    return {field.name: field.to_json(getattr(row, field.name)) for field in FACTS}


def read_rows(transaction: Transaction) -> Iterator[tuple[str, list[list[Any]]]]:
    """Stream the rows of every table of a backup as JSON values, in the order of the columns.

    Args:
        transaction: A read transaction that sees one committed state.

    Yields:
        The name of a table and some of its rows.
    """
    transaction.expect_all()
    for table in TABLES:
        fields = BACKED_UP[table.name]
        order = [table.c.parent_id.is_not(None)] if table is accounts else []  # parents first
        statement = select(table).order_by(*order, *table.primary_key.columns)
        with transaction.connection.execute(statement, execution_options={"yield_per": _ROWS_A_PART}) as found:
            for rows in found.partitions():
                yield (
                    table.name,
                    [[field.to_json(value) for field, value in zip(fields, row, strict=True)] for row in rows],
                )


def is_empty(transaction: Transaction) -> bool:
    """Return whether a store has no row that a backup could collide with. A write transaction locks it as a whole."""
    transaction.lock_all(TABLES)
    return all(transaction.connection.execute(select(table).limit(1)).first() is None for table in TABLES)


def write_rows(
    transaction: Transaction, table: Table, fields: Sequence[RowField], rows: Iterable[Sequence[Any]]
) -> int:
    """Insert rows of a backup.

    Args:
        transaction: A write transaction on a store that is empty, apart from earlier rows of the backup.
        table: The table.
        fields: The columns that the rows have.
        rows: The rows as JSON values.

    Returns:
        The number of rows.

    Raises:
        ValueError: If a value has a wrong type, a row has another number of values, or the rows contradict each other
            or earlier ones, such as two with one key.
    """
    names = [field.name for field in fields]
    values = ([field.from_json(value) for field, value in zip(fields, row, strict=True)] for row in rows)
    with _damage_explained():
        return transaction.insert_rows(table, names, values)


def take_over(transaction: Transaction, said: Mapping[str, Any], ids: Mapping[str, int]) -> None:
    """Set what is known about the store as a whole, and give the store a new id.

    Args:
        transaction: The write transaction that wrote the rows.
        said: What the backup says about the store as a whole, as JSON values.
        ids: The greatest id that each table ever had. New rows get greater ones.

    Raises:
        ValueError: If a value has a wrong type, or is none that the database can hold.
    """
    values = {field.name: field.from_json(said[field.name]) for field in FACTS if field.name in said}
    with _damage_explained():
        store_id = uuid.uuid4().hex
        transaction.note_store_id(store_id)
        transaction.connection.execute(update(facts).values(store_id=store_id, **values))
        transaction.raise_ids(ids)


@contextmanager
def _damage_explained() -> Iterator[None]:
    """Turn the database's refusal of rows into a ValueError: no other writer can have stored what they contradict.

    The store is empty apart from rows of the same file, and locked.
    """
    try:
        yield
    except Exception as error:
        if not any(kind.__name__ in _OF_VALUES for kind in type(error).__mro__) and not isinstance(
            error, OverflowError
        ):
            raise
        raise ValueError("its values contradict each other or earlier lines, so the file is damaged") from error
