"""The columns of an entry, declared once: every statement and text in which a store writes entries is made of them.

To store another detail of an entry, add its column to `entries` in `cidrgate.stores.schema`, with a revision. The field
of `Entry` says how it is called and written; selects, inserts, updates, the change log, and the bulk of both databases
follow.
"""

from __future__ import annotations

from dataclasses import MISSING, fields
from datetime import datetime
from operator import attrgetter
from types import NoneType
from typing import TYPE_CHECKING, Any, NamedTuple, get_args, get_type_hints

from sqlalchemy import bindparam, insert, select, update

from cidrgate.stores.schema import entries, utc_text
from cidrgate.values import Entry, EntryEdit, NewEntry

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = [
    "DETAILS",
    "DETAIL_NAMES",
    "ENTRY_COLUMNS",
    "NO_DETAILS",
    "STAMP_NAMES",
    "EntryColumn",
    "details_of",
    "entry_from_json",
    "entry_from_row",
    "entry_to_json",
    "insert_entries",
    "insertion",
    "select_entries",
    "update_entry",
    "alteration",
]


def _as_it_is(value: Any) -> Any:
    return value


class EntryColumn(NamedTuple):
    """A column of an entry.

    Attributes:
        name: Of the column, of the field of `Entry`, and in the change log.
        to_text: What JSON and COPY write for a value that is not None: a text, a number or a boolean.
        from_text: The value of that.
    """

    name: str
    to_text: Callable[[Any], Any] = _as_it_is
    from_text: Callable[[Any], Any] = _as_it_is


STAMP_NAMES = ("created_at", "created_by")
"""What the entries of one change have in common."""

DETAIL_NAMES = tuple(one.name for one in fields(NewEntry) if one.name != "cidr")
"""What a submission says of each network."""


def _column(name: str) -> EntryColumn:
    """The column of a field of `Entry`, as its type asks for."""
    kinds = {*get_args(_TYPES[name])} - {NoneType} or {_TYPES[name]}
    if kinds <= {str, int, bool, float}:
        return EntryColumn(name)
    if kinds == {datetime}:
        return EntryColumn(name, utc_text, datetime.fromisoformat)
    raise TypeError(f"say in cidrgate/stores/entry_rows.py how a field of {_TYPES[name]}, such as {name}, is written")


_TYPES = get_type_hints(Entry)

ENTRY_COLUMNS = tuple(map(_column, ("id", "cidr", *STAMP_NAMES, *DETAIL_NAMES)))
"""In the order in which the change log writes them. The account of an entry is a key in its table, and in the log the
account of the row."""

DETAILS = ENTRY_COLUMNS[-len(DETAIL_NAMES) :]
NO_DETAILS: tuple[None, ...] = (None,) * len(DETAILS)

details_of: Callable[[NewEntry], tuple[Any, ...]] = attrgetter(*DETAIL_NAMES)
"""What a submission says of a network, in the order of `DETAILS`."""

_NAMES = tuple(column.name for column in ENTRY_COLUMNS)
_ABSENT = {one.name: None if one.default is MISSING else one.default for one in fields(Entry) if one.name in _NAMES}
"""What the log leaves out, since it holds millions of entries."""

_EDITABLE = tuple(one.name for one in fields(EntryEdit))

select_entries = select(entries.c.account_id, *(entries.c[name] for name in _NAMES))
insert_entries = insert(entries)
update_entry = (
    update(entries).where(entries.c.id == bindparam("entry_id")).values({name: bindparam(name) for name in _EDITABLE})
)


def _check_names() -> None:
    """Refuse to run with a field that would be lost in silence."""
    stored = {column.name for column in entries.columns} - {"account_id"}
    of_entry = {one.name for one in fields(Entry)} - {"account"}
    if not set(_NAMES) == stored == of_entry == {"id", "cidr", *STAMP_NAMES, *DETAIL_NAMES}:
        raise TypeError(
            "the fields of an entry differ: "
            f"cidrgate/values.py has {sorted(of_entry)} in Entry and {sorted(DETAIL_NAMES)} in NewEntry, "
            f"cidrgate/stores/schema.py has {sorted(stored)}, "
            f"cidrgate/stores/entry_rows.py has {sorted(STAMP_NAMES)} in STAMP_NAMES"
        )


_check_names()


def entry_from_row(account: str, values: Sequence[Any]) -> Entry:
    """The entry of a row.

    Args:
        account: Whose list holds it.
        values: Those of `select_entries`, after the account's key.
    """
    return Entry(account=account, **dict(zip(_NAMES, values, strict=True)))


def insertion(account_id: int, entry: Entry) -> dict[str, object]:
    """The row of an entry, for `insert_entries`."""
    return {"account_id": account_id, **{name: getattr(entry, name) for name in _NAMES}}


def alteration(entry: Entry) -> dict[str, object]:
    """What may have changed of an entry, for `update_entry`."""
    return {"entry_id": entry.id, **{name: getattr(entry, name) for name in _EDITABLE}}


def entry_to_json(entry: Entry) -> dict[str, Any]:
    """The JSON object of an entry in the change log, without what is None.

    >>> from datetime import UTC
    >>> entry_to_json(Entry(7, "acct-1", "8.8.8.0/24", None, datetime(2025, 1, 2, tzinfo=UTC), "me"))
    {'id': 7, 'cidr': '8.8.8.0/24', 'created_at': '2025-01-02T00:00:00.000000+00:00', 'created_by': 'me'}
    """
    record = {}
    for name, to_text, _ in ENTRY_COLUMNS:
        value = getattr(entry, name)
        if value != _ABSENT[name]:
            record[name] = None if value is None else to_text(value)
    return record


def entry_from_json(account: str, record: Mapping[str, Any]) -> Entry:
    """The entry that a JSON object of the change log describes.

    Args:
        account: The account that the row of the log names.
        record: What `entry_to_json` made.
    """
    values = _ABSENT | {
        name: None if (value := record[name]) is None else from_text(value)
        for name, _, from_text in ENTRY_COLUMNS
        if name in record
    }
    return Entry(account=account, **values)  # type: ignore[arg-type]
