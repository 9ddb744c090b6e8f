"""Account names, and finding the account whose list decides."""

from __future__ import annotations

import unicodedata
from shlex import quote
from typing import TYPE_CHECKING

from cidrgate.errors import AccountNotFoundError, InvalidAccountError, SubaccountError

if TYPE_CHECKING:
    from cidrgate.stores import StoredAccount, Transaction

__all__ = [
    "MAX_ACCOUNT_NAME",
    "can_name_account",
    "check_account_name",
    "existing_account",
    "find_account",
    "list_owner",
    "no_such_account",
    "parent_account",
    "refuse_subaccount",
]

MAX_ACCOUNT_NAME = 255
"""The longest account name, in characters."""

_UNUSABLE_CATEGORIES = frozenset({"Cc", "Cs", "Zl", "Zp"})
"""Unicode categories no name may contain: controls, lone surrogates, line and paragraph separators."""


def check_account_name(name: str) -> None:
    """Refuse a text that cannot name an account.

    Raises:
        InvalidAccountError: If the name is empty, longer than `MAX_ACCOUNT_NAME` characters, begins or ends
            with whitespace, or contains a control character.

    Example:
        >>> check_account_name("acct-1")
        >>> check_account_name(" acct-1")
        Traceback (most recent call last):
        ...
        cidrgate.errors.InvalidAccountError: account name ' acct-1' begins or ends with whitespace
    """
    if not name:
        raise InvalidAccountError("an account name has at least one character")
    if len(name) > MAX_ACCOUNT_NAME:
        beginning = name[:20] + "…"
        raise InvalidAccountError(
            f"account name {beginning!r} has {len(name)} characters; it may have {MAX_ACCOUNT_NAME}"
        )
    if name != name.strip():
        raise InvalidAccountError(f"account name {name!r} begins or ends with whitespace")
    if any(unicodedata.category(character) in _UNUSABLE_CATEGORIES for character in name):
        raise InvalidAccountError(f"account name {name!r} contains a control character")


def can_name_account(text: str) -> bool:
    """Whether `check_account_name` accepts a text."""
    try:
        check_account_name(text)
    except InvalidAccountError:
        return False
    return True


def find_account(transaction: Transaction, name: str) -> StoredAccount | None:
    """The account of that name, or None; the store is not asked for a text that can name no account."""
    return transaction.account(name) if can_name_account(name) else None


def existing_account(transaction: Transaction, name: str) -> StoredAccount:
    """The account of that name.

    Raises:
        AccountNotFoundError: If there is none.
    """
    found = find_account(transaction, name)
    if found is None:
        raise no_such_account(name)
    return found


def parent_account(transaction: Transaction, name: str) -> StoredAccount:
    """The account of that name, which shall become a parent.

    Raises:
        AccountNotFoundError: If there is none.
        SubaccountError: If it is a subaccount: there is one level only.
    """
    found = existing_account(transaction, name)
    if found.parent is not None:
        raise SubaccountError(
            f"account {name!r} is a subaccount of {found.parent!r} and cannot have subaccounts; "
            f"choose {found.parent!r} as the parent"
        )
    return found


def list_owner(transaction: Transaction, account: StoredAccount) -> StoredAccount:
    """The account whose list decides: the parent of a subaccount, else the account itself."""
    return account if account.parent is None else existing_account(transaction, account.parent)


def refuse_subaccount(account: StoredAccount) -> None:
    """Refuse to change the list of a subaccount.

    Raises:
        SubaccountError: If the account is one; names the account whose list it is.
    """
    if account.parent is not None:
        raise SubaccountError(
            f"account {account.name!r} is a subaccount: its list is that of {account.parent!r}; "
            f"change {account.parent!r} instead"
        )


def no_such_account(name: str) -> AccountNotFoundError:
    """The error for a name no account has; says how to create one."""
    return AccountNotFoundError(
        f"there is no account {name!r}; create it first: "
        f"`cidrgate account create {quote(name)}`, or create_account({name!r})"
    )
