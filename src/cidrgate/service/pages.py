"""Lists that come in pages. A cursor is where the last page ended; what it holds is the service's own affair."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as NotBase64Error
from collections.abc import Sequence
from typing import Annotated, TypeVar

from fastapi import Query

from cidrgate.service.problems import ServiceError

__all__ = ["Cursor", "Limit", "a_page", "cursor_after", "invalid_cursor", "number_of_cursor", "text_of_cursor"]

_Item = TypeVar("_Item")

Cursor = Annotated[
    str | None, Query(max_length=2000, description="The `next_cursor` of the page before; none for the first page.")
]
Limit = Annotated[int, Query(ge=1, le=1000, description="How many items a page has at most.")]


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


def cursor_after(key: str | int) -> str:
    """The cursor of the page that comes after a key.

    Example:
        >>> text_of_cursor(cursor_after("acct-1")), number_of_cursor(cursor_after(7))
        ('acct-1', 7)
    """
    return urlsafe_b64encode(json.dumps(key).encode()).decode().rstrip("=")


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
        key: object = json.loads(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (NotBase64Error, ValueError) as error:
        raise invalid_cursor() from error
    if key is None or (isinstance(key, str) and not _storable(key)):
        raise invalid_cursor()
    return key


def _storable(text: str) -> bool:
    """Whether a database could hold a text at all."""
    return not any(character == "\0" or "\ud800" <= character <= "\udfff" for character in text)


def invalid_cursor() -> ServiceError:
    """The error for a cursor that means nothing here."""
    return ServiceError(422, "invalid_cursor", "this cursor is none of this list's: begin with the first page")
