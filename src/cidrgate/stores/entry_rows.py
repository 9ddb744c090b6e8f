"""The columns of an entry, declared once, from which every statement and text for entries in a store is made.

The field of `Entry` determines the name of the column and how it is written. Selects, inserts, updates, the change log,
and the bulk inserts of both databases follow from that. Another detail of an entry only needs a revision of the schema.
"""

from __future__ import annotations

from dataclasses import MISSING, fields
from datetime import datetime
from operator import attrgetter
from types import NoneType
from typing import TYPE_CHECKING, Any, NamedTuple, get_args, get_type_hints

from sqlalchemy import bindparam, insert, select, update

from cidrgate._engine import canonical_prefix
from cidrgate.stores.schema import entries, utc_text
from cidrgate.values import DETAILS, Entry, EntryEdit, NewEntry

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = [
    "DEFAULTS",
    "DETAIL_COLUMNS",
    "DETAIL_NAMES",
    "ENTRY_COLUMNS",
    "STAMP_NAMES",
    "EntryColumn",
    "details_said",
    "details_stored",
    "entry_from_json",
    "entry_from_row",
    "entry_to_json",
    "insert_entries",
    "insert_values",
    "select_entries",
    "stored_cidr",
    "update_entry",
    "update_values",
]


def _as_it_is(value: Any) -> Any:
    return value


class EntryColumn(NamedTuple):
    """A column of an entry.

    Attributes:
        name: The name of the column, of the field of `Entry`, and of the member in the change log.
        to_text: Converts a value that is not None for JSON and COPY: to a text, a number or a boolean.
        from_text: Converts it back.
    """

    name: str
    to_text: Callable[[Any], Any] = _as_it_is
    from_text: Callable[[Any], Any] = _as_it_is


STAMP_NAMES = ("created_at", "created_by")
"""The fields that are equal for all new entries of one change."""

DETAIL_NAMES = tuple(detail.name for detail in DETAILS)
"""The fields that a submission can set for each network."""


def _column(name: str) -> EntryColumn:
    """Return the column of a field of `Entry`, according to the type of the field."""
    kinds = {*get_args(_TYPES[name])} - {NoneType} or {_TYPES[name]}
    if kinds <= {str, int, bool, float}:
        return EntryColumn(name)
    if kinds == {datetime}:
        return EntryColumn(name, utc_text, datetime.fromisoformat)
    raise TypeError(f"the type {_TYPES[name]} of {name} has no text form: add one in cidrgate/stores/entry_rows.py")


_TYPES = get_type_hints(Entry)

ENTRY_COLUMNS = tuple(map(_column, ("id", "cidr", *STAMP_NAMES, *DETAIL_NAMES)))
"""The columns, in the order in which the change log writes them. The account of an entry is not among them: it is a key
in the table of entries, and the account of the row in the log."""

DETAIL_COLUMNS = ENTRY_COLUMNS[-len(DETAILS) :]
DEFAULTS: tuple[Any, ...] = tuple(detail.default for detail in DETAILS)
"""The details of an entry that sets none, which are the defaults of the columns too."""


details_said: Callable[[NewEntry], tuple[Any, ...]] = attrgetter(*DETAIL_NAMES)
"""Returns the details of a submitted entry as they were submitted, in the order of `DETAIL_COLUMNS`."""


def details_stored(said: Sequence[Any]) -> list[Any]:
    """Return the details of an entry from the result of `details_said`: with the default for each that is not set."""
    return [
        detail.default if value is ... or (value is None and not detail.nullable) else value
        for detail, value in zip(DETAILS, said, strict=True)
    ]


_NAMES = tuple(column.name for column in ENTRY_COLUMNS)
_ABSENT = {one.name: None if one.default is MISSING else one.default for one in fields(Entry) if one.name in _NAMES}
"""The values that the log leaves out, because it contains millions of entries."""

_EDITABLE = tuple(one.name for one in fields(EntryEdit))

select_entries = select(entries.c.account_id, *(entries.c[name] for name in _NAMES))
insert_entries = insert(entries)
update_entry = (
    update(entries).where(entries.c.id == bindparam("entry_id")).values({name: bindparam(name) for name in _EDITABLE})
)


def _check_names() -> None:
    """Refuse to run if a store would silently lose a field."""
    of_entry = {one.name for one in fields(Entry)} - {"account"}
    if of_entry != {"id", "cidr", *STAMP_NAMES, *DETAIL_NAMES}:
        raise TypeError(
            f"the fields of Entry are {sorted(of_entry)}: give those that people may set a title and a meaning in "
            "cidrgate/values.py; the others need a column in cidrgate/stores/schema.py and a place in STAMP_NAMES of "
            "cidrgate/stores/entry_rows.py"
        )
    for kind in (NewEntry, EntryEdit):
        if {one.name for one in fields(kind)} != {"cidr", *DETAIL_NAMES}:
            raise TypeError(f"{kind.__name__} in cidrgate/values.py has other details than Entry, {DETAIL_NAMES}")


_check_names()


def stored_cidr(text: str) -> str:
    """Return a network that a database has written as the engine writes it: PostgreSQL writes ::1:2/128 in another way.

    Every reader of networks uses this, because they are compared as text.

    Example:
        >>> stored_cidr("::0.1.0.2/128"), stored_cidr("8.8.8.0/24")
        ('::1:2/128', '8.8.8.0/24')
    """
    return canonical_prefix(text) if ":" in text and "." in text else text


def entry_from_row(account: str, values: Sequence[Any]) -> Entry:
    """Return the entry of a row.

    Args:
        account: The account whose list contains the entry.
        values: The values of `select_entries`, without the account's key.
    """
    fields_of = dict(zip(_NAMES, values, strict=True))
    fields_of["cidr"] = stored_cidr(fields_of["cidr"])
    return Entry(account=account, **fields_of)


def insert_values(account_id: int, entry: Entry) -> dict[str, object]:
    """Return the row of an entry, for `insert_entries`."""
    return {"account_id": account_id, **{name: getattr(entry, name) for name in _NAMES}}


def update_values(entry: Entry) -> dict[str, object]:
    """Return the fields of an entry that an edit can change, for `update_entry`."""
    return {"entry_id": entry.id, **{name: getattr(entry, name) for name in _EDITABLE}}


def entry_to_json(entry: Entry) -> dict[str, Any]:
    """Return the JSON object of an entry in the change log, without its default values.

    >>> from datetime import UTC
    >>> at = datetime(2025, 1, 2, tzinfo=UTC)
    >>> entry_to_json(Entry(id=7, account="acct-1", cidr="8.8.8.0/24", label=None, created_at=at, created_by="me"))
    {'id': 7, 'cidr': '8.8.8.0/24', 'created_at': '2025-01-02T00:00:00.000000+00:00', 'created_by': 'me'}
    """
    record = {}
    for name, to_text, _ in ENTRY_COLUMNS:
        value = getattr(entry, name)
        if value != _ABSENT[name]:
            record[name] = None if value is None else to_text(value)
    return record


def entry_from_json(account: str, record: Mapping[str, Any]) -> Entry:
    """Return the entry that a JSON object of the change log describes.

    Args:
        account: The account in the row of the log.
        record: An object that `entry_to_json` returned.
    """
    values = _ABSENT | {
        name: None if (value := record[name]) is None else from_text(value)
        for name, _, from_text in ENTRY_COLUMNS
        if name in record
    }
    return Entry(account=account, **values)  # type: ignore[arg-type]
