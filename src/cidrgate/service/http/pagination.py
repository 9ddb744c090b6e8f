"""Lists that come in pages. A cursor is where the last page ended; what it holds is the service's own affair."""

import json
from base64 import b64decode, urlsafe_b64encode
from binascii import Error as NotBase64Error
from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Any, TypeVar

from fastapi import Query

from cidrgate.service.http.limits import LARGEST_PAGE, LONGEST_CURSOR, MOST_ITEMS
from cidrgate.service.http.problems import ServiceError

__all__ = [
    "Cursor",
    "Limit",
    "a_page",
    "cursor_after",
    "filled",
    "invalid_cursor",
    "number_of_cursor",
    "storable",
    "text_of_cursor",
]

_Item = TypeVar("_Item")

_MOST_DIGITS = 19

Cursor = Annotated[
    str | None,
    Query(max_length=LONGEST_CURSOR, description="The `next_cursor` of the page before; none for the first page."),
]
Limit = Annotated[
    int, Query(ge=1, le=MOST_ITEMS, description="How many items a page has at most; fewer where they are large.")
]


def a_page(found: Sequence[_Item], size: int) -> tuple[Sequence[_Item], _Item | None]:
    """The items of a page, and the one it ends with if more come after it.

    Args:
        found: The items from where the page begins: one more than fits, if there are so many.
        size: How many fit.

    Example:
        >>> a_page("abc", 2), a_page("ab", 2)
        (('ab', 'b'), ('ab', None))
    """
    return found[:size], found[size - 1] if len(found) > size else None


def filled(
    items: Iterable[_Item], record: Callable[[_Item], dict[str, Any]], key: Callable[[_Item], int], limit: int
) -> tuple[list[dict[str, Any]], int | None]:
    """The records of a page, and the key of the item it ends with if more come after it.

    Args:
        items: The items from where the page begins, read as they are needed: one more than fits, if there are so many.
        record: Makes the record of an item.
        key: Tells where an item stands.
        limit: How many records a page has at most; it ends earlier where it holds `LARGEST_PAGE` bytes.
    """
    records: list[dict[str, Any]] = []
    last: int | None = None
    size = 0
    for item in items:
        if len(records) == limit:
            return records, last
        made = record(item)
        size += len(json.dumps(made, ensure_ascii=False).encode())
        if records and size > LARGEST_PAGE:
            return records, last
        records.append(made)
        last = key(item)
    return records, None


def cursor_after(key: str | int) -> str:
    """The cursor of the page that comes after a key.

    Example:
        >>> text_of_cursor(cursor_after("acct-1")), number_of_cursor(cursor_after(7))
        ('acct-1', 7)
    """
    return urlsafe_b64encode(json.dumps(key, ensure_ascii=False).encode()).decode().rstrip("=")


def text_of_cursor(cursor: str | None) -> str | None:
    """The text a cursor comes after; None without a cursor.

    Raises:
        ServiceError: If it is none of this list's.
    """
    key = _key(cursor)
    if key is not None and not isinstance(key, str):
        raise invalid_cursor()
    return key


def number_of_cursor(cursor: str | None) -> int | None:
    """The number a cursor comes after; None without a cursor.

    Raises:
        ServiceError: If it is none of this list's.
    """
    key = _key(cursor)
    if key is not None and (not isinstance(key, int) or isinstance(key, bool) or not 0 <= key < 2**63):
        raise invalid_cursor()
    return key


def _key(cursor: str | None) -> object:
    if cursor is None:
        return None
    try:
        text = b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True).decode()
        # Nothing else is ever in one, and nothing else nests.
        if not text.startswith('"') and not (text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS):
            raise invalid_cursor()
        key: object = json.loads(text)
    except (NotBase64Error, ValueError) as error:
        raise invalid_cursor() from error
    if isinstance(key, str) and not storable(key):
        raise invalid_cursor()
    return key


def storable(text: str) -> bool:
    """Whether a database could hold a text at all."""
    return not any(character == "\0" or "\ud800" <= character <= "\udfff" for character in text)


def invalid_cursor() -> ServiceError:
    """The error for a cursor that means nothing here."""
    return ServiceError(422, "invalid_cursor", "this cursor is none of this list's: begin with the first page")
