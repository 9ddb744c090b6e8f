"""Finding accounts in a store, and the account whose list decides."""

from __future__ import annotations

from shlex import quote
from typing import TYPE_CHECKING

from cidrgate.errors import AccountNotFoundError, SubaccountError
from cidrgate.rules.account_names import could_name_account

if TYPE_CHECKING:
    from cidrgate.stores import StoredAccount, Transaction

__all__ = [
    "existing_account",
    "find_account",
    "list_owner",
    "no_such_account",
    "parent_account",
    "refuse_subaccount",
]


def find_account(transaction: Transaction, name: str) -> StoredAccount | None:
    """The account of that name, or None; the store is not asked for a text that never named one."""
    return transaction.account(name) if could_name_account(name) else None


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
