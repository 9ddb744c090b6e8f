"""The characters that the name of an account, the label of an entry and the name of an actor may contain.

The same table applies to every text that one person writes and another person reads. Invisible characters make two
different texts look alike. Characters that control a terminal or a page can disguise a text.
"""

from __future__ import annotations

import re
import unicodedata

from cidrgate.errors import InvalidTextError
from cidrgate.rules.limits import LONGEST_LABEL

__all__ = ["VARIATION_SELECTORS", "checked_text", "unseen_character"]

_UNSEEN_CATEGORIES = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp", "Zs"})
"""Unicode categories of characters without a visible shape: controls, formats (direction marks, zero-width and soft
characters, tags), unassigned and private code points, lone surrogates, and separators. Of the spaces (Zs), only the
plain space is allowed."""

_BLANK = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u2800\u3164\uffa0\ufffc\ufffd\U000e0100-\U000e01ef]"
)
"""Characters of other categories that are invisible or replace lost characters: joiners, fillers, selectors."""

VARIATION_SELECTORS = re.compile("[\ufe00-\ufe0f]")
"""Characters that select a form of the previous character, such as an emoji. Labels may contain them; account names may
not, because they make a second spelling of a name."""


def unseen_character(text: str) -> str | None:
    """Return the first character of a text that is invisible or changes how other characters are displayed.

    Example:
        >>> unseen_character("acct 1 ☕") is None, unseen_character("acct\u202e1") == "\u202e"
        (True, True)
    """
    if text.isascii():
        return None if text.isprintable() else next(character for character in text if not character.isprintable())
    for character in text:
        if character != " " and unicodedata.category(character) in _UNSEEN_CATEGORIES:
            return character
    found = _BLANK.search(text)
    return None if found is None else found[0]


def checked_text(text: str | None, field: str) -> str | None:
    r"""Return a label or the name of an actor as it is stored. An empty text is None.

    Args:
        text: The text, or None.
        field: What the text is, such as `label`, for the error.

    Raises:
        TypeError: If it is neither text nor None.
        InvalidTextError: If the text is longer than `LONGEST_LABEL` characters, or contains an invisible character; the
            message names the character.

    Example:
        >>> checked_text("office ☕", "label"), checked_text("", "label")
        ('office ☕', None)
        >>> checked_text("office\nhome", "label")
        Traceback (most recent call last):
        ...
        cidrgate.errors.InvalidTextError: the label must not contain the invisible character U+000A: leave it out
    """
    if text is None or text == "":
        return None
    if not isinstance(text, str):
        raise TypeError(f"the {field} must be text or None, not {text!r}")
    if len(text) > LONGEST_LABEL:
        raise InvalidTextError(
            f"the {field} has {len(text):,} characters; at most {LONGEST_LABEL} are allowed: shorten it",
            field=field,
            text=text,
        )
    character = unseen_character(text)
    if character is not None:
        raise InvalidTextError(
            f"the {field} must not contain the invisible character U+{ord(character):04X}: leave it out",
            field=field,
            text=text,
        )
    return text
