"""Queries of a store: accounts, their entries, the change log, and the reasons for decisions.

The answers come from the store, never from a matcher, and no function here changes anything. `RuleManager` offers them
under the same names. Its docstrings describe the arguments, the results and the errors.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, overload

from cidrgate.foresight.evaluation import first_day
from cidrgate.manager.accounts import existing_account, find_account, list_owner, no_such_account
from cidrgate.rules.account_names import could_be_in_name, could_name_account
from cidrgate.rules.decisions import decide, in_address_order
from cidrgate.values import whole_number

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from cidrgate.stores import Store, Transaction
    from cidrgate.stores.account_rows import Lineage
    from cidrgate.values import Account, Address, Change, Decision, Entry, ListState, Observation

__all__ = [
    "account_named",
    "accounts",
    "change_history",
    "changes_of_present_account",
    "entries_of",
    "entry_counts",
    "explain",
    "in_sql",
    "last_matches",
    "list_states",
    "listing",
    "listing_with_matches",
    "names_in_log",
    "names_of_present_account",
    "traffic",
]


_GREATEST = 2**63 - 1
"""The greatest number of a database. No list and no log is as long, so it stands for all greater ones."""


def account_named(store: Store, account: str) -> Account:
    """Return the account with this name."""
    with store.read_autocommit() as transaction:
        found = existing_account(transaction, account)
    return found.value()


def accounts(
    store: Store,
    *,
    after: str | None = None,
    limit: int | None = None,
    parent: str | None = None,
    containing: str | None = None,
    starting_with: str | None = None,
) -> list[Account]:
    """Return accounts, sorted by name."""
    limit = in_sql(limit, "limit")
    if not all(could_be_in_name(text) for text in (parent, containing, starting_with) if text is not None):
        return []
    with store.read_autocommit() as transaction:
        return transaction.accounts(
            after=after, limit=limit, parent=parent, containing=containing, starting_with=starting_with
        )


def entry_counts(store: Store, names: Collection[str] | None = None) -> dict[str, int]:
    """Return the number of entries of each account that has any, by account name, without expired entries."""
    usable = None if names is None else [name for name in names if could_name_account(name)]
    with store.read_autocommit() as transaction:
        return transaction.entry_counts(datetime.now(UTC), usable)


def list_states(store: Store, names: Collection[str] | None = None) -> dict[str, ListState]:
    """Return the state of each account's effective list, by account name. A subaccount has its parent's list."""
    usable = None if names is None else [name for name in names if could_name_account(name)]
    with store.read_autocommit() as transaction:
        return transaction.list_states(datetime.now(UTC), usable)


def entries_of(store: Store, account: str) -> list[Entry]:
    """Return the account's or its parent's entries in address order, including expired entries that were not swept."""
    with store.read() as transaction:
        listed = transaction.entries(list_owner(transaction, existing_account(transaction, account)))
    return in_address_order(listed)


def listing(store: Store, account: str) -> tuple[Account, list[Entry]]:
    """Return the account whose list decides for an account, and that list's entries, read at the same moment."""
    with store.read() as transaction:
        owner = list_owner(transaction, existing_account(transaction, account))
        listed = transaction.entries(owner)
    return owner.value(), in_address_order(listed)


def listing_with_matches(store: Store, account: str) -> tuple[Account, list[Entry], dict[int, datetime]]:
    """Return what `listing` and `last_matches` return, read at the same moment in one transaction."""
    with store.read() as transaction:
        owner = list_owner(transaction, existing_account(transaction, account))
        listed = transaction.entries(owner)
        matched = transaction.last_matches(owner)
    return owner.value(), in_address_order(listed), matched


def last_matches(store: Store, account: str) -> dict[int, datetime]:
    """Return when entries of an account's effective list last matched a request, by entry id."""
    with store.read() as transaction:
        return transaction.last_matches(list_owner(transaction, existing_account(transaction, account)))


def traffic(store: Store, account: str, days: int, *, whole_list: bool) -> list[Observation]:
    """Return what was seen of an account in the last days, or of all accounts with the same list."""
    from cidrgate.stores.observations import observations_of, observations_of_family  # they need SQLAlchemy

    whole_number(days, "days", least=1)
    since = first_day(datetime.now(UTC), days)
    with store.read() as transaction:
        found = existing_account(transaction, account)
        if whole_list:
            return observations_of_family(transaction, list_owner(transaction, found), since)
        return observations_of(transaction, found, since)


def explain(store: Store, account: str, address: Address) -> Decision:
    """Decide from the store whether an address may act for an account, and say why."""
    with store.read() as transaction:
        found = find_account(transaction, account)
        if found is None:
            return decide(account, [], address, datetime.now(UTC))
        owner = list_owner(transaction, found)
        listed = transaction.entries(owner)
    return decide(owner.value(), listed, address, datetime.now(UTC))


def change_history(
    store: Store,
    account: str | None = None,
    *,
    limit: int | None = None,
    after: int = 0,
    before: int | None = None,
    present: bool = False,
) -> list[Change]:
    """Return rows of the change log, the newest first."""
    limit, before = in_sql(limit, "limit"), in_sql(before, "before")
    after = in_sql(after, "after")
    with store.read() as transaction:
        names = None if account is None else names_in_log(transaction, account, present=present)
        return transaction.changes(None, limit, after=after, before=before, names=names)[::-1]


def changes_of_present_account(
    transaction: Transaction,
    account: str,
    *,
    after: int = 0,
    since: datetime | None = None,
    limit: int | None = None,
) -> list[Change]:
    """Return the newest changes of the account that has a name now, under all its names, the newest last."""
    names = names_of_present_account(transaction, account)
    return transaction.changes(None, limit, after=after, since=since, names=names)


def names_of_present_account(transaction: Transaction, account: str) -> Lineage:
    """Return which rows of the log are about the account that has a name now, under all its names."""
    from cidrgate.stores.account_rows import AccountRows  # it needs SQLAlchemy, which `stores` loads late

    return AccountRows(transaction).lineage(account)


def former_names(transaction: Transaction, accounts: Iterable[str]) -> dict[str, str]:
    """Return the names that accounts had before and that no account has now, each with the name of its account.

    Args:
        transaction: Reads the log.
        accounts: The names of accounts that there are.
    """
    former = {name: one for one in accounts for name, *_ in names_of_present_account(transaction, one)[1:]}
    taken = transaction.accounts_named(former)
    return {name: one for name, one in former.items() if name not in taken}


def names_in_log(transaction: Transaction, account: str, *, present: bool = False) -> Lineage:
    """Return which rows of the log are about an account: under its name, and under the names that it had before.

    Raises:
        AccountNotFoundError: If there is no such account and, unless `present`, the log does not know the name.
    """
    if find_account(transaction, account) is None and (
        present or not could_name_account(account) or not transaction.changes(account, 1)
    ):
        raise no_such_account(account)
    lineage = names_of_present_account(transaction, account)
    return lineage if present else [(account, 0, None), *lineage[1:]]


@overload
def in_sql(number: int, name: str) -> int: ...
@overload
def in_sql(number: int | None, name: str) -> int | None: ...
def in_sql(number: int | None, name: str) -> int | None:
    """Return a number that an argument sets, or the greatest number that a database can hold if it is greater."""
    return None if number is None else min(whole_number(number, name, least=0), _GREATEST)
