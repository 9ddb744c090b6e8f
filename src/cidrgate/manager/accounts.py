"""Functions that find accounts in a store, and the account whose list decides."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cidrgate.errors import AccountNotFoundError, SubaccountError
from cidrgate.rules.account_names import could_name_account

if TYPE_CHECKING:
    from cidrgate.stores import StoredAccount, Transaction

__all__ = [
    "check_parent",
    "existing_account",
    "find_account",
    "list_owner",
    "no_such_account",
    "parent_account",
    "refuse_subaccount",
]


def find_account(transaction: Transaction, name: str) -> StoredAccount | None:
    """Return the account with this name, or None. A text that cannot name an account needs no query."""
    return transaction.account(name) if could_name_account(name) else None


def existing_account(transaction: Transaction, name: str) -> StoredAccount:
    """Return the account with this name.

    Raises:
        AccountNotFoundError: If there is no such account.
    """
    found = find_account(transaction, name)
    if found is None:
        raise no_such_account(name)
    return found


def parent_account(transaction: Transaction, name: str) -> StoredAccount:
    """Return the account with this name, which will become a parent.

    Raises:
        AccountNotFoundError: If there is no such account.
        SubaccountError: If the account is a subaccount: there is only one level of subaccounts.
    """
    found = existing_account(transaction, name)
    if found.parent is not None:
        raise SubaccountError(
            f"account {name!r} is a subaccount of {found.parent!r} and cannot have subaccounts; "
            f"choose {found.parent!r} as the parent",
            account=name,
            parent=found.parent,
        )
    return found


def check_parent(name: str, parent: str | None, stored: StoredAccount | None, coming: bool | None) -> None:
    """Refuse the parent of a new account if it does not exist, or is itself a subaccount.

    Args:
        name: The new account.
        parent: The name of its parent, or None.
        stored: The account of that name in the store, or None.
        coming: Whether an account of that name that the same change creates may be a parent; None if there is none.

    Raises:
        AccountNotFoundError: If there is no such account.
        SubaccountError: If the parent is a subaccount.
    """
    if parent is None:
        return
    if stored is None and coming is None:
        raise no_such_account(parent)
    if coming is False or (stored is not None and stored.parent is not None):
        raise SubaccountError(
            f"account {parent!r} is a subaccount and cannot have the subaccount {name!r}", account=name, parent=parent
        )


def list_owner(transaction: Transaction, account: StoredAccount) -> StoredAccount:
    """Return the account whose list decides: the parent of a subaccount, otherwise the account itself."""
    return account if account.parent is None else existing_account(transaction, account.parent)


def refuse_subaccount(account: StoredAccount) -> None:
    """Refuse to change the list of a subaccount.

    Raises:
        SubaccountError: If the account is a subaccount. The message names the account that owns the list.
    """
    if account.parent is not None:
        raise SubaccountError(
            f"account {account.name!r} is a subaccount and uses the list of {account.parent!r}; "
            f"change {account.parent!r} instead",
            account=account.name,
            parent=account.parent,
        )


def no_such_account(name: str) -> AccountNotFoundError:
    """Return the error for a name that no account has."""
    return AccountNotFoundError(f"there is no account {name!r}: create it first", account=name)
