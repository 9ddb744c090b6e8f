"""Account names: which names a new account may have, and which names a store may contain."""

from __future__ import annotations

import re
import unicodedata
from string import ascii_lowercase, ascii_uppercase

from cidrgate.errors import InvalidAccountError
from cidrgate.rules.characters import VARIATION_SELECTORS, unseen_character

__all__ = [
    "MAX_ACCOUNT_NAME",
    "can_name_account",
    "check_account_name",
    "could_be_in_name",
    "could_name_account",
    "in_lower_case",
    "short_enough_to_log",
]

MAX_ACCOUNT_NAME = 255
"""The longest account name, in characters."""

_NEVER_USABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
"""Characters that no version has ever allowed: controls (Cc), line and paragraph separators, lone surrogates (Cs)."""


_LOWER_CASE = str.maketrans(ascii_uppercase, ascii_lowercase)


def in_lower_case(text: str) -> str:
    """Return a text with the letters A to Z in lower case, as searches for names compare them.

    Other letters stay as they are: which of them are the same letter depends on the database and its locale.

    Example:
        >>> in_lower_case("Acme É")
        'acme É'
    """
    return text.translate(_LOWER_CASE)


def check_account_name(name: str) -> None:
    """Check the name of a new account.

    Raises:
        InvalidAccountError: If the name is empty, is longer than `MAX_ACCOUNT_NAME` characters, begins or ends with
            whitespace, contains an invisible character (`cidrgate.rules.characters`), or is not in Unicode's normal
            form C. Such a name could look like another name.

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
            f"account name {name!a} contains the invisible character U+{ord(character):04X}: leave it out",
            account=name,
        )
    if not unicodedata.is_normalized("NFC", name):
        raise InvalidAccountError(
            f"account name {name!a} is not in Unicode's normal form C: write {unicodedata.normalize('NFC', name)!r}",
            account=name,
        )


def can_name_account(text: str) -> bool:
    """Return whether `check_account_name` accepts a text: whether an account may be created with this name.

    Use it for a name that no account has, as a gate does: if no account can have the name, the request is ambiguous. Do
    not use it before an account is looked up; see `could_name_account`.
    """
    if text.isascii():  # gates call this for every unknown name
        return 0 < len(text) <= MAX_ACCOUNT_NAME and text.isprintable() and text[0] != " " != text[-1]
    try:
        check_account_name(text)
    except InvalidAccountError:
        return False
    return True


def could_name_account(text: str) -> bool:
    r"""Return whether a store may contain an account with this name, created by any version of cidrgate.

    Use it before an account is looked up: an account with a name that is no longer allowed can still be found, listed,
    enforced and changed. The function accepts every name that `can_name_account` accepts.

    Example:
        >>> could_name_account("a\u200bb"), can_name_account("a\u200bb"), could_name_account("a\x00b")
        (True, False, False)
    """
    try:
        _check_name_of_any_version(text)
    except InvalidAccountError:
        return False
    return True


def could_be_in_name(text: str) -> bool:
    r"""Return whether a store may contain an account whose name has this text in it. No database is asked otherwise.

    A database cannot look for some of these characters: it finds every name, or fails.

    Example:
        >>> could_be_in_name(" "), could_be_in_name(""), could_be_in_name("a\x00")
        (True, True, False)
    """
    return _NEVER_USABLE.search(text) is None


def short_enough_to_log(text: str | None) -> str | None:
    """Return what a request names as its account, or None if it is too long for a name.

    Anyone may send a name of any length. Use it before an account that may not exist is logged or stored.

    Example:
        >>> short_enough_to_log("acct-1"), short_enough_to_log("x" * 300)
        ('acct-1', None)
    """
    return None if text is None or len(text) > MAX_ACCOUNT_NAME else text


def _check_name_of_any_version(name: str) -> None:
    if not name:
        raise InvalidAccountError("an account name must have at least one character", account=name)
    if len(name) > MAX_ACCOUNT_NAME:
        beginning = name[:20] + "…"
        raise InvalidAccountError(
            f"account name {beginning!r} has {len(name)} characters; at most {MAX_ACCOUNT_NAME} are allowed",
            account=name,
        )
    if name != name.strip():
        raise InvalidAccountError(f"account name {name!r} begins or ends with whitespace", account=name)
    if _NEVER_USABLE.search(name):
        raise InvalidAccountError(f"account name {name!r} contains a control character", account=name)
