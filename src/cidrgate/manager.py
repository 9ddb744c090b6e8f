"""`RuleManager`: a change of a list is validated, stored, then published to the matcher; never half of it.

Rules are in `cidrgate.rules`, SQL in `cidrgate.stores`, questions in `cidrgate.lists`, publishing in
`cidrgate.publication`, the bulk loading of many lists in `cidrgate.importing`. Nothing here knows HTTP.
"""

from __future__ import annotations

from dataclasses import replace as altered
from datetime import UTC, datetime
from itertools import islice
from types import EllipsisType
from typing import TYPE_CHECKING, Self

from cidrgate.accounts import check_account_name, parent_account
from cidrgate.decisions import in_address_order
from cidrgate.errors import AccountExistsError
from cidrgate.importing import ImportReport, import_lists
from cidrgate.list_changes import addition, named_entries, replacement
from cidrgate.lists import AccountLists
from cidrgate.publication import PublishedStore
from cidrgate.rules import Policy, split_submission, validate_addition, validate_edit, validate_replacement
from cidrgate.stores import ListChange, open_store
from cidrgate.values import Account

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from cidrgate._engine import Matcher
    from cidrgate.decisions import Address
    from cidrgate.stores import Store
    from cidrgate.values import Entry, NewEntry

__all__ = ["ImportReport", "RuleManager"]

_ACCOUNTS_A_TRANSACTION = 500
"""How much of an import one commit holds: large enough that the disk's wait does not count, small enough that
other writers get their turn."""


