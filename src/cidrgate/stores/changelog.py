"""How an entry is written in the change log, and read back from it.

A log row holds whole entries as JSON objects. The account is not repeated: the row names it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from cidrgate.stores.schema import utc_text
from cidrgate.values import Entry

__all__ = ["entry_from_json", "entry_to_json"]


def entry_to_json(entry: Entry) -> dict[str, Any]:
    """The JSON object of an entry; what is None is left out, since a log holds millions of them.

    >>> from datetime import UTC
    >>> entry_to_json(Entry(7, "acct-1", "8.8.8.0/24", None, datetime(2025, 1, 2, tzinfo=UTC), "me"))
    {'id': 7, 'cidr': '8.8.8.0/24', 'created_at': '2025-01-02T00:00:00.000000+00:00', 'created_by': 'me'}
    """
    record: dict[str, Any] = {"id": entry.id, "cidr": entry.cidr}
    if entry.label is not None:
        record["label"] = entry.label
    record["created_at"] = utc_text(entry.created_at)
    if entry.created_by is not None:
        record["created_by"] = entry.created_by
    if entry.expires_at is not None:
        record["expires_at"] = utc_text(entry.expires_at)
    return record


def entry_from_json(account: str, record: dict[str, Any]) -> Entry:
    """The entry a JSON object of the log describes.

    Args:
        account: The account the log row names.
        record: What `entry_to_json` made.
    """
    expires_at = record.get("expires_at")
    return Entry(
        id=record["id"],
        account=account,
        cidr=record["cidr"],
        label=record.get("label"),
        created_at=datetime.fromisoformat(record["created_at"]),
        created_by=record.get("created_by"),
        expires_at=None if expires_at is None else datetime.fromisoformat(expires_at),
    )
