"""Pagination. A cursor marks the end of the previous page; clients must not interpret its content."""

import json
from base64 import b64decode, urlsafe_b64encode
from binascii import Error as NotBase64Error
from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Any, TypeVar

from fastapi import Query

from cidrgate.service.http.integers import PLAIN
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
    Query(
        max_length=LONGEST_CURSOR,
        description="The `next_cursor` of the previous page; omit it for the first page.",
    ),
]
Limit = Annotated[
    int, Query(ge=1, le=MOST_ITEMS, description="The most items of a page. A page with large items has fewer."), PLAIN
]


def a_page(found: Sequence[_Item], size: int) -> tuple[Sequence[_Item], _Item | None]:
    """Return the items of a page, and its last item if another page follows, otherwise None.

    Args:
        found: The items from the start of the page: one more than the page size, if there are so many.
        size: The page size.

    Example:
        >>> a_page("abc", 2), a_page("ab", 2)
        (('ab', 'b'), ('ab', None))
    """
    return found[:size], found[size - 1] if len(found) > size else None


def filled(
    items: Iterable[_Item], record: Callable[[_Item], dict[str, Any]], key: Callable[[_Item], int], limit: int
) -> tuple[list[dict[str, Any]], int | None]:
    """Return the records of a page, and the key of its last item if another page follows, otherwise None.

    Args:
        items: The items from the start of the page, read lazily: one more than the limit, if there are so many.
        record: A function that makes the record of an item.
        key: A function that returns the position of an item.
        limit: The most records of a page. A page that reaches `LARGEST_PAGE` bytes ends earlier.
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
    """Return the cursor of the page that starts after a key.

    Example:
        >>> text_of_cursor(cursor_after("acct-1")), number_of_cursor(cursor_after(7))
        ('acct-1', 7)
    """
    return urlsafe_b64encode(json.dumps(key, ensure_ascii=False).encode()).decode().rstrip("=")


def text_of_cursor(cursor: str | None) -> str | None:
    """Return the text that a cursor contains; None without a cursor.

    Raises:
        ServiceError: If the cursor does not belong to this list.
    """
    key = _key(cursor)
    if key is not None and not isinstance(key, str):
        raise invalid_cursor()
    return key


def number_of_cursor(cursor: str | None) -> int | None:
    """Return the number that a cursor contains; None without a cursor.

    Raises:
        ServiceError: If the cursor does not belong to this list.
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
        # A cursor contains only text or a number. Refusing everything else first also refuses nested JSON.
        if not text.startswith('"') and not (text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS):
            raise invalid_cursor()
        key: object = json.loads(text)
    except (NotBase64Error, ValueError) as error:
        raise invalid_cursor() from error
    if isinstance(key, str) and not storable(key):
        raise invalid_cursor()
    return key


def storable(text: str) -> bool:
    """Return whether a database can store a text."""
    return not any(character == "\0" or "\ud800" <= character <= "\udfff" for character in text)


def invalid_cursor() -> ServiceError:
    """Return the error for an invalid cursor."""
    return ServiceError("invalid_cursor", "this cursor does not belong to this list: start with the first page")
