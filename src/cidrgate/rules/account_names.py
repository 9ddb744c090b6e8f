"""Account names: which texts may be one, and which a store may hold."""

from __future__ import annotations

import unicodedata

from cidrgate.errors import InvalidAccountError
from cidrgate.rules.characters import VARIATION_SELECTORS, unseen_character

__all__ = ["MAX_ACCOUNT_NAME", "can_name_account", "check_account_name", "could_name_account"]

MAX_ACCOUNT_NAME = 255
"""The longest account name, in characters."""

_NEVER_USABLE = frozenset({"Cc", "Cs", "Zl", "Zp"})
"""Unicode categories that no version allowed: controls, lone surrogates, line and paragraph separators."""


def check_account_name(name: str) -> None:
    """Refuse a text that a new account cannot have as its name.

    Raises:
        InvalidAccountError: If the name is empty, longer than `MAX_ACCOUNT_NAME` characters, begins or ends with
            whitespace, holds a character that people cannot see (`cidrgate.rules.characters`), or is not in Unicode's
            normal form C, so that another name would look the same.

    Example:
        >>> check_account_name("acct-1")
        >>> check_account_name(" acct-1")
        Traceback (most recent call last):
        ...
        cidrgate.errors.InvalidAccountError: account name ' acct-1' begins or ends with whitespace
    """
    _check_name_of_any_version(name)
    unseen = VARIATION_SELECTORS.search(name)
    character = unseen_character(name) or (unseen and unseen[0])
    if character is not None:
        raise InvalidAccountError(
            f"account name {name!a} holds the character U+{ord(character):04X}, which cannot be seen: leave it out"
        )
    if not unicodedata.is_normalized("NFC", name):
        raise InvalidAccountError(
            f"account name {name!a} is not in Unicode's normal form C: write {unicodedata.normalize('NFC', name)!r}"
        )


def can_name_account(text: str) -> bool:
    """Whether `check_account_name` accepts a text: whether an account may be created with that name.

    This is what to ask about a name that no account has, as a gate does: where no account can have it, the request
    means something else than it says. It is not what to ask before an account is looked up, see `could_name_account`.
    """
    if text.isascii():  # asked by gates of every name they do not know
        return 0 < len(text) <= MAX_ACCOUNT_NAME and text.isprintable() and text[0] != " " != text[-1]
    try:
        check_account_name(text)
    except InvalidAccountError:
        return False
    return True


def could_name_account(text: str) -> bool:
    r"""Whether a store may hold an account of that name, which any version has created.

    This is what to ask before the store is asked: an account whose name could not be given today is still found,
    listed, enforced and changed. Every name that `can_name_account` accepts is one.

    Example:
        >>> could_name_account("a\u200bb"), can_name_account("a\u200bb"), could_name_account("a\x00b")
        (True, False, False)
    """
    try:
        _check_name_of_any_version(text)
    except InvalidAccountError:
        return False
    return True


def _check_name_of_any_version(name: str) -> None:
    if not name:
        raise InvalidAccountError("an account name has at least one character")
    if len(name) > MAX_ACCOUNT_NAME:
        beginning = name[:20] + "…"
        raise InvalidAccountError(
            f"account name {beginning!r} has {len(name)} characters; it may have {MAX_ACCOUNT_NAME}"
        )
    if name != name.strip():
        raise InvalidAccountError(f"account name {name!r} begins or ends with whitespace")
    if any(unicodedata.category(character) in _NEVER_USABLE for character in name):
        raise InvalidAccountError(f"account name {name!r} contains a control character")
