"""The rows of the change log: how they hold a change, and what a row says.

A row about the store as a whole, such as a sign-in, has the account "". Followers skip these rows: they change no list.
"""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

from cidrgate.stores.entry_rows import entry_from_json, entry_to_json
from cidrgate.values import Change, Origin

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from sqlalchemy import Row

    from cidrgate.stores.values import StoredChange

__all__ = ["STORE", "change_of_row", "log_row", "origin_from_json", "origin_to_json"]

STORE = ""
"""The account of rows about the store as a whole. No account has this name."""

_MEMBERS = tuple(one.name for one in fields(Origin))


def origin_to_json(origin: Origin | None) -> dict[str, str] | None:
    """Return the JSON object of an origin in the change log, without what is unknown.

    >>> origin_to_json(Origin(kind="cli", id="root")), origin_to_json(None)
    ({'kind': 'cli', 'id': 'root'}, None)
    """
    if origin is None:
        return None
    return {name: value for name in _MEMBERS if (value := getattr(origin, name)) is not None}


def origin_from_json(record: Mapping[str, Any] | None) -> Origin | None:
    """Return the origin that a JSON object of the change log describes; None for rows of versions without origins.

    >>> origin_from_json({"kind": "cli", "id": "root", "of_a_later_version": 1})
    Origin(kind='cli', id='root', via=None, on_behalf_of=None, address=None, request_id=None)
    """
    return None if record is None else Origin(**{name: record[name] for name in _MEMBERS if name in record})


def log_row(change: StoredChange, at: datetime) -> dict[str, Any]:
    """Return the row of a change in the change log."""
    return {
        "at": at,
        "actor": change.actor,
        "account": change.account.name,
        "action": change.action,
        "before": [entry_to_json(entry) for entry in change.before],
        "after": [entry_to_json(entry) for entry in change.after],
        "details": change.details,
        "origin": origin_to_json(change.origin),
    }


def change_of_row(row: Row[Any]) -> Change:
    """Return the change that a row of the change log describes."""
    return Change(
        sequence=row.sequence,
        at=row.at,
        actor=row.actor,
        account=None if row.account == STORE else row.account,
        action=row.action,
        before=tuple(entry_from_json(row.account, record) for record in row.before),
        after=tuple(entry_from_json(row.account, record) for record in row.after),
        details=row.details,
        origin=origin_from_json(row.origin),
    )
