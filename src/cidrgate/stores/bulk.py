"""The rows of many new lists, made without an object for each entry, as an import of millions of entries needs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from cidrgate.stores.entry_rows import DEFAULTS, DETAIL_COLUMNS, details_said, details_stored
from cidrgate.stores.schema import utc_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime

    from cidrgate.stores.values import NewList

__all__ = ["Rows", "compact", "rows_of"]


class Rows(NamedTuple):
    """The rows of new lists.

    Attributes:
        entries: Each entry, as the store writes it.
        changes: For each list its account, and its entries as the change log writes them.
    """

    entries: list[str]
    changes: list[tuple[str, str]]


def rows_of(
    lists: Sequence[NewList],
    ids: Iterator[int],
    at: datetime,
    actor: str | None,
    write: Callable[[int, int, str, str], str],
    write_details: Callable[[Sequence[Any]], str],
) -> Rows:
    """Return the rows of new lists.

    The rows are text, because millions of objects would keep Python's garbage collector busy. The text for the log
    equals the output of `entry_to_json` for each entry, byte for byte. Many networks have the same details, mostly
    the defaults, so each set of details is written once.

    Args:
        lists: The lists.
        ids: The ids for the entries.
        at: When the entries are added, with a time zone.
        actor: Who adds the entries.
        write: Writes an entry from its id, its account's id, its CIDR and the result of `write_details`.
        write_details: Writes the values of `DETAIL_COLUMNS`, each as its column writes it.
    """
    stamp = f',"created_at":"{utc_text(at)}"' + ("" if actor is None else f',"created_by":{compact(actor)}')
    entries: list[str] = []
    changes: list[tuple[str, str]] = []
    written: dict[tuple[Any, ...], tuple[str, str]] = {}
    for account_id, account, pieces, cidrs, _ in lists:
        records: list[str] = []
        for piece, cidr in zip(pieces, cidrs, strict=True):
            entry_id = next(ids)
            said = details_said(piece)
            found = written.get(said)
            if found is None:
                found = written[said] = _write_once(said, write_details)
            details, members = found
            entries.append(write(entry_id, account_id, cidr, details))
            records.append(f'{{"id":{entry_id},"cidr":"{cidr}"{stamp}{members}}}')
        changes.append((account, f"[{','.join(records)}]"))
    return Rows(entries, changes)


def compact(value: Any) -> str:
    """Return a value as JSON without spaces."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _write_once(said: Sequence[Any], write_details: Callable[[Sequence[Any]], str]) -> tuple[str, str]:
    """Return the details of an entry as the store writes them, and as members of the entry's object in the log."""
    texts = []
    members = []
    for column, value, default in zip(DETAIL_COLUMNS, details_stored(said), DEFAULTS, strict=True):
        text = None if value is None else column.to_text(value)
        texts.append(text)
        if value != default:
            members.append(f',"{column.name}":{compact(text)}')
    return write_details(texts), "".join(members)
