"""The fields of the console's forms and URLs: how long each may be, and which characters no store can hold."""

from typing import Annotated, Final

from fastapi import Form, Query
from pydantic import AfterValidator

from cidrgate.service.http.integers import PLAIN
from cidrgate.service.http.limits import LONGEST_FORM_LIST, LONGEST_NAME
from cidrgate.service.http.pagination import storable

__all__ = [
    "Began",
    "Confirmations",
    "Ids",
    "MOST_IDS",
    "LONGEST_WAY",
    "ListQuery",
    "ListText",
    "MaybeText",
    "Number",
    "Proof",
    "ShortQuery",
    "ShortText",
    "numbers_in",
]

_MOST_DIGITS = 18
LONGEST_WAY: Final = 2_000
"""Characters of the page to which a person returns after signing in."""


def _storable(text: str) -> str:
    if not storable(text):
        raise ValueError("this is not valid text")
    return text


ShortText = Annotated[str, Form(max_length=1_000), AfterValidator(_storable)]
"""A field of one line."""
MaybeText = Annotated[
    str | None, Form(max_length=1_000), AfterValidator(lambda text: None if text is None else _storable(text))
]
"""A field of one line that a form may lack."""
ListText = Annotated[str, Form(max_length=LONGEST_FORM_LIST)]
"""The field for networks."""
ShortQuery = Annotated[str, Query(max_length=LONGEST_NAME), AfterValidator(_storable)]
"""A name in the URL of a page."""
ListQuery = Annotated[str, Query(max_length=2_000)]
"""Networks in the URL of a page."""
Number = Annotated[int, Form(ge=0, le=2**63 - 1), PLAIN]
"""A number, such as the version of a list."""
MOST_IDS: Final = 1_000
"""The most entries that one form names; `MOST_FIELDS` has room for them beside its other fields."""
Ids = Annotated[list[Annotated[int, Form(ge=0, le=2**63 - 1), PLAIN]], Form(max_length=MOST_IDS)]
"""Ids of entries."""
Began = Annotated[str, Form(max_length=20_000)]
"""What the fields of the form began with; see `conflicts.began_text`."""
Confirmations = Annotated[list[Annotated[str, Form(max_length=100)]], Form(max_length=20)]
"""What the person has confirmed."""
Proof = Annotated[str, Form(max_length=64)]
"""What the confirmations were shown for; see `changing.Agreement`."""


def numbers_in(text: str) -> set[int]:
    """Return the ids in a text, separated by spaces; anything else is ignored.

    Example:
        >>> sorted(numbers_in("7 x 12 " + "9" * 5_000))
        [7, 12]
    """
    return {int(word) for word in text.split() if word.isascii() and word.isdecimal() and len(word) <= _MOST_DIGITS}
