"""Which characters may stand in what people read as a name: of an account, of an entry (its label), of an actor.

One table for every text that is shown to one person and was written by another. What cannot be seen makes two texts
look alike, and what steers a terminal or a page makes one look like something else.
"""

from __future__ import annotations

import re
import unicodedata

from cidrgate.errors import InvalidTextError

__all__ = ["VARIATION_SELECTORS", "check_text", "unseen_character"]

_UNSEEN_CATEGORIES = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp", "Zs"})
"""Unicode's categories of what has no shape that everybody sees alike: controls, formats (the marks of writing
directions, zero-width and soft characters, tags), code points that are not assigned or private, lone surrogates,
separators; of the spaces (Zs) only the plain one is seen as what it is."""

_BLANK = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u2800\u3164\uffa0\ufffc\ufffd\U000e0100-\U000e01ef]"
)
"""Characters of other categories that show nothing, or stand for what was lost: joiners, fillers, selectors."""

VARIATION_SELECTORS = re.compile("[\ufe00-\ufe0f]")
"""What selects a form of the character before, as of an emoji: harmless in a label, a second spelling in a name."""


def unseen_character(text: str) -> str | None:
    """The first character of a text that people cannot see, or that would change how they see others.

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


def check_text(text: str | None, what: str) -> None:
    r"""Refuse a text with characters that people cannot see.

    Args:
        text: A label, or who somebody says they are; None for none.
        what: What it is, for the message.

    Raises:
        InvalidTextError: If it holds one; the message names the character.

    Example:
        >>> check_text("office ☕", "a label")
        >>> check_text("office\nhome", "a label")
        Traceback (most recent call last):
        ...
        cidrgate.errors.InvalidTextError: a label cannot hold the character U+000A: it cannot be seen; ...
    """
    character = None if text is None else unseen_character(text)
    if character is not None:
        raise InvalidTextError(
            f"{what} cannot hold the character U+{ord(character):04X}: it cannot be seen; leave it out"
        )
