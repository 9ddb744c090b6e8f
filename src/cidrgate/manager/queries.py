"""What people ask of a store: which accounts there are, what their lists hold, what changed, and why.

Answers come from the store, never from a matcher; nothing here changes anything.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cidrgate.manager.accounts import existing_account, find_account, list_owner
from cidrgate.rules.account_names import could_name_account
from cidrgate.rules.decisions import decide, in_address_order

if TYPE_CHECKING:
    from collections.abc import Collection

    from cidrgate.rules.decisions import Address
    from cidrgate.stores import Store
    from cidrgate.values import Account, Change, Decision, Entry, ListState

__all__ = ["AccountLists"]


class AccountLists:
    """The reading half of a `RuleManager`.

    Args:
        store: Where lists are kept.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def account(self, account: str) -> Account:
        """The account of that name.

        Raises:
            AccountNotFoundError: If there is none.
            StoreError: If the store cannot be read.
        """
        with self._store.read() as transaction:
            found = existing_account(transaction, account)
        return found.value()

    @property
    def store(self) -> Store:
        """Where lists are kept; what else is kept there has classes of its own. Lists are changed by a manager only."""
        return self._store

    def accounts(
        self,
        *,
        after: str | None = None,
        limit: int | None = None,
        parent: str | None = None,
        containing: str | None = None,
    ) -> list[Account]:
        """Accounts, by name.

        Args:
            after: Only those whose names come after this one.
            limit: The first so many; None for all.
            parent: Only the subaccounts of this account.
            containing: Only those whose names contain this text, in capital letters or not.

        Raises:
            StoreError: If the store cannot be read.
        """
        with self._store.read() as transaction:
            return transaction.accounts(after=after, limit=limit, parent=parent, containing=containing)

    def counts(self, names: Collection[str] | None = None) -> dict[str, int]:
        """How many entries each account holds that has any, without expired ones, by account name.

        Args:
            names: Only these accounts; None for all.

        Raises:
            StoreError: If the store cannot be read.
        """
        usable = None if names is None else [name for name in names if could_name_account(name)]
        with self._store.read() as transaction:
            return transaction.entry_counts(datetime.now(UTC), usable)

    def list_states(self, names: Collection[str] | None = None) -> dict[str, ListState]:
        """What the list that counts for each account comes to, by account name: for a subaccount its parent's.

        Args:
            names: Only these accounts, of which those that do not exist are left out; None for all.

        Raises:
            StoreError: If the store cannot be read.

        Example:
            >>> from cidrgate import RuleManager
            >>> with RuleManager.open("memory://") as manager:
            ...     account = manager.create_account("acct-1")
            ...     subaccount = manager.create_account("sub-1", parent="acct-1")
            ...     added = manager.add("acct-1", "8.8.8.0/24")
            ...     manager.list_states(["sub-1"])
            {'sub-1': ListState(entries=1, enforced=True)}
        """
        usable = None if names is None else [name for name in names if could_name_account(name)]
        with self._store.read() as transaction:
            return transaction.list_states(datetime.now(UTC), usable)

    def entries(self, account: str) -> list[Entry]:
        """The entries in address order, expired ones that were not swept yet among them; for a subaccount its parent's.

        Raises:
            AccountNotFoundError: If there is no such account.
            StoreError: If the store cannot be read.
        """
        with self._store.read() as transaction:
            listed = transaction.entries(list_owner(transaction, existing_account(transaction, account)))
        return in_address_order(listed)

    def listing(self, account: str) -> tuple[Account, list[Entry]]:
        """The account whose list decides for an account, with its version, and its entries, as of one moment.

        Raises:
            AccountNotFoundError: If there is no such account.
            StoreError: If the store cannot be read.

        Example:
            >>> from cidrgate import RuleManager
            >>> with RuleManager.open("memory://") as manager:
            ...     account = manager.create_account("acct-1")
            ...     added = manager.add("acct-1", "8.8.8.0/24")
            ...     account, entries = manager.listing("acct-1")
            >>> account.version, [entry.cidr for entry in entries]
            (1, ['8.8.8.0/24'])
        """
        with self._store.read() as transaction:
            owner = list_owner(transaction, existing_account(transaction, account))
            listed = transaction.entries(owner)
        return owner.value(), in_address_order(listed)

    def last_matches(self, account: str) -> dict[int, datetime]:
        """When entries of the list that counts for an account last let an address in, by entry id.

        Known are those of gates that note it; see `Gate`. The time is up to an hour before the last match.

        Args:
            account: The account, or a subaccount.

        Raises:
            AccountNotFoundError: If there is no such account.
            StoreError: If the store cannot be read.
        """
        with self._store.read() as transaction:
            return transaction.last_matches(list_owner(transaction, existing_account(transaction, account)))

    def explain(self, account: str, address: Address) -> Decision:
        """Why an address may, or may not, act for an account, as the store says now.

        Args:
            account: The account; an unknown one is not enforced.
            address: Text, packed bytes (4 or 16), or an `ipaddress` object. One that cannot be read is never
                allowed.

        Raises:
            StoreError: If the store cannot be read.

        Example:
            >>> from cidrgate import RuleManager
            >>> with RuleManager.open("memory://") as manager:
            ...     account = manager.create_account("acct-1")
            ...     added = manager.add("acct-1", "8.8.8.0/24")
            ...     decision = manager.explain("acct-1", "8.8.9.1")
            >>> decision.allowed, decision.reason, decision.nearest.cidr
            (False, 'not_listed', '8.8.8.0/24')
        """
        with self._store.read() as transaction:
            found = find_account(transaction, account)
            if found is None:
                return decide(account, [], address, datetime.now(UTC))
            owner = list_owner(transaction, found)
            listed = transaction.entries(owner)
        return decide(owner.name, listed, address, datetime.now(UTC))

    def history(
        self, account: str | None = None, *, limit: int | None = None, after: int = 0, before: int | None = None
    ) -> list[Change]:
        """The change log, newest last.

        Args:
            account: Only the changes of this account; None for those of all. The changes of the list a
                subaccount inherits are its parent's.
            limit: Only the last so many; None for all.
            after: Only those with a greater sequence.
            before: Only those with a smaller sequence; None for all.

        Raises:
            AccountNotFoundError: If there is no such account.
            ValueError: If `limit` is negative.
            StoreError: If the store cannot be read.
        """
        if limit is not None and limit < 0:
            raise ValueError(f"limit must not be negative, not {limit}")
        with self._store.read() as transaction:
            if account is not None:
                existing_account(transaction, account)
            return transaction.changes(account, limit, after=after, before=before)
