"""`RuleManager`: a change of a list is validated, stored, then published to the matcher; never half of it.

Rules are in `cidrgate.rules`, SQL in `cidrgate.stores`, the matcher that follows a store in `cidrgate.replica`. In this
folder `queries` reads, `changes` works out what a change comes to, and `importing` loads the lists of many accounts.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from copy import copy
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeVar

from cidrgate.errors import (
    AccountExistsError,
    CidrgateError,
    HistoryError,
    StoreConflictError,
    StoreError,
)
from cidrgate.manager import queries
from cidrgate.manager.accounts import parent_account
from cidrgate.manager.change_requests import ListRequest, change_lists
from cidrgate.manager.changes import (
    Listing,
    addition,
    check_labels,
    edition,
    list_at,
    named_entries,
    replacement,
    restoration,
)
from cidrgate.manager.commit_groups import CommitGroups
from cidrgate.manager.confirmations import named_guards
from cidrgate.manager.importing import ImportReport, import_lists, in_background
from cidrgate.manager.last_matches import LastMatches
from cidrgate.manager.outcomes import Guard, ListOutcome
from cidrgate.process.clock import certain_time, earlier_by_far
from cidrgate.process.forking import join_forks
from cidrgate.replica.replica import Replica
from cidrgate.rules import Policy, split_submission, validate_addition, validate_replacement
from cidrgate.rules.account_names import check_account_name
from cidrgate.rules.characters import check_text
from cidrgate.stores import open_store
from cidrgate.stores.waits import answer_by, time_left
from cidrgate.values import Account, EntryEdit

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Collection, Iterable, Sequence
    from datetime import timedelta
    from typing import Unpack

    from cidrgate._engine import Matcher
    from cidrgate.replica.replica import OnStale
    from cidrgate.rules.decisions import Address
    from cidrgate.stores import ListChange, Store, Transaction
    from cidrgate.values import Change, Decision, Entry, EntryDetails, ListState, NewEntry

__all__ = ["ImportReport", "RuleManager"]

_ACCOUNTS_A_TRANSACTION = 2_000
"""How much of an import one commit holds: large enough that the disk's wait does not count, small enough that
other writers get their turn."""


_Made = TypeVar("_Made")

_ATTEMPTS = 5
"""How often a change is tried while other writers come first in ways only the store finds out."""

_FAREWELL = 2.0
"""Seconds that `close` waits for locks, to store when entries last matched."""

_TURNS = 2
"""How many groups of changes are committed at once: one goes on while another waits for a list that is locked
elsewhere. More of them are smaller, and cost more."""


class RuleManager:
    """Every account's list in a store, and a matcher that follows it.

    Safe to share between threads. A change is validated and stored in one transaction, and published to the
    matcher once it is committed; a change that fails leaves the store and the matcher as they were. What others
    change, in other processes or on other machines, comes to the matcher by itself.

    Args:
        store: Where lists are kept; closed with the manager.
        policy: What a list may hold.
        max_staleness: Seconds without news from the store after which `on_stale` counts; None for never.
        on_stale: Whether `allows` then goes on with the last known lists (`serve`), or denies every address of an
            enforced account (`deny`).

    Example:
        >>> with RuleManager.open("memory://") as manager:
        ...     account = manager.create_account("acct-1")
        ...     added = manager.add("acct-1", "8.8.8.0/24, 1.1.1.1/32", label="office", actor="me")
        ...     [entry.cidr for entry in manager.entries("acct-1")]
        ...     manager.allows("acct-1", "8.8.8.8"), manager.allows("acct-1", "9.9.9.9")
        ['1.1.1.1/32', '8.8.8.0/24']
        (True, False)
    """

    def __init__(
        self,
        store: Store,
        policy: Policy | None = None,
        *,
        max_staleness: float | None = None,
        on_stale: OnStale = "serve",
    ) -> None:
        self.policy = Policy() if policy is None else policy
        self._store = store
        self.replica = Replica(store, max_staleness=max_staleness, on_stale=on_stale)
        """The lists in memory, for who asks and changes nothing."""
        self.matches = LastMatches()
        """Where gates note which entries let requests in, for `store_matches`."""
        self._commits = CommitGroups(self.replica.published.change, min(store.writers, _TURNS), store.lock_timeout)
        self._before_store: Callable[[ListOutcome], object] | None = None
        self._in_transaction: Callable[[Transaction, ListOutcome | Account], object] | None = None
        self._dry_run = False
        self._address: str | None = None
        self._confirmed: frozenset[Guard] = frozenset()
        self.replica.published.housekeeping = {"sweep": self.sweep, "matches": self.store_matches, "tidy": store.tidy}
        join_forks(self, stage=1)

    @classmethod
    def open(
        cls,
        url: str | os.PathLike[str],
        policy: Policy | None = None,
        *,
        create: bool = False,
        follow: bool = True,
        max_staleness: float | None = None,
        on_stale: OnStale = "serve",
        snapshot: str | Path | None = None,
        refresh_snapshot: float | None = None,
        progress: Callable[[int], object] | None = None,
        lock_timeout: float | None = None,
        pool_size: int | None = None,
    ) -> Self:
        """Open a store, load the matcher from it, and follow the store from there.

        Args:
            url: Such as `sqlite:///allowlist.db`, `postgresql://host/name` or `memory://`, or the path of an SQLite
                file; see `cidrgate.stores.open_store`.
            policy: What a list may hold; the default policy when None.
            create: Whether a store that is not there is created. Leave it out wherever the store should be there: an
                empty store has no account whose list is enforced.
            follow: Whether a thread brings the changes of other processes to the matcher, and lets entries end in time.
            max_staleness: Seconds without news from the store after which `on_stale` counts, and the log says that the
                lists are stale; None for never.
            on_stale: What `allows` then does: `serve` the last known lists, or `deny` enforced accounts.
            snapshot: A file by `compile` to start from; where there is none that fits, the store is read whole. When
                it is written anew by another process, a manager that follows goes on with the new one, so that the
                processes of a host share its pages.
            refresh_snapshot: Seconds after which one of the managers that share the snapshot writes it anew; None for
                never.
            progress: Called while the store is read whole, with the number of accounts read since the last call.
            lock_timeout: Seconds that a change or a question waits for locks of others before a `StoreBusyError`;
                10 if None.
            pool_size: How many connections to the store are kept, besides one to listen; 15 if None.

        Raises:
            StoreNotFoundError: If there is no store, and none shall be created.
            StoreError: If the store cannot be opened or read.
            ValueError: If a setting is none that can be kept.
        """
        manager = cls(
            open_store(url, create=create, lock_timeout=lock_timeout, pool_size=pool_size),
            policy,
            max_staleness=max_staleness,
            on_stale=on_stale,
        )
        try:
            manager.load(snapshot=snapshot, progress=progress)
            if snapshot is not None and follow:
                manager.replica.share_snapshot(Path(snapshot), refresh_snapshot)
            if follow:
                manager.follow()
        except BaseException:
            manager.close()
            raise
        return manager

    @classmethod
    def connect(
        cls,
        url: str | os.PathLike[str],
        policy: Policy | None = None,
        *,
        create: bool = False,
        lock_timeout: float | None = None,
    ) -> Self:
        """Open a store without loading the matcher, for a tool that makes one change or asks one question.

        Everything works but `allows` and `matcher`, which refuse until `load` was called.

        Args:
            url: Such as `sqlite:///allowlist.db` or `memory://`; see `cidrgate.stores.open_store`.
            policy: What a list may hold; the default policy when None.
            create: Whether a store that is not there is created.
            lock_timeout: Seconds that a change or a question waits for locks of others before a `StoreBusyError`;
                10 if None.

        Raises:
            StoreNotFoundError: If there is no store, and none shall be created.
            StoreError: If the store cannot be opened.
        """
        return cls(open_store(url, create=create, lock_timeout=lock_timeout), policy)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop following, store what is left to be stored, and close the store. The matcher keeps answering."""
        with suppress(StoreError), answer_by(time.monotonic() + _FAREWELL):
            self.store_matches()
        self.replica.close()
        self._store.close()

    @property
    def store(self) -> Store:
        """Where lists are kept; what else is kept there has classes of its own. Lists are changed by a manager only."""
        return self._store

    def account(self, account: str) -> Account:
        """The account of that name.

        Raises:
            AccountNotFoundError: If there is none.
            StoreError: If the store cannot be read.
        """
        return queries.account_named(self._store, account)

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
        return queries.accounts(self._store, after=after, limit=limit, parent=parent, containing=containing)

    def counts(self, names: Collection[str] | None = None) -> dict[str, int]:
        """How many entries each account holds that has any, without expired ones, by account name.

        Args:
            names: Only these accounts; None for all.

        Raises:
            StoreError: If the store cannot be read.
        """
        return queries.entry_counts(self._store, names)

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
        return queries.list_states(self._store, names)

    def entries(self, account: str) -> list[Entry]:
        """The entries in address order, expired ones that were not swept yet among them; for a subaccount its parent's.

        Raises:
            AccountNotFoundError: If there is no such account.
            StoreError: If the store cannot be read.
        """
        return queries.entries_of(self._store, account)

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
        return queries.listing(self._store, account)

    def last_matches(self, account: str) -> dict[int, datetime]:
        """When entries of the list that counts for an account last let an address in, by entry id.

        Known are those of gates that note it; see `Gate`. The time is up to an hour before the last match.

        Args:
            account: The account, or a subaccount.

        Raises:
            AccountNotFoundError: If there is no such account.
            StoreError: If the store cannot be read.
        """
        return queries.last_matches(self._store, account)

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
        return queries.explain(self._store, account, address)

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
        return queries.change_history(self._store, account, limit=limit, after=after, before=before)

    def load(self, *, snapshot: str | Path | None = None, progress: Callable[[int], object] | None = None) -> None:
        """Fill the matcher from the store, all accounts as of one moment.

        Args:
            snapshot: A file by `compile` to start from; where there is none that fits, the store is read whole.
            progress: Called while the store is read whole, with the number of accounts read since the last call.

        Raises:
            StoreError: If the store cannot be read.
        """
        self.replica.load(snapshot=snapshot, progress=progress)

    def compile(self, path: str | Path) -> None:
        """Write a snapshot from which `open` starts without reading the store.

        Args:
            path: The file; it is replaced in one step.

        Raises:
            CidrgateError: If the matcher was not loaded.
            StoreError: If the store cannot be read.
            OSError: If the file cannot be written.
        """
        self.replica.compile(path)

    def follow(self) -> None:
        """Begin to follow the store: a thread publishes what others change, and takes entries out that end.

        Raises:
            CidrgateError: If the matcher was not loaded.
        """
        self.replica.follow()

    @property
    def matcher(self) -> Matcher:
        """The matcher over all accounts, equal to the store as far as it is known; always the same object.

        Raises:
            CidrgateError: If it was not loaded: an empty matcher would allow everything.
        """
        return self.replica.matcher

    @property
    def staleness(self) -> float:
        """Seconds since the matcher was last known to equal the store; infinite before it was loaded."""
        return self.replica.staleness

    @property
    def known_at(self) -> float:
        """When the matcher was last known to equal the store, on the clock of `time.monotonic`; -inf for never."""
        return self.replica.known_at

    @property
    def on_known(self) -> Callable[[], object] | None:
        """What is called when the matcher is known to equal the store, by the thread that looks; None for nothing."""
        return self.replica.on_known

    @on_known.setter
    def on_known(self, call: Callable[[], object] | None) -> None:
        self.replica.on_known = call

    @property
    def follows(self) -> bool:
        """Whether a thread of this process follows the store."""
        return self.replica.follows

    @property
    def snapshot_age(self) -> float | None:
        """Seconds since the shared snapshot was written; infinite if it is not there, None without one."""
        return self.replica.snapshot_age

    def allows(self, account: str, address: Address) -> bool:
        """Whether an address may act for an account: `matcher.allows`, unless the lists are too old to be trusted.

        Args:
            account: The account; one without entries, or unknown, allows every address.
            address: Text, packed bytes (4 or 16), or an `ipaddress` object.

        Raises:
            InvalidAddressError: If the address is none.
            CidrgateError: If the matcher was not loaded.
        """
        return self.replica.allows(account, address)

    @property
    def denies_when_stale(self) -> bool:
        """Whether lists that are too old to be trusted deny."""
        return self.replica.denies_when_stale

    @property
    def stale(self) -> bool:
        """Whether the lists are too old to be trusted; never where they are served whatever their age."""
        return self.replica.stale

    def checker(self) -> Callable[[str, Address], bool]:
        """The cheapest callable that answers what `allows` does: the matcher's own where no staleness counts.

        Keep the manager as long as the callable: nobody else tells the matcher what changes.

        Raises:
            CidrgateError: If the matcher was not loaded.
        """
        return self.replica.checker()

    def measure_waits(self, waited: Callable[[float], object], refused: Callable[[], object] | None = None) -> None:
        """Tell somebody how long changes of this manager wait, for locks and for their turn.

        Args:
            waited: Called with the seconds of each change, in the thread that makes it.
            refused: Called for each change that waited in vain; None for nobody.
        """
        self._commits.waited = waited
        self._commits.refused = refused

    def create_account(self, account: str, *, parent: str | None = None, actor: str | None = None) -> Account:
        """Create an account, or a subaccount that inherits its parent's list.

        Args:
            account: Its name: up to 255 characters in Unicode's normal form C, without whitespace around it, without
                characters that people cannot see; see `cidrgate.rules.characters`.
            parent: The account whose list it inherits; None for an account with a list of its own.
            actor: Who creates it, for the change log.

        Raises:
            InvalidAccountError: If the name cannot be used.
            InvalidTextError: If the actor holds a character that people cannot see.
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
        check_text(actor, "an actor")

        def create(transaction: Transaction) -> Account:
            owner = None if parent is None else parent_account(transaction, parent)
            if transaction.account(account) is not None:
                raise AccountExistsError(f"there is an account {account!r} already")
            if self._dry_run:
                return Account(account, parent, datetime.now(UTC))
            made = transaction.insert_accounts([account], parent=owner, at=datetime.now(UTC), actor=actor)
            created = made[account].value()
            if self._in_transaction is not None:
                self._in_transaction(transaction, created)
            return created

        if self._dry_run:
            with self._store.read() as transaction:
                return create(transaction)
        return self._write(create)

    def add(
        self,
        account: str,
        cidrs: str | Iterable[str | NewEntry],
        *,
        actor: str | None = None,
        expect_version: int | None = None,
        **details: Unpack[EntryDetails],
    ) -> list[Entry]:
        """List new entries: all of them, or none.

        Args:
            account: Whose list.
            cidrs: CIDRs separated by commas or newlines, or an iterable of CIDRs and `NewEntry`.
            actor: Who adds them, for the entries and the change log.
            expect_version: The version of the account that the caller saw; None for whatever it is.
            details: `label` and `expires_at` of every entry that brings none of its own; see `EntryDetails`.

        Returns:
            The new entries in the order of the submission.

        Raises:
            RuleError: If anything breaks a rule; carries every problem of the submission.
            InvalidExpiryError: If an entry would end at a time that is over, or that names no zone.
            InvalidTextError: If a label or the actor holds a character that people cannot see.
            AccountNotFoundError: If there is no such account.
            SubaccountError: If the account inherits its list.
            VersionConflictError: If the account has another version than expected.
            StoreError: If the change cannot be stored.

        Example:
            >>> with RuleManager.open("memory://") as manager:
            ...     account = manager.create_account("acct-1")
            ...     manager.add("acct-1", "8.8.8.0/24, 127.0.0.1/32")
            Traceback (most recent call last):
            ...
            cidrgate.errors.RuleError: special_range: '127.0.0.1/32'...
        """
        pieces = split_submission(cidrs, most=self.policy.most_pieces, **details)
        check_labels(pieces)

        def added(_: Transaction, listing: Listing) -> ListChange:
            existing = [entry.cidr for entry in listing.active()]
            return addition(listing, pieces, validate_addition(pieces, existing, self.policy))

        return list(self._change_list(account, added, actor, expect_version).change.after)

    def edit(
        self,
        account: str,
        which: str | int,
        cidr: str | EntryEdit | None = None,
        *,
        actor: str | None = None,
        expect_version: int | None = None,
        **details: Unpack[EntryDetails],
    ) -> Entry:
        """Change the network, the label or the end of one entry; it keeps its id, who added it and when.

        Args:
            account: Whose list.
            which: The entry: its CIDR in any spelling, or its id.
            cidr: The network it shall have, checked against the rest of the list; None keeps it. Or an `EntryEdit`,
                which says all that shall be different.
            actor: Who changes it, for the change log.
            expect_version: The version of the account that the caller saw; None for whatever it is.
            details: The `label` and the `expires_at` it shall have, None for none; what is left out, or `...`, stays.
                See `EntryDetails`.

        Returns:
            The entry as it is now.

        Raises:
            TypeError: If an `EntryEdit` comes with details beside it.
            RuleError: If the new network breaks a rule.
            InvalidExpiryError: If it would end at a time that is over, or that names no zone.
            InvalidTextError: If the label or the actor holds a character that people cannot see.
            EntryNotFoundError: If the list holds no such entry.
            AccountNotFoundError: If there is no such account.
            SubaccountError: If the account inherits its list.
            VersionConflictError: If the account has another version than expected.
            StoreError: If the change cannot be stored.

        Example:
            >>> with RuleManager.open("memory://") as manager:
            ...     account = manager.create_account("acct-1")
            ...     added = manager.add("acct-1", "1.1.1.1/32")
            ...     manager.edit("acct-1", "1.1.1.1/32", "1.1.1.0/24").cidr
            '1.1.1.0/24'
        """
        if isinstance(cidr, EntryEdit):
            if details:
                raise TypeError("say what shall be different in the EntryEdit, or in arguments, not in both")
            edit = cidr
        else:
            edit = EntryEdit(... if cidr is None else cidr, **details)
        check_labels([edit])

        def edited(_: Transaction, listing: Listing) -> ListChange:
            return edition(listing, which, edit, self.policy)

        outcome = self._change_list(account, edited, actor, expect_version)
        return outcome.change.after[0] if outcome.change.after else named_entries(account, outcome.after, [which])[0]

    def remove(
        self,
        account: str,
        *which: str | int,
        actor: str | None = None,
        expect_version: int | None = None,
        allow_empty: bool = False,
    ) -> list[Entry]:
        """Remove entries: all that are named, or none. Without entries an account is not enforced, which must be said.

        Args:
            account: Whose list.
            which: The entries: CIDRs in any spelling, also several in one text separated by commas, or ids.
            actor: Who removes them, for the change log.
            expect_version: The version of the account that the caller saw; None for whatever it is.
            allow_empty: Whether the list may become empty, which ends enforcement: every address is allowed then.

        Returns:
            The removed entries, in the order they were named.

        Raises:
            EntryNotFoundError: If the list holds one of them not; says what it holds.
            AccountNotFoundError: If there is no such account.
            SubaccountError: If the account inherits its list.
            VersionConflictError: If the account has another version than expected.
            WouldDisableEnforcementError: If no entry would be left, and `allow_empty` was not said.
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

        def removed(_: Transaction, listing: Listing) -> ListChange:
            return listing.change("remove", named_entries(account, listing.entries, keys))

        return list(self._change_list(account, removed, actor, expect_version, allow_empty=allow_empty).change.before)

    def replace(
        self,
        account: str,
        cidrs: str | Iterable[str | NewEntry],
        *,
        actor: str | None = None,
        expect_version: int | None = None,
        allow_empty: bool = False,
        **details: Unpack[EntryDetails],
    ) -> list[Entry]:
        """Make the list exactly this, in one change. Entries whose network stays keep id, author and time.

        Args:
            account: Whose list.
            cidrs: The whole list: CIDRs separated by commas or newlines, or an iterable of CIDRs and
                `NewEntry`; nothing empties the list, for which `allow_empty` is needed.
            actor: Who changes it, for new entries and the change log.
            expect_version: The version of the account that the caller saw; None for whatever it is.
            allow_empty: Whether the list may become empty, which ends enforcement: every address is allowed then.
            details: `label` and `expires_at` of every entry that brings none of its own; see `EntryDetails`. An entry
                that stays keeps what neither says.

        Returns:
            The list in address order.

        Raises:
            RuleError: If anything breaks a rule; carries every problem of the submission.
            InvalidExpiryError: If an entry would end at a time that is over, or that names no zone.
            InvalidTextError: If a label or the actor holds a character that people cannot see.
            AccountNotFoundError: If there is no such account.
            SubaccountError: If the account inherits its list.
            VersionConflictError: If the account has another version than expected.
            WouldDisableEnforcementError: If no entry would be left, and `allow_empty` was not said.
            StoreError: If the change cannot be stored.

        Example:
            >>> with RuleManager.open("memory://") as manager:
            ...     account = manager.create_account("acct-1")
            ...     added = manager.add("acct-1", "1.1.1.1/32, 8.8.8.0/24")
            ...     [entry.cidr for entry in manager.replace("acct-1", ["9.9.9.9/32", "1.1.1.1/32"])]
            ['1.1.1.1/32', '9.9.9.9/32']
        """
        pieces = split_submission(cidrs, most=self.policy.most_pieces, **details)
        check_labels(pieces)

        def replaced(_: Transaction, listing: Listing) -> ListChange:
            return replacement(listing, pieces, validate_replacement(pieces, self.policy))

        return self._change_list(account, replaced, actor, expect_version, allow_empty=allow_empty).after

    def restore(
        self,
        account: str,
        *,
        at: int,
        actor: str | None = None,
        expect_version: int | None = None,
        allow_empty: bool = False,
    ) -> list[Entry]:
        """Make the list what it was after a change of the log, as a new change that must keep the rules of today.

        Entries that have expired since are left out. An entry that is not listed now comes back as a new one.

        Args:
            account: Whose list.
            at: The sequence in the change log.
            actor: Who changes it, for new entries and the change log.
            expect_version: The version of the account that the caller saw; None for whatever it is.
            allow_empty: Whether the list may become empty, which ends enforcement: every address is allowed then.

        Returns:
            The list in address order.

        Raises:
            HistoryError: If the log does not tell what the list was: the account did not exist, or the rows are gone.
            RuleError: If the list of then breaks a rule of today.
            AccountNotFoundError: If there is no such account.
            SubaccountError: If the account inherits its list.
            VersionConflictError: If the account has another version than expected.
            WouldDisableEnforcementError: If no entry would be left, and `allow_empty` was not said.
            StoreError: If the change cannot be stored.

        Example:
            >>> with RuleManager.open("memory://") as manager:
            ...     account = manager.create_account("acct-1")
            ...     added = manager.add("acct-1", "1.1.1.1/32")
            ...     removed = manager.remove("acct-1", "1.1.1.1/32", allow_empty=True)
            ...     before = manager.history("acct-1")[-2].sequence
            ...     [entry.cidr for entry in manager.restore("acct-1", at=before)]
            ['1.1.1.1/32']
        """

        def restored(transaction: Transaction, listing: Listing) -> ListChange:
            start, end = transaction.log_start(), transaction.log_end()
            if at < start - 1:
                raise HistoryError(f"the change log begins with change {start}: what was before is gone")
            if at > end:
                raise HistoryError(f"the change log ends with change {end}: there is no change {at} yet")
            then = list_at(listing.entries, transaction.changes(account, None, after=at), at)
            return restoration(listing, then, self.policy)

        return self._change_list(account, restored, actor, expect_version, allow_empty=allow_empty).after

    def prune_history(self, older_than: timedelta) -> int:
        """Delete the beginning of the change log.

        Args:
            older_than: The age from which on rows are deleted.

        Returns:
            How many rows are gone.

        Raises:
            ValueError: If the age is negative.
            CidrgateError: If this manager makes dry runs: no rows are deleted.
            StoreError: If they cannot be deleted.
        """
        if self._dry_run:
            raise CidrgateError("a manager of dry runs does not prune the change log")
        if older_than.total_seconds() < 0:
            raise ValueError(f"an age is not negative: {older_than}")

        def prune(transaction: Transaction) -> int:
            return transaction.prune(earlier_by_far(certain_time(datetime.now(UTC)), transaction.clock()) - older_than)

        return self._write(prune)

    def sweep(self) -> int:
        """Take entries that have ended by themselves off the lists, and log it; a manager that follows does so itself.

        Where an account has none but expired entries they stay, as an account without entries is not enforced, and
        nothing is opened by the clock: a person removes them. Entries that have ended by this machine's clock alone
        stay too, as that may have jumped ahead: they must have ended by the database's clock, and by the time that has
        passed since the process was started.

        Returns:
            How many entries were taken off.

        Raises:
            StoreError: If the store cannot be read or written.
        """
        swept = 0
        with self._store.read() as transaction:
            certain = earlier_by_far(certain_time(datetime.now(UTC)), transaction.clock())
            names = transaction.accounts_to_sweep(certain, _ACCOUNTS_A_TRANSACTION)
        for name in names:

            def swept_list(_: Transaction, listing: Listing) -> ListChange:
                expired = [entry for entry in listing.entries if listing.ended(entry)]
                return listing.change("expire", expired if listing.active() else ())

            swept += len(self._change_list(name, swept_list, None, None).change.before)
        return swept

    def note_match(self, account: str, address: Address) -> None:
        """Remember which entry lets an address in, to be stored by `store_matches`.

        Args:
            account: The account it acts for.
            address: Text, packed bytes (4 or 16), or an `ipaddress` object.

        Raises:
            InvalidAddressError: If the address is none.
            CidrgateError: If the matcher was not loaded.

        Example:
            >>> with RuleManager.open("memory://") as manager:
            ...     account = manager.create_account("acct-1")
            ...     [entry] = manager.add("acct-1", "8.8.8.0/24")
            ...     manager.note_match("acct-1", "8.8.8.8")
            ...     stored = manager.store_matches()
            ...     list(manager.last_matches("acct-1")) == [entry.id]
            True
        """
        cidr = self.replica.matcher.match(account, address)
        if cidr is not None:
            self.matches.note(account, cidr)

    def store_matches(self) -> int:
        """Store when the entries that `note_match` saw last matched; a manager that follows does so every minute.

        An entry that goes on matching is stored once an hour.

        Returns:
            How many were stored.

        Raises:
            StoreError: If they cannot be; they are kept for the next time.
        """
        stored = 0
        for seen in self.matches.pending():
            at = certain_time(datetime.now(UTC))  # a later one would stand for good
            self._write(partial(_note_matches, seen=seen, at=at))
            stored += len(seen)
        return stored

    def withdraw_changes(self) -> None:
        """Take back the changes that are not committed: what waits for a lock, or for its turn, stops to wait.

        For a process that stops: the threads that brought these changes get a `ChangeWithdrawnError`, and nothing of
        them is stored. What was told to commit is not taken back. May be called again and again, from any thread.
        """
        self._commits.withdraw()
        self._store.withdraw()

    def import_accounts(
        self,
        lists: Mapping[str, Sequence[NewEntry]] | Iterable[tuple[str, Sequence[NewEntry]]],
        *,
        replace: bool = False,
        create: bool = True,
        strict: bool = False,
        dry_run: bool = False,
        allow_empty: bool = False,
        actor: str | None = None,
        progress: Callable[[int], object] | None = None,
    ) -> ImportReport:
        """Store the lists of many accounts, some thousands a commit; each account's whole or not at all.

        Args:
            lists: The entries to list, by account name; or pairs of a name and its entries, each name once, which are
                read as they are needed.
            replace: Whether each list stands in the place of the account's, instead of being added to it.
            create: Whether an account that does not exist is created.
            strict: Whether all of it is one commit, and none of it if any account's list cannot be stored.
            dry_run: Whether everything is checked and nothing is stored.
            allow_empty: Whether a list of no entries may, with `replace`, take the place of one that has some, which
                ends the account's enforcement. Otherwise the account's problem is a `WouldDisableEnforcementError`.
            actor: Who imports, for the entries and the change log.
            progress: Called after each commit with the number of accounts done since the last call.

        Returns:
            What was stored, and for each account that could not be, why.

        Raises:
            InvalidTextError: If the actor holds a character that people cannot see.
            StoreError: If a commit fails; the accounts of the commits before it are stored and published.

        Example:
            >>> from cidrgate import NewEntry
            >>> with RuleManager.open("memory://") as manager:
            ...     lists = {"a": [NewEntry("8.8.8.0/24", "dns")], "b": [NewEntry("10.0.0.0/8")]}
            ...     report = manager.import_accounts(lists)
            >>> report.accounts, report.entries, list(report.problems)
            (1, 1, ['b'])
        """
        dry_run = dry_run or self._dry_run
        check_text(actor, "an actor")

        def store(part: Mapping[str, Sequence[NewEntry]]) -> tuple[int, ImportReport]:
            def stored(transaction: Transaction) -> ImportReport:
                return import_lists(
                    transaction,
                    part,
                    policy=self.policy,
                    replace=replace,
                    create=create,
                    strict=strict,
                    dry_run=dry_run,
                    confirmed=self._confirmed_with(allow_empty=allow_empty),
                    at=datetime.now(UTC),
                    actor=actor,
                )

            return len(part), self._write(stored)

        report = ImportReport()
        remaining = iter(lists.items() if isinstance(lists, Mapping) else lists)
        size = None if strict else _ACCOUNTS_A_TRANSACTION
        parts = iter(lambda: dict(islice(remaining, size)), {})
        for done, part_report in in_background(store, parts, self._store.writers):
            report += part_report
            if progress is not None:
                progress(done)
        return report

    def with_hooks(
        self,
        *,
        before_store: Callable[[ListOutcome], object] | None = None,
        in_transaction: Callable[[Transaction, ListOutcome | Account], object] | None = None,
        dry_run: bool = False,
        address: str | None = None,
        confirmed: Iterable[str] = (),
    ) -> Self:
        """Return this manager with hooks that see each change before it is committed.

        It also guards the caller: a change that would lock out the caller's address, or end the enforcement of an
        account, raises an `UnconfirmedChangeError` unless it was confirmed by name.

        Args:
            before_store: Called with the outcome of a change of a list before it is stored. If it raises a
                `CidrgateError`, nothing is stored. The outcome says what the change must be confirmed for.
            in_transaction: Called in the transaction of a change, with the outcome or the created account. What it
                stores is committed with the change. It may be called a second time, in another transaction, if the
                first one could not be committed. If it raises, nothing is stored.
            dry_run: Whether changes are validated and passed to `before_store`, but not stored. They need no
                confirmation then. `import_accounts` is dry too, but calls no hooks; `prune_history` raises an error.
            address: The caller's address as canonical text; None if it is unknown, and then no change is a lock-out.
            confirmed: The guards that the changes may meet, by name: `disable_enforcement`, `lock_out`. They add to
                those of this manager.

        Raises:
            ValueError: If `confirmed` names an unknown guard.

        The hooks of this manager stay, and are called first.

        Example:
            >>> with RuleManager.open("memory://") as manager:
            ...     account = manager.create_account("acct-1")
            ...     outcomes = []
            ...     would_add = manager.with_hooks(before_store=outcomes.append, dry_run=True)
            ...     added = would_add.add("acct-1", "8.8.8.0/24")
            ...     [entry.cidr for entry in outcomes[0].after], manager.entries("acct-1")
            (['8.8.8.0/24'], [])
        """
        seen = copy(self)
        seen._before_store = _both(self._before_store, before_store)
        seen._in_transaction = _both(self._in_transaction, in_transaction)
        seen._dry_run = self._dry_run or dry_run
        seen._address = self._address if address is None else address
        seen._confirmed = self._confirmed | named_guards(confirmed)
        return seen

    def _change_list(
        self,
        account: str,
        make: Callable[[Transaction, Listing], ListChange],
        actor: str | None,
        expect_version: int | None,
        *,
        allow_empty: bool = False,
    ) -> ListOutcome:
        check_text(actor, "an actor")
        confirmed = self._confirmed_with(allow_empty=allow_empty)
        request = ListRequest(
            account, make, actor, expect_version, self._before_store, self._in_transaction, self._address, confirmed
        )
        if self._dry_run:
            with self._store.read() as transaction:
                [result] = change_lists(transaction, [request], dry_run=True)
            if isinstance(result, CidrgateError):
                raise result
            return result
        return self._attempted(lambda: self._commits.change_list(request))

    def _confirmed_with(self, *, allow_empty: bool) -> frozenset[Guard]:
        return self._confirmed | {Guard.DISABLE_ENFORCEMENT} if allow_empty else self._confirmed

    def _write(self, make: Callable[[Transaction], _Made]) -> _Made:
        """What a function makes in a write transaction of its own."""

        def write() -> _Made:
            if self._store.writers == 1:
                # Those that wait for a lock of the database are not served in their order.
                return self._commits.exclusive(make)
            with self.replica.published.change() as transaction:
                return make(transaction)

        return self._attempted(write)

    def _attempted(self, change: Callable[[], _Made]) -> _Made:
        """What a change comes to; tried again when another writer came first.

        Never after an `OutcomeUnknownError`: what may be stored already is not stored once more.
        """
        end = time.monotonic() + time_left(self._store.lock_timeout)
        with answer_by(end):
            for _ in range(_ATTEMPTS - 1):
                try:
                    return change()
                except StoreConflictError:
                    if time.monotonic() >= end:
                        raise
            return change()

    def before_fork(self) -> None:
        """Nothing: what a child must not inherit is the store's."""

    def after_fork(self, *, certain: bool) -> None:
        """Go on in a forked child, with no change under way."""
        self._commits.after_fork()
        self.replica.after_fork(certain=certain)


def _note_matches(transaction: Transaction, seen: Sequence[tuple[str, str]], at: datetime) -> None:
    transaction.note_matches(seen, at)


def _both(first: Callable[..., object] | None, second: Callable[..., object] | None) -> Callable[..., object] | None:
    """One call that is both, in their order."""
    if first is None or second is None:
        return first or second

    def both(*arguments: object) -> None:
        first(*arguments)
        second(*arguments)

    return both
