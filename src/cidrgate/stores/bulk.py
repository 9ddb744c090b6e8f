"""The rows of many new lists at once, made without an object for each entry: what an import of millions needs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from cidrgate.stores.schema import utc_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime

    from cidrgate.stores.values import NewList

__all__ = ["Rows", "quoted", "rows_of"]


class Rows(NamedTuple):
    """What is stored of new lists.

    Attributes:
        entries: Each entry, as the store writes it.
        changes: Account, and the entries as the log writes them, of each list.
    """

    entries: list[str]
    changes: list[tuple[str, str]]


def rows_of(
    lists: Sequence[NewList],
    ids: Iterator[int],
    at: datetime,
    actor: str | None,
    write: Callable[[int, int, str, str | None, str | None], str],
) -> Rows:
    """The rows of new lists.

    They are text from the beginning: millions of objects would keep Python's collector of cycles busy. The log's text
    is what `entry_to_json` makes of each entry, byte for byte.

    Args:
        lists: The lists.
        ids: Where the entries get their ids from.
        at: When they are added; aware.
        actor: Who adds them.
        write: Writes an entry from its id, the id of its account, its CIDR, label and end, which is a `utc_text`.
    """
    rest = f',"created_at":"{utc_text(at)}"' + ("" if actor is None else f',"created_by":{quoted(actor)}')
    plain = rest + "}"
    entries: list[str] = []
    changes: list[tuple[str, str]] = []
    labelled: dict[str, str] = {}
    for account_id, account, pieces, cidrs, _ in lists:
        records: list[str] = []
        for piece, cidr in zip(pieces, cidrs, strict=True):
            entry_id = next(ids)
            label, expires_at = piece.label, piece.expires_at
            if label is None and expires_at is None:
                entries.append(write(entry_id, account_id, cidr, None, None))
                records.append(f'{{"id":{entry_id},"cidr":"{cidr}"{plain}')
                continue
            end = None if expires_at is None else utc_text(expires_at)
            entries.append(write(entry_id, account_id, cidr, label, end))
            named = "" if label is None else labelled.get(label) or labelled.setdefault(label, _named(label))
            ends = "" if end is None else f',"expires_at":"{end}"'
            records.append(f'{{"id":{entry_id},"cidr":"{cidr}"{named}{rest}{ends}}}')
        changes.append((account, f"[{','.join(records)}]"))
    return Rows(entries, changes)


def quoted(text: str) -> str:
    """A text as JSON writes it."""
    return json.dumps(text, ensure_ascii=False)


def _named(label: str) -> str:
    return f',"label":{quoted(label)}'