class RuleManager(AccountLists):
    """Every account's list in a store, and a matcher that always equals it.

    Safe to share between threads. A change is validated and stored in one transaction, and published to the
    matcher once it is committed; a change that fails leaves the store and the matcher as they were.

    Args:
        store: Where lists are kept; closed with the manager.
        policy: What a list may hold.

    Example:
        >>> with RuleManager.open("memory://") as manager:
        ...     account = manager.create_account("acct-1")
        ...     added = manager.add("acct-1", "8.8.8.0/24, 1.1.1.1/32", label="office", actor="me")
        ...     [entry.cidr for entry in manager.entries("acct-1")]
        ...     manager.allows("acct-1", "8.8.8.8"), manager.allows("acct-1", "9.9.9.9")
        ['1.1.1.1/32', '8.8.8.0/24']
        (True, False)
    """

    def __init__(self, store: Store, policy: Policy | None = None) -> None:
        self.policy = Policy() if policy is None else policy
        super().__init__(store)
        self._published = PublishedStore(store)

    @classmethod
    def open(cls, url: str, policy: Policy | None = None) -> Self:
        """Open a store and load the matcher from it.

        Args:
            url: Such as `sqlite:///allowlist.db` or `memory://`; see `cidrgate.stores.open_store`.
            policy: What a list may hold; the default policy when None.

        Raises:
            StoreError: If the store cannot be opened or read.
        """
        manager = cls.connect(url, policy)
        try:
            manager.load()
        except BaseException:
            manager.close()
            raise
        return manager

    @classmethod
    def connect(cls, url: str, policy: Policy | None = None) -> Self:
        """Open a store without loading the matcher, for a tool that makes one change or asks one question.

        Everything works but `allows` and `matcher`, which refuse until `load` was called.

        Args:
            url: Such as `sqlite:///allowlist.db` or `memory://`; see `cidrgate.stores.open_store`.
            policy: What a list may hold; the default policy when None.

        Raises:
            StoreError: If the store cannot be opened.
        """
        return cls(open_store(url), policy)

    def close(self) -> None:
        """Close the store. The matcher keeps answering with what it has."""
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def load(self) -> None:
        """Fill the matcher from the store, all accounts as of one moment.

        Raises:
            StoreError: If the store cannot be read.
        """
        self._published.load()

    @property
    def matcher(self) -> Matcher:
        """The matcher over all accounts, equal to the store.

        Raises:
            CidrgateError: If it was not loaded: an empty matcher would allow everything.
            StoreError: If a change was stored but not published, and the store cannot be read again.
        """
        return self._published.matcher

    def allows(self, account: str, address: Address) -> bool:
        """Whether an address may act for an account: `matcher.allows`.

        Args:
            account: The account; one without entries, or unknown, allows every address.
            address: Text, packed bytes (4 or 16), or an `ipaddress` object.

        Raises:
            InvalidAddressError: If the address is none.
            CidrgateError: If the matcher was not loaded.
        """
        return self.matcher.allows(account, address)

    def create_account(self, account: str, *, parent: str | None = None, actor: str | None = None) -> Account:
        """Create an account, or a subaccount that inherits its parent's list.

        Args:
            account: Its name: up to 255 characters, no control characters, no whitespace around it.
            parent: The account whose list it inherits; None for an account with a list of its own.
            actor: Who creates it, for the change log.

        Raises:
            InvalidAccountError: If the name cannot be used.
            AccountExistsError: If there is an account of that name.
            AccountNotFoundError: If there is no account `parent`.
            SubaccountError: If `parent` is a subaccount itself.
            StoreError: If it cannot be stored.

        Example:
            >>> with RuleManager.open("memory://") as manager:
            ...     account = manager.create_account("acct-1")
            ...     manager.create_account("sub-1", parent="acct-1").parent
            'acct-1'
        """
        check_account_name(account)
        with self._published.change() as (transaction, changed):
            owner = None if parent is None else parent_account(transaction, parent)
            if transaction.account(account) is not None:
                raise AccountExistsError(f"there is an account {account!r} already")
            made = transaction.insert_accounts([account], parent=owner, at=datetime.now(UTC), actor=actor)
            changed.add(account)
        created = made[account]
        return Account(created.name, created.parent, created.created_at)

    def add(
        self,
        account: str,
        cidrs: str | Iterable[str | NewEntry],
        *,
        label: str | None = None,
        actor: str | None = None,
    ) -> list[Entry]:
        """List new entries: all of them, or none.

        Args:
            account: Whose list.
            cidrs: CIDRs separated by commas or newlines, or an iterable of CIDRs and `NewEntry`.
            label: The label of every entry that brings none of its own.
            actor: Who adds them, for the entries and the change log.

        Returns:
            The new entries in the order of the submission.

        Raises:
            RuleError: If anything breaks a rule; carries every problem of the submission.
            AccountNotFoundError: If there is no such account.
            SubaccountError: If the account inherits its list.
            StoreError: If the change cannot be stored.

        Example:
            >>> with RuleManager.open("memory://") as manager:
            ...     account = manager.create_account("acct-1")
            ...     manager.add("acct-1", "8.8.8.0/24, 127.0.0.1/32")
            Traceback (most recent call last):
            ...
            cidrgate.errors.RuleError: special_range: '127.0.0.1/32'...
        """
        pieces = split_submission(cidrs, label)
        with self._published.list_change(account) as (transaction, owner):
            existing = [entry.cidr for entry in in_address_order(transaction.entries(owner))]
            accepted = validate_addition(pieces, existing, self.policy)
            at = datetime.now(UTC)
            ids = transaction.new_entry_ids()
            change = addition(owner, pieces, accepted, ids=ids, at=at, actor=actor)
            transaction.apply([change], at=at, actor=actor)
        return list(change.after)

    def edit(
        self,
        account: str,
        which: str | int,
        cidr: str | None = None,
        *,
        label: str | EllipsisType | None = ...,
        actor: str | None = None,
    ) -> Entry:
        """Change the network or the label of one entry; it keeps its id, who added it and when.

        Args:
            account: Whose list.
            which: The entry: its CIDR in any spelling, or its id.
            cidr: The network it shall have, checked against the rest of the list; None keeps it.
            label: The label it shall have, None for no label; `...` keeps it.
            actor: Who changes it, for the change log.

        Returns:
            The entry as it is now.

        Raises:
            RuleError: If the new network breaks a rule.
            EntryNotFoundError: If the list holds no such entry.
            AccountNotFoundError: If there is no such account.
            SubaccountError: If the account inherits its list.
            StoreError: If the change cannot be stored.

        Example:
            >>> with RuleManager.open("memory://") as manager:
            ...     account = manager.create_account("acct-1")
            ...     added = manager.add("acct-1", "1.1.1.1/32")
            ...     manager.edit("acct-1", "1.1.1.1/32", "1.1.1.0/24").cidr
            '1.1.1.0/24'
        """
        with self._published.list_change(account) as (transaction, owner):
            listed = transaction.entries(owner)
            [entry] = named_entries(account, listed, [which])
            edited = entry
            if cidr is not None:
                others = [other.cidr for other in in_address_order(listed) if other.id != entry.id]
                edited = altered(edited, cidr=validate_edit(cidr, others, self.policy))
            if not isinstance(label, EllipsisType):
                edited = altered(edited, label=label)
            if edited != entry:
                change = ListChange(owner, "edit", before=(entry,), after=(edited,))
                transaction.apply([change], at=datetime.now(UTC), actor=actor)
        return edited

    def remove(self, account: str, *which: str | int, actor: str | None = None) -> list[Entry]:
        """Remove entries: all that are named, or none. Without entries an account is not enforced.

        Args:
            account: Whose list.
            which: The entries: CIDRs in any spelling, also several in one text separated by commas, or ids.
            actor: Who removes them, for the change log.

        Returns:
            The removed entries, in the order they were named.

        Raises:
            EntryNotFoundError: If the list holds one of them not; says what it holds.
            AccountNotFoundError: If there is no such account.
            SubaccountError: If the account inherits its list.
            StoreError: If the change cannot be stored.

        Example:
            >>> with RuleManager.open("memory://") as manager:
            ...     account = manager.create_account("acct-1")
            ...     added = manager.add("acct-1", "1.1.1.1/32, 2606:4700::/32")
            ...     removed = manager.remove("acct-1", "2606:4700:0::/32")
            ...     [entry.cidr for entry in manager.entries("acct-1")]
            ['1.1.1.1/32']
        """
        keys: list[str | int] = []
        for key in which:
            keys.extend([key] if isinstance(key, int) else (piece.cidr for piece in split_submission(key)))
        with self._published.list_change(account) as (transaction, owner):
            named = named_entries(account, transaction.entries(owner), keys)
            change = ListChange(owner, "remove", before=tuple(named))
            transaction.apply([change], at=datetime.now(UTC), actor=actor)
        return named

    def replace(
        self,
        account: str,
        cidrs: str | Iterable[str | NewEntry],
        *,
        label: str | None = None,
        actor: str | None = None,
    ) -> list[Entry]:
        """Make the list exactly this, in one change. Entries whose network stays keep id, author and time.

        Args:
            account: Whose list.
            cidrs: The whole list: CIDRs separated by commas or newlines, or an iterable of CIDRs and
                `NewEntry`; nothing empties the list.
            label: The label of every entry that brings none of its own; an entry that stays keeps its label
                where neither says one.
            actor: Who changes it, for new entries and the change log.

        Returns:
            The list in address order.

        Raises:
            RuleError: If anything breaks a rule; carries every problem of the submission.
            AccountNotFoundError: If there is no such account.
            SubaccountError: If the account inherits its list.
            StoreError: If the change cannot be stored.

        Example:
            >>> with RuleManager.open("memory://") as manager:
            ...     account = manager.create_account("acct-1")
            ...     added = manager.add("acct-1", "1.1.1.1/32, 8.8.8.0/24")
            ...     [entry.cidr for entry in manager.replace("acct-1", ["9.9.9.9/32", "1.1.1.1/32"])]
            ['1.1.1.1/32', '9.9.9.9/32']
        """
        pieces = split_submission(cidrs, label)
        with self._published.list_change(account) as (transaction, owner):
            accepted = validate_replacement(pieces, self.policy)
            at = datetime.now(UTC)
            ids = transaction.new_entry_ids()
            listed = transaction.entries(owner)
            change = replacement(owner, listed, pieces, accepted, ids=ids, at=at, actor=actor)
            if change.before or change.after:
                transaction.apply([change], at=at, actor=actor)
            listed = transaction.entries(owner)
        return in_address_order(listed)

    def import_accounts(
        self,
        lists: Mapping[str, Sequence[NewEntry]],
        *,
        replace: bool = False,
        create: bool = True,
        strict: bool = False,
        dry_run: bool = False,
        actor: str | None = None,
        progress: Callable[[int], object] | None = None,
    ) -> ImportReport:
        """Store the lists of many accounts, some hundreds a commit; each account's whole or not at all.

        Args:
            lists: The entries to list, by account name.
            replace: Whether each list stands in the place of the account's, instead of being added to it.
            create: Whether an account that does not exist is created.
            strict: Whether all of it is one commit, and none of it if any account's list cannot be stored.
            dry_run: Whether everything is checked and nothing is stored.
            actor: Who imports, for the entries and the change log.
            progress: Called after each commit with the number of accounts done since the last call.

        Returns:
            What was stored, and for each account that could not be, why.

        Raises:
            StoreError: If a commit fails; the accounts of the commits before it are stored and published.

        Example:
            >>> from cidrgate import NewEntry
            >>> with RuleManager.open("memory://") as manager:
            ...     lists = {"a": [NewEntry("8.8.8.0/24", "dns")], "b": [NewEntry("10.0.0.0/8")]}
            ...     report = manager.import_accounts(lists)
            >>> report.accounts, report.entries, list(report.problems)
            (1, 1, ['b'])
        """
        report = ImportReport()
        remaining = iter(lists.items())
        while part := dict(islice(remaining, None if strict else _ACCOUNTS_A_TRANSACTION)):
            with self._published.change() as (transaction, changed):
                done = import_lists(
                    transaction,
                    part,
                    policy=self.policy,
                    replace=replace,
                    create=create,
                    strict=strict,
                    dry_run=dry_run,
                    at=datetime.now(UTC),
                    actor=actor,
                )
                if done.accounts:
                    changed.update(part.keys() - done.problems.keys())
            report += done
            if progress is not None:
                progress(len(part))
        return report
