"""`RuleManager` validates a change of a list, stores it and then publishes it to the matcher: all of it or nothing.

The rules are in `cidrgate.rules`, SQL is in `cidrgate.stores`, and the matcher that follows a store is in
`cidrgate.replica`. In this folder `queries` reads, `changes` computes the effect of a change on a list, and `importing`
loads the lists of many accounts.
"""

from __future__ import annotations

import atexit
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, suppress
from copy import copy
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib import import_module
from itertools import islice, repeat, tee
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeVar

from cidrgate._engine import canonical_address
from cidrgate.errors import (
    AccountExistsError,
    CidrgateError,
    HistoryError,
    RuleError,
    StoreBusyError,
    StoreError,
    SubaccountError,
    needs_extra,
)
from cidrgate.foresight.recommending import recommend
from cidrgate.manager import queries
from cidrgate.manager.account_changes import (
    AccountEdit,
    DeletedAccount,
    EditedAccount,
    account_deletion,
    account_edit,
    created_account,
    created_version,
    creation_outcome,
)
from cidrgate.manager.accounts import existing_account, parent_account, refuse_subaccount
from cidrgate.manager.backups import BackupReport, backup_lines, restore_lines
from cidrgate.manager.change_feed import follow_changes, read_changes
from cidrgate.manager.change_lines import ChangeLines
from cidrgate.manager.change_requests import ListRequest, change_lists
from cidrgate.manager.changes import (
    Listing,
    addition,
    check_labels,
    entry_edit,
    entry_key,
    list_at,
    missing_addition,
    named_entries,
    replaced_list,
    restoration,
)
from cidrgate.manager.commit_groups import CommitGroups
from cidrgate.manager.confirmations import named_guards, refuse_unconfirmed
from cidrgate.manager.declared import (
    ApplyReport,
    DeclaredAccount,
    apply_declared,
    checked_declaration,
    in_parts,
    refuse_other_accounts,
    with_order,
)
from cidrgate.manager.erasing import erasure
from cidrgate.manager.evaluations import Foresight, changed_list, evaluation_of, foresight_of, inherited_lists
from cidrgate.manager.exports import export_lines, import_copies
from cidrgate.manager.importing import ImportReport, import_lists, in_background
from cidrgate.manager.last_matches import LastMatches
from cidrgate.manager.modes import end_after, end_of_mode, mode_change, mode_setting
from cidrgate.manager.origins import checked_origin
from cidrgate.manager.outcomes import Guard, ListOutcome
from cidrgate.manager.parts import Parts
from cidrgate.manager.policies import differences, policy_change, policy_state, say_differences, stored_policy
from cidrgate.manager.recommendations import AccountRecommendation, recommendation_for
from cidrgate.manager.searching import find_entries
from cidrgate.manager.turns import Turns
from cidrgate.manager.undoing import logged_change, undoing
from cidrgate.process.file_names import file_name
from cidrgate.process.forking import join_forks, loading
from cidrgate.process.weak_sets import SharedWeakSet
from cidrgate.replica.replica import Replica
from cidrgate.rules import Policy, split_submission, validate_addition
from cidrgate.rules.account_names import check_account_name
from cidrgate.rules.characters import checked_text
from cidrgate.stores import open_store
from cidrgate.stores.waits import answer_by, tried_again
from cidrgate.traffic import Traffic
from cidrgate.values import (
    Account,
    AccountDeletion,
    EntryEdit,
    Origin,
    account_text,
    account_texts,
    check_switches,
    check_type,
    seconds,
    several_networks,
    text_of,
    truth,
    whole_number,
)

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Collection, Generator, Iterable, Sequence
    from ipaddress import IPv4Address, IPv6Address
    from types import EllipsisType
    from typing import TypeAlias, Unpack

    from cidrgate._engine import Matcher
    from cidrgate.errors import Confirmation
    from cidrgate.foresight.evaluation import ChangedList, Evaluation
    from cidrgate.manager.evaluations import GivenObservations
    from cidrgate.replica.replica import OnStale
    from cidrgate.rules.policy import PolicyChange, PolicyOptions, PolicyState
    from cidrgate.rules.submission import Submission
    from cidrgate.stores import Store, StoredAccount, StoredChange, Transaction
    from cidrgate.traffic.recorder import Recorder
    from cidrgate.values import (
        Address,
        Change,
        Decision,
        Duration,
        Entry,
        EntryDetails,
        EntryRef,
        FoundEntry,
        ListChange,
        ListState,
        Mode,
        NewEntry,
        Observation,
        Prefix,
    )

    Changed: TypeAlias = ListOutcome | Account | AccountDeletion | PolicyChange | ApplyReport
    """What a hook in a transaction gets of a change."""

__all__ = ["ImportReport", "RuleManager"]

_ACCOUNTS_A_TRANSACTION = 2_000
"""How many accounts of an import one commit stores: enough that the wait for the disk does not matter, and few enough
that other writers can commit in between."""


_Made = TypeVar("_Made")
_AccountChange = TypeVar("_AccountChange", bound="EditedAccount | DeletedAccount")
_Result = TypeVar("_Result", bound="Account | AccountDeletion")

_LONGEST_AGE = 50 * 365 * 86400.0
"""The age in seconds that stands for all longer ones, because no time can be before the year 1."""

_FAREWELL = 2.0
"""How many seconds `close` waits for locks, so that it can store when entries last matched."""

_LAST_WRITE = 5.0
"""The most seconds that a process which may end waits until the last matches and the traffic are stored."""

_TURNS = 2
"""How many groups of changes are committed at once: one group continues while another waits for a list that another
process has locked. More groups would be smaller, and would cost more."""

_RECOMMENDING, _EVALUATING = 2, 4
"""How many threads make recommendations, and evaluate changes, at a time: fewer than there are connections."""


class RuleManager:
    """Changes the lists of all accounts in a store, and follows the store with a matcher.

    Threads can share a manager. It validates and stores a change in one transaction, and publishes it to the matcher
    after the commit. A change that fails leaves the store and the matcher unchanged. The matcher also follows the
    changes that other processes and other machines make.

    Args:
        store: The store of the lists. `close` closes it too.
        policy: What a list may contain.
        max_staleness: The staleness in seconds after which `on_stale` applies; None for never.
        on_stale: What `allows` does then: `serve` uses the last known lists, and `deny` denies every address of an
            enforced account.

    Raises:
        TypeError: If `store` is not a store, or `policy` not a `Policy`.

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
        *,
        policy: Policy | None = None,
        max_staleness: Duration | None = None,
        on_stale: OnStale = "serve",
    ) -> None:
        if not hasattr(store, "writers"):
            raise TypeError(f"store must be a Store, not {type(store).__name__}: RuleManager.open takes an address")
        check_type(policy, Policy, "policy", or_none=True)
        self.policy = Policy() if policy is None else policy
        self._store = store
        self._replica = Replica(store, max_staleness=max_staleness, on_stale=on_stale)
        """The lists in memory, for code that only reads them."""
        self._recommending, self._evaluating = Turns(_RECOMMENDING), Turns(_EVALUATING)
        self._matches = LastMatches()
        """Where gates record which entries matched requests; `store_matches` stores them."""
        self._commits = CommitGroups(self._replica.published.change, min(store.writers, _TURNS), store.lock_timeout)
        self._before_store: Callable[[ListOutcome], object] | None = None
        self._in_transaction: Callable[[Transaction, Changed], object] | None = None
        self._check_account: Callable[[Transaction, StoredAccount], object] | None = None
        self._recorder: Recorder | None = None
        """What records traffic, or None."""
        self._last_write: tuple[threading.Thread | None, float] = (None, 0.0)
        """The thread that stores what is pending, and the `time.monotonic` time until which callers wait for it."""
        self._dry_run = False
        self._address: str | None = None
        self._confirmed: frozenset[Guard] = frozenset()
        self._origin = Origin(kind="library")
        _open.add(self)
        # What was registered last runs first: before the finalizers of stores, which close connections.
        atexit.unregister(_store_all_matches)
        atexit.register(_store_all_matches)
        store.listener = ChangeLines()
        self._replica.published.housekeeping = {"sweep": self.sweep, "matches": self.store_matches, "tidy": store.tidy}
        self._replica.published.housekeeping["index"] = store.index_new_rows
        join_forks(self, stage=1)

    @classmethod
    def open(
        cls,
        url: str | os.PathLike[str],
        *,
        policy: Policy | None = None,
        create: bool = False,
        load: bool = True,
        follow: bool = True,
        max_staleness: Duration | None = None,
        on_stale: OnStale = "serve",
        snapshot: str | os.PathLike[str] | None = None,
        refresh_snapshot: Duration | None = None,
        progress: Callable[[int], object] | None = None,
        lock_timeout: Duration | None = None,
        pool_size: int | None = None,
        traffic: Traffic | None = None,
    ) -> Self:
        """Open a store, load the matcher from it, and follow the store.

        Args:
            url: A URL such as `sqlite:///allowlist.db`, `postgresql://host/name` or `memory://`, or the path of an
                SQLite file; see `cidrgate.stores.open_store`.
            policy: What a list may contain; the default policy if None.
            create: Whether to create a store that does not exist. Leave it out wherever the store must exist already:
                no account is enforced in an empty store.
            load: Whether to load the matcher. Without it the manager opens faster and holds no lists in memory, for a
                tool that makes a few changes or queries. It does not follow the store, and `allows` and `matcher`
                raise an error until `load` is called.
            follow: Whether a thread publishes the changes of other processes to the matcher, and removes entries from
                the matcher when they expire.
            max_staleness: The staleness in seconds after which `on_stale` applies, and the log says that the lists are
                stale; None for never.
            on_stale: What `allows` does then: `serve` uses the last known lists, `deny` denies enforced accounts.
            snapshot: A file from `save_snapshot` to start from. If it does not exist or cannot be used, the manager
                reads the whole store. If another process writes a new snapshot to the file, a manager that follows the
                store uses the new one, so that the processes of a host share its pages.
            refresh_snapshot: The seconds after which one of the managers that share the snapshot writes a new one; None
                for never.
            progress: Called while the manager reads the whole store, with the number of accounts since the last call.
            lock_timeout: How many seconds a change or a query waits for locks before it raises `StoreBusyError`; 10 if
                None.
            pool_size: How many connections to the store stay open, besides one to listen; 15 if None.
            traffic: Whether and how long to record which addresses act for which account, for `traffic` and for
                previews of changes; None to record nothing. It needs `pip install 'cidrgate[traffic]'`.

        Raises:
            StoreNotFoundError: If there is no store and `create` is false.
            StoreError: If the store cannot be opened or read.
            SnapshotError: If the snapshot is a database, such as the store itself, or belongs to one.
            MissingExtraError: If a library for `traffic` is not installed.
            TypeError: If an argument is of another type.
            OSError: If `snapshot` is an empty text, or has a null character.
            ValueError: If a setting is not valid, or there is `traffic` to record without `load`.
        """
        check_switches(create=create, load=load, follow=follow)
        check_type(traffic, Traffic, "traffic", or_none=True)
        if traffic is not None and not load:
            raise ValueError("traffic is recorded by the matcher: leave out load=False")
        if snapshot is not None:
            snapshot = file_name(snapshot, "snapshot")
        with ExitStack() as undone:
            store = open_store(url, create=create, lock_timeout=lock_timeout, pool_size=pool_size)
            undone.callback(store.discard)
            manager = cls(store, policy=policy, max_staleness=max_staleness, on_stale=on_stale)
            undone.callback(manager.close)
            if policy is not None:
                with store.read_autocommit() as transaction:
                    say_differences(policy, stored_policy(transaction))
            if load:
                manager.load(snapshot=snapshot, progress=progress)
                if snapshot is not None and follow:
                    manager._replica.share_snapshot(Path(snapshot), refresh_snapshot)
                if follow:
                    manager.follow()
                if traffic is not None:
                    manager._record(traffic)
            undone.pop_all()
        return manager

    def __repr__(self) -> str:
        """Return what a log may show: the store without a password, and the policy."""
        dry = ", dry_run=True" if self._dry_run else ""
        return f"<RuleManager of {self._store.name}, {self.policy!r}{dry}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _record(self, traffic: Traffic) -> None:
        """Record traffic from now on."""
        with loading(), needs_extra("traffic", "a record of traffic"):
            from cidrgate.traffic.recorder import Recorder

        self._recorder = Recorder(self.matcher, self._write, self._log_end, traffic)
        self._replica.published.before_adoption = self._recorder.name_rows

    def close(self) -> None:
        """Stop following, store the last matches and the traffic that are not stored yet, and close the store.

        The matcher still answers with the lists it has. An exception of a signal handler ends one step, not all.
        """
        _open.discard(self)
        with closing(self._store), closing(self._replica):
            try:
                if self._recorder is not None:
                    self._recorder.stop()
            finally:
                with suppress(StoreError), answer_by(time.monotonic() + _FAREWELL):
                    self.store_matches()

    def _store_pending(self) -> None:
        """Store the last matches and the traffic that are not stored yet, and stay open: the process may end soon.

        It takes some seconds at most, for all callers together if the store does not answer.
        """
        if self._recorder is None and not self._matches.is_pending:
            return
        thread, last = self._last_write
        if thread is None or not thread.is_alive():
            thread, last = threading.Thread(target=self._write_pending, daemon=True), time.monotonic() + _LAST_WRITE
            thread.name = "cidrgate-last-write"
            try:
                thread.start()
            except RuntimeError:  # no thread can be started
                self._write_pending()
                return
            self._last_write = thread, last
        thread.join(max(0.0, last - time.monotonic()))
        if thread.is_alive() and self._recorder is not None:
            self._recorder.report_left()

    def _write_pending(self) -> None:
        if self._recorder is not None:
            try:
                self._recorder.flush()
            except Exception:  # noqa: BLE001 - it is kept, and lost only if the process ends
                self._recorder.report_left()
        with suppress(Exception), answer_by(time.monotonic() + _FAREWELL):
            self.store_matches()

    def account(self, account: str) -> Account:
        """Return the account with this name.

        Raises:
            AccountNotFoundError: If there is no such account.
            StoreError: If the store cannot be read.
        """
        account = account_text(account)
        return queries.account_named(self._store, account)

    def accounts(
        self,
        *,
        after: str | None = None,
        limit: int | None = None,
        parent: str | None = None,
        containing: str | None = None,
        starting_with: str | None = None,
    ) -> list[Account]:
        """Return accounts, sorted by name.

        Args:
            after: Only accounts whose names come after this name.
            limit: The largest number of accounts to return; None for all.
            parent: Only the subaccounts of this account.
            containing: Only accounts whose names contain this text, in upper or lower case of A to Z.
            starting_with: Only accounts whose names start with this text, in upper or lower case of A to Z.

        Raises:
            ValueError: If `limit` is negative.
            StoreError: If the store cannot be read.
        """
        after = None if after is None else account_text(after)
        parent = None if parent is None else account_text(parent)
        check_type(containing, str, "containing", or_none=True)
        check_type(starting_with, str, "starting_with", or_none=True)
        return queries.accounts(
            self._store, after=after, limit=limit, parent=parent, containing=containing, starting_with=starting_with
        )

    def counts(self, names: Collection[str] | None = None) -> dict[str, int]:
        """Return the number of entries of each account, by account name, without expired entries.

        The result leaves out accounts without such entries.

        Args:
            names: Only these accounts; None for all.

        Raises:
            TypeError: If `names` is one text.
            StoreError: If the store cannot be read.
        """
        return queries.entry_counts(self._store, None if names is None else account_texts(names, "names"))

    def list_states(self, names: Collection[str] | None = None) -> dict[str, ListState]:
        """Return the state of each account's effective list, by account name. A subaccount has its parent's list.

        Args:
            names: Only these accounts; None for all. The result leaves out accounts that do not exist.

        Raises:
            TypeError: If `names` is one text.
            StoreError: If the store cannot be read.

        Example:
            >>> from cidrgate import RuleManager
            >>> with RuleManager.open("memory://") as manager:
            ...     account = manager.create_account("acct-1")
            ...     subaccount = manager.create_account("sub-1", parent="acct-1")
            ...     added = manager.add("acct-1", "8.8.8.0/24")
            ...     state = manager.list_states(["sub-1"])["sub-1"]
            ...     state.entries, state.enforced, state.mode
            (1, True, 'enforce')
        """
        return queries.list_states(self._store, None if names is None else account_texts(names, "names"))

    def entries(self, account: str) -> list[Entry]:
        """Return the entries in address order, including expired entries that no sweep has removed yet.

        For a subaccount, return its parent's entries.

        Raises:
            AccountNotFoundError: If there is no such account.
            StoreError: If the store cannot be read.
        """
        account = account_text(account)
        return queries.entries_of(self._store, account)

    def listing(self, account: str) -> tuple[Account, list[Entry]]:
        """Return the account whose list decides for an account, and that list's entries, read at the same moment.

        The returned account contains the version of the list.

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
        account = account_text(account)
        return queries.listing(self._store, account)

    def last_matches(self, account: str) -> dict[int, datetime]:
        """Return when entries of an account's effective list last matched a request, by entry id.

        The result contains only matches from gates that record them; see `Gate`. The time is up to an hour before the
        last match.

        Args:
            account: The account, or a subaccount.

        Raises:
            AccountNotFoundError: If there is no such account.
            StoreError: If the store cannot be read.
        """
        account = account_text(account)
        return queries.last_matches(self._store, account)

    def traffic(self, account: str, days: int = 30, *, whole_list: bool = False) -> list[Observation]:
        """Return which addresses acted for an account in the last days, the most requests first.

        The result contains only requests to processes that record traffic; see `Traffic`. An account without a record
        has an empty result.

        Args:
            account: The account, or a subaccount, as the one that acted.
            days: How many days in UTC to look back, with today.
            whole_list: Whether to return the observations of every account that has the same list: of a parent and all
                of its subaccounts, whichever of them is named.

        Raises:
            AccountNotFoundError: If there is no such account.
            TypeError: If `days` is no whole number, or `whole_list` is neither True nor False.
            ValueError: If `days` is less than 1.
            StoreError: If the store cannot be read.
        """
        account = account_text(account)
        truth(whole_list, "whole_list")
        return queries.traffic(self._store, account, days, whole_list=whole_list)

    def _listing_with_matches(self, account: str) -> tuple[Account, list[Entry], dict[int, datetime]]:
        """Return what `listing` and `last_matches` return, read at the same moment."""
        return queries.listing_with_matches(self._store, account)

    def find(
        self,
        covers: Address | Prefix | None = None,
        *,
        overlaps: Address | Prefix | None = None,
        after: int = 0,
        limit: int | None = None,
    ) -> list[FoundEntry]:
        """Return the entries of all accounts that cover or overlap a network, in the order in which they were added.

        Accounts without entries allow every address, and are not found. Name exactly one of the two networks; an
        address is the network that contains only this address.

        Args:
            covers: The network that the entries contain as a whole.
            overlaps: The network that the entries contain, or that contains the entries.
            after: Only entries with an id above this one, which begins the next page.
            limit: The largest number of entries to return; None for all.

        Raises:
            TypeError: If no network is named, or two.
            InvalidAddressError: If it is neither an address nor a network.
            StoreError: If the store cannot be read.

        Example:
            >>> from cidrgate import RuleManager
            >>> with RuleManager.open("memory://") as manager:
            ...     for name in ("acct-1", "acct-2"):
            ...         account = manager.create_account(name)
            ...     added = manager.add("acct-1", "8.8.8.0/24")
            ...     added = manager.add("acct-2", "8.8.0.0/16")
            ...     [found.entry.account for found in manager.find("8.8.8.8")]
            ...     [found.entry.account for found in manager.find("8.8.9.0/24")]
            ['acct-1', 'acct-2']
            ['acct-2']
        """
        return find_entries(self._store, covers, overlaps, after=after, limit=limit)

    def explain(self, account: str, address: Address) -> Decision:
        """Decide whether an address may act for an account, and say why.

        The answer comes from the store, not from the matcher.

        Args:
            account: The account; an unknown account is not enforced.
            address: Text, packed bytes (4 or 16), or an `ipaddress` object. An invalid address is never allowed, while
                a gate denies it only if the account is enforced.

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
        account = account_text(account)
        return queries.explain(self._store, account, address)

    def history(
        self,
        account: str | None = None,
        *,
        limit: int | None = None,
        after: int = 0,
        before: int | None = None,
        present: bool = False,
    ) -> list[Change]:
        """Return rows of the change log, the newest first.

        Args:
            account: Only the changes of this account; None for all accounts. A change of the list that a subaccount
                inherits belongs to its parent. The result has the changes under the names that the account had before,
                and those of deleted or renamed accounts that had the name.
            limit: Only this many of the newest changes; None for all.
            after: Only changes with a greater sequence.
            before: Only changes with a smaller sequence; None for all.
            present: Only the changes of the account that has the name now, without those of earlier accounts.

        Raises:
            AccountNotFoundError: If there is no such account and, unless `present`, the log does not know the name.
            ValueError: If `limit`, `after` or `before` is negative.
            StoreError: If the store cannot be read.
        """
        account = None if account is None else account_text(account)
        check_switches(present=present)
        return queries.change_history(self._store, account, limit=limit, after=after, before=before, present=present)

    def changes(self, *, after: int = 0, limit: int | None = None) -> list[Change]:
        """Return rows of the change log of all accounts, the oldest first, with the events of the store.

        To read the log as it grows, call this again with the sequence of the last row. Each row comes exactly once: a
        row is left out while a transaction may still commit a row with a smaller sequence. A transaction that lasts
        longer than the lock timeout is an error, unless there are rows before its rows.

        Args:
            after: Only rows with a greater sequence; 0 to begin with the oldest row.
            limit: The largest number of rows to return; None for all.

        Raises:
            HistoryError: If rows after `after` were deleted, or the log does not reach it.
            ValueError: If `after` or `limit` is negative.
            StoreBusyError: If a transaction that has written to the log holds all further rows back for too long.
            StoreError: If the store cannot be read.

        Example:
            >>> with RuleManager.open("memory://") as manager:
            ...     account = manager.create_account("acct-1")
            ...     [change.action for change in manager.changes()]
            ['create_account']
        """
        after = whole_number(after, "after", least=0)
        return read_changes(self._store, after, None if limit is None else whole_number(limit, "limit", least=0))

    def follow_changes(self, *, after: int | None = None) -> Generator[Change]:
        """Yield the rows of the change log of all accounts as they are committed, without end, the oldest first.

        Close the iterator, or leave its loop, to stop. If it raises an error, continue with a new one after the last
        row: each row comes exactly once.

        Args:
            after: Only rows with a greater sequence; None for rows that are committed from now on.

        Raises:
            HistoryError: If rows after `after` were deleted, or the log does not reach it.
            ValueError: If `after` is negative.
            StoreBusyError: If a transaction that has written to the log holds all further rows back for longer than the
                lock timeout.
            StoreError: If the store cannot be read.
        """
        if after is not None:
            whole_number(after, "after", least=0)
        return follow_changes(self._store, after)

    def _sequence_before(self, at: datetime) -> int:
        """Return the sequence of the change log before the first change since a time."""
        with self._store.read() as transaction:
            return transaction.sequence_before(at)

    def load(
        self, *, snapshot: str | os.PathLike[str] | None = None, progress: Callable[[int], object] | None = None
    ) -> None:
        """Fill the matcher from the store, with the lists of all accounts at one moment.

        Args:
            snapshot: A file from `save_snapshot` to start from. If it does not exist or cannot be used, the whole
                store is read.
            progress: Called while the whole store is read, with the number of accounts since the last call.

        Raises:
            SnapshotError: If the snapshot is a database, such as the store itself, or belongs to one.
            StoreError: If the store cannot be read.
            TypeError: If `snapshot` is neither a `str` nor a path-like object of one.
            OSError: If `snapshot` is an empty text, or has a null character.
        """
        self._replica.load(snapshot=snapshot, progress=progress)

    def save_snapshot(self, path: str | os.PathLike[str]) -> None:
        """Write a snapshot from which `open` starts without reading the store.

        The file has the times at which entries and modes expire, so `Matcher.open` and `replay --snapshot` remove what
        has expired by then. A file that `matcher.save` writes lacks them. A change that is made while the file is
        written may be in it without its times: `open` reads it again from the store, but `Matcher.open` cannot.

        Args:
            path: The file. It is replaced atomically.

        Raises:
            CidrgateError: If the matcher was not loaded.
            StoreError: If the store cannot be read.
            SnapshotError: If the list of an account cannot be published, or the store has more expiry times than a
                snapshot can have: 1 GiB, with the names of their accounts and 8 bytes and the CIDR for each.
            OSError: If the file cannot be written.
            TypeError: If `path` is neither a `str` nor a path-like object of one.
        """
        self._replica.save_snapshot(path)

    def follow(self) -> None:
        """Follow the store: start a thread that publishes other processes' changes and removes expired entries.

        Raises:
            CidrgateError: If the matcher was not loaded.
        """
        self._replica.follow()

    @property
    def matcher(self) -> Matcher:
        """The matcher with the last known lists of all accounts; always the same object.

        Raises:
            CidrgateError: If the matcher was not loaded: an empty matcher would allow every address.
        """
        return self._replica.matcher

    @property
    def staleness(self) -> float:
        """Seconds since the matcher was last known to equal the store; infinite before it was loaded."""
        return self._replica.staleness

    @property
    def known_at(self) -> float:
        """When the matcher was last known to equal the store, in seconds of a clock; -inf if it never was.

        The clock is `CLOCK_BOOTTIME`, which also counts while the machine sleeps, or `time.monotonic` without it.
        """
        return self._replica.known_at

    @property
    def on_known(self) -> Callable[[], object] | None:
        """A function that is called each time the matcher is known to equal the store, or None.

        The thread that compares the matcher with the store calls it.
        """
        return self._replica.on_known

    @on_known.setter
    def on_known(self, call: Callable[[], object] | None) -> None:
        self._replica.on_known = call

    @property
    def follows(self) -> bool:
        """Whether a thread of this process follows the store."""
        return self._replica.follows

    @property
    def snapshot_age(self) -> float | None:
        """Seconds since the shared snapshot was written; infinite if the file is missing, None without a snapshot."""
        return self._replica.snapshot_age

    def allows(self, account: str, address: Address) -> bool:
        """Return whether an address may act for an account.

        This is the result of `matcher.allows`, unless the lists are stale and `on_stale` is `deny`.

        Args:
            account: The account. An unknown account, or one without entries, allows every address.
            address: Text, packed bytes (4 or 16), or an `ipaddress` object.

        Raises:
            InvalidAddressError: If the address is not valid.
            CidrgateError: If the matcher was not loaded.
        """
        return self._replica.allows(account, address)

    @property
    def denies_when_stale(self) -> bool:
        """Whether stale lists deny the addresses of enforced accounts: `on_stale` is `deny`."""
        return self._replica.denies_when_stale

    @property
    def stale(self) -> bool:
        """Whether the staleness is above `max_staleness` and `on_stale` is `deny`; with `serve` this is never true."""
        return self._replica.stale

    def checker(self) -> Callable[[str, Address], bool]:
        """Return the fastest callable with the results of `allows`: `matcher.allows`, unless stale lists deny.

        Hold a reference to the manager while you use the callable: only the manager updates the matcher.

        Raises:
            CidrgateError: If the matcher was not loaded.
        """
        return self._replica.checker()

    def measure_waits(self, waited: Callable[[float], object], refused: Callable[[], object] | None = None) -> None:
        """Set functions that are called with how long each change of this manager waited for locks and for its turn.

        Args:
            waited: Called with the seconds that a change waited, in the thread that makes the change.
            refused: Called for each change that reached the lock timeout; None for no call.
        """
        self._commits.waited = waited
        self._commits.refused = refused

    def create_account(
        self,
        account: str,
        *,
        parent: str | None = None,
        display_name: str | None = None,
        closed: bool = False,
        actor: str | None = None,
    ) -> Account:
        """Create an account, or a subaccount that inherits its parent's list.

        Args:
            account: The name of the account: up to 255 characters in Unicode normalization form C, without surrounding
                whitespace and without invisible characters; see `cidrgate.rules.characters`.
            parent: The account whose list the new account inherits; None for an account that has its own list.
            display_name: The account's name for people, which is validated like a label; None for none.
            closed: Whether the account is enforced even while its list is empty; see `set_mode`.
            actor: Who creates the account, for the change log.

        Raises:
            InvalidAccountError: If the name is not valid.
            InvalidTextError: If the display name or the actor is too long, or contains an invisible character.
            AccountExistsError: If an account with this name exists already.
            AccountNotFoundError: If there is no account `parent`.
            SubaccountError: If `parent` is itself a subaccount, or a subaccount is to be closed.
            StoreError: If the account cannot be stored.

        Example:
            >>> with RuleManager.open("memory://") as manager:
            ...     account = manager.create_account("acct-1")
            ...     manager.create_account("sub-1", parent="acct-1").parent
            'acct-1'
        """
        account = account_text(account)
        check_account_name(account)
        parent = None if parent is None else account_text(parent)
        actor = checked_text(actor, "actor")
        display_name = checked_text(display_name, "display_name")
        check_switches(closed=closed)
        if closed and parent is not None:
            raise SubaccountError(
                "a subaccount cannot be closed, because its parent's list decides: close the parent",
                account=account,
                parent=parent,
            )

        def create(transaction: Transaction) -> Account:
            owner = None if parent is None else parent_account(transaction, parent)
            if transaction.account(account) is not None:
                raise AccountExistsError(f"an account {account!r} exists already", account=account)
            at = datetime.now(UTC)
            if self._dry_run:
                made = Account(
                    name=account,
                    parent=parent,
                    created_at=at,
                    version=created_version(transaction, account, display_name=display_name, closed=closed),
                    display_name=display_name,
                    closed=closed,
                )
                if self._before_store is not None:
                    listed = [] if owner is None else transaction.entries(owner)
                    self._before_store(creation_outcome(made, None if owner is None else owner.value(), listed, at))
                return made
            created = created_account(
                transaction,
                account,
                parent=owner,
                display_name=display_name,
                at=at,
                actor=actor,
                origin=self._origin,
                closed=closed,
            )
            if self._in_transaction is not None:
                self._in_transaction(transaction, created)
            return created

        if self._dry_run:
            with self._store.read() as transaction:
                return create(transaction)
        return self._write(create)

    def rename_account(
        self,
        account: str,
        name: str,
        *,
        actor: str | None = None,
        expect_version: int | None = None,
        confirmed: Iterable[Guard | Confirmation] = (),
    ) -> Account:
        """Rename an account. Its list, its subaccounts and the ids of its entries stay, and tokens for it follow.

        Requests with the old name get what gates answer for unknown accounts, so the name of an enforced account
        changes only with the confirmation `disable_enforcement`. `history` has the changes from before under both
        names.

        Args:
            account: The account.
            name: The new name, as for `create_account`.
            actor: Who renames the account, for the change log.
            expect_version: The version of the account that the caller saw; None for any version.
            confirmed: The guards that the change may meet, by name; see `with_hooks`.

        Returns:
            The account as it is now.

        Raises:
            InvalidAccountError: If the new name is not valid.
            InvalidTextError: If the actor is too long, or contains an invisible character.
            AccountExistsError: If another account has the new name.
            AccountNotFoundError: If there is no such account.
            VersionConflictError: If the account's version is not the expected version.
            UnconfirmedChangeError: If the change meets a guard that is not confirmed.
            StoreError: If the change cannot be stored.

        Example:
            >>> with RuleManager.open("memory://") as manager:
            ...     account = manager.create_account("acct-1")
            ...     renamed = manager.rename_account("acct-1", "acct-2")
            ...     [account.name for account in manager.accounts()], len(manager.history("acct-2"))
            (['acct-2'], 2)
        """
        account = account_text(account)
        edit = AccountEdit(name=name)
        return self._edit_account(account, edit, actor, expect_version, confirmed)

    def edit_account(
        self,
        account: str,
        *,
        name: str | EllipsisType = ...,
        parent: str | EllipsisType | None = ...,
        display_name: str | EllipsisType | None = ...,
        actor: str | None = None,
        expect_version: int | None = None,
        confirmed: Iterable[Guard | Confirmation] = (),
    ) -> Account:
        """Change the name, the parent or the display name of an account, all in one change.

        An account that gets a parent inherits its list, and the entries of its own list are removed: the change log
        has them. A subaccount that loses its parent has an empty list. The guards `other_list`,
        `disable_enforcement` and `lock_out` refuse a change by which addresses lose or gain access.

        Args:
            account: The account.
            name: The new name; see `rename_account`. `...` for no change, also below.
            parent: The account whose list it inherits from now on; None for a list of its own.
            display_name: The account's name for people, which is validated like a label; None for none.
            actor: Who changes the account, for the change log.
            expect_version: The version of the account that the caller saw; None for any version.
            confirmed: The guards that the change may meet, by name; see `with_hooks`.

        Returns:
            The account as it is now. An account that was like that already keeps its version.

        Raises:
            InvalidAccountError: If the new name is not valid.
            InvalidTextError: If the display name or the actor is too long, or contains an invisible character.
            AccountExistsError: If another account has the new name.
            AccountNotFoundError: If there is no such account, or no account `parent`.
            AccountHasSubaccountsError: If an account with subaccounts would get a parent.
            SubaccountError: If `parent` is a subaccount, or the account itself.
            VersionConflictError: If the account's version is not the expected version.
            UnconfirmedChangeError: If the change meets a guard that is not confirmed.
            StoreError: If the change cannot be stored.

        Example:
            >>> with RuleManager.open("memory://") as manager:
            ...     accounts = [manager.create_account(name) for name in ("acct-1", "acct-2")]
            ...     added = manager.add("acct-1", "8.8.8.0/24")
            ...     moved = manager.edit_account("acct-2", parent="acct-1", confirmed=["other_list"])
            ...     moved.parent, manager.allows("acct-2", "9.9.9.9")
            ('acct-1', False)
        """
        account = account_text(account)
        edit = AccountEdit(name=name, parent=parent, display_name=display_name)
        return self._edit_account(account, edit, actor, expect_version, confirmed)

    def _edit_account(
        self,
        account: str,
        edit: AccountEdit,
        actor: str | None,
        expect_version: int | None,
        confirmed: Iterable[Guard | Confirmation],
    ) -> Account:
        edit = edit.checked()
        actor = checked_text(actor, "actor")
        if expect_version is not None:
            whole_number(expect_version, "expect_version", least=0)

        def edited(transaction: Transaction) -> EditedAccount:
            return account_edit(
                transaction,
                account,
                edit,
                at=datetime.now(UTC),
                actor=actor,
                expect_version=expect_version,
                address=self._address,
                origin=self._origin,
            )

        return self._change_account(edited, lambda change: change.account, confirmed)

    def delete_account(
        self,
        account: str,
        *,
        recursive: bool = False,
        actor: str | None = None,
        expect_version: int | None = None,
        confirmed: Iterable[Guard | Confirmation] = (),
    ) -> AccountDeletion:
        """Delete an account and its list. The change log has the deleted list, and its history stays readable.

        Requests of the account get what gates answer for unknown accounts, so an enforced account is deleted only with
        the confirmation `disable_enforcement`. Tokens, sessions and links for the account end. Another account may get
        the name later: nothing of the old account decides for it.

        Args:
            account: The account.
            recursive: Whether its subaccounts are deleted too.
            actor: Who deletes the account, for the change log.
            expect_version: The version of the account that the caller saw; None for any version.
            confirmed: The guards that the change may meet, by name; see `with_hooks`.

        Returns:
            What was deleted.

        Raises:
            AccountNotFoundError: If there is no such account.
            AccountHasSubaccountsError: If it has subaccounts, and `recursive` is false.
            InvalidTextError: If the actor is too long, or contains an invisible character.
            VersionConflictError: If the account's version is not the expected version.
            UnconfirmedChangeError: If the change meets a guard that is not confirmed.
            StoreError: If the change cannot be stored.

        Example:
            >>> with RuleManager.open("memory://") as manager:
            ...     account = manager.create_account("acct-1")
            ...     added = manager.add("acct-1", "8.8.8.0/24")
            ...     deleted = manager.delete_account("acct-1", confirmed=["disable_enforcement"])
            ...     [entry.cidr for entry in deleted.entries], manager.accounts()
            (['8.8.8.0/24'], [])
        """
        account = account_text(account)
        check_switches(recursive=recursive)
        actor = checked_text(actor, "actor")
        if expect_version is not None:
            whole_number(expect_version, "expect_version", least=0)

        def deleted(transaction: Transaction) -> DeletedAccount:
            return account_deletion(
                transaction,
                account,
                recursive=recursive,
                at=datetime.now(UTC),
                actor=actor,
                expect_version=expect_version,
                origin=self._origin,
            )

        return self._change_account(deleted, lambda change: change.deletion, confirmed)

    def _change_account(
        self,
        make: Callable[[Transaction], _AccountChange],
        result: Callable[[_AccountChange], _Result],
        confirmed: Iterable[Guard | Confirmation],
    ) -> _Result:
        """Make a change of an account, or only compute it if this manager makes dry runs."""
        guards = self._confirmed | named_guards(confirmed)

        def change(transaction: Transaction) -> _Result:
            made = make(transaction)
            if self._before_store is not None:
                self._before_store(made.outcome)
            if not self._dry_run:
                refuse_unconfirmed(made.outcome, self._address, guards)
                made.store()
                if self._in_transaction is not None:
                    self._in_transaction(transaction, result(made))
            return result(made)

        if self._dry_run:
            with self._store.read() as transaction:
                return change(transaction)
        return self._write(change)

    def add(
        self,
        account: str,
        cidrs: Submission,
        *,
        actor: str | None = None,
        expect_version: int | None = None,
        if_missing: bool = False,
        confirmed: Iterable[Guard | Confirmation] = (),
        **details: Unpack[EntryDetails],
    ) -> ListChange:
        """Add entries to a list: all of them, or none.

        Args:
            account: The account whose list changes.
            cidrs: CIDRs separated by commas or newlines, an `ipaddress` object, a `NewEntry` or an `Entry`, or an
                iterable of these.
            actor: Who adds the entries, for the entries and the change log.
            expect_version: The version of the account that the caller saw; None for any version.
            if_missing: Whether networks whose addresses the list allows already, and as long, are left out, instead of
                being refused. So the same call can be repeated. What is listed does not change, also not its details.
            confirmed: The guards that the change may meet, by name; see `with_hooks`.
            details: The details of every entry in which they are absent, such as a `label`; see `EntryDetails`.

        Returns:
            What changed; `after` has the new entries in the order of the submission. With `if_missing` it may be empty,
            and `existing` has the entries that allow the other networks.

        Raises:
            RuleError: If the submission breaks a rule. The error contains every problem of the submission.
            InvalidExpiryError: If the expiry of an entry is in the past, has no time zone or is out of range in UTC.
            InvalidTextError: If a label or the actor is too long, or contains an invisible character.
            AccountNotFoundError: If there is no such account.
            SubaccountError: If the account inherits its list.
            VersionConflictError: If the account's version is not the expected version.
            StoreError: If the change cannot be stored.

        Example:
            >>> with RuleManager.open("memory://") as manager:
            ...     account = manager.create_account("acct-1")
            ...     manager.add("acct-1", "8.8.8.0/24, 127.0.0.1/32")
            Traceback (most recent call last):
            ...
            cidrgate.errors.RuleError: special_range: '127.0.0.1/32'...
        """
        account = account_text(account)
        check_switches(if_missing=if_missing)
        pieces = self._split(account, cidrs, **details)
        check_labels(pieces)
        existing: list[Entry] = []

        def added(_: Transaction, listing: Listing) -> StoredChange:
            if if_missing:
                change, existing[:] = missing_addition(listing, pieces, listing.policy)
                return change
            cidrs = [entry.cidr for entry in listing.active()]
            return addition(listing, pieces, validate_addition(pieces, cidrs, listing.policy))

        return self._change_list(account, added, actor, expect_version, confirmed=confirmed, existing=existing).change

    def edit(
        self,
        account: str,
        which: EntryRef,
        cidr: Prefix | IPv4Address | IPv6Address | EntryEdit | None = None,
        *,
        actor: str | None = None,
        expect_version: int | None = None,
        confirmed: Iterable[Guard | Confirmation] = (),
        **details: Unpack[EntryDetails],
    ) -> ListChange:
        """Change the network or the details of one entry. The entry keeps its id, its author and its creation time.

        Args:
            account: The account whose list changes.
            which: The entry: its id, its network in any spelling, or the `Entry`.
            cidr: The new network, which is checked against the rest of the list; None for no change. Or an `EntryEdit`
                that contains all changes of the entry.
            actor: Who changes the entry, for the change log.
            expect_version: The version of the account that the caller saw; None for any version.
            confirmed: The guards that the change may meet, by name; see `with_hooks`.
            details: The new details, such as a `label`; None removes one. A detail that is left out, or is `...`, does
                not change. See `EntryDetails`.

        Returns:
            What changed: `before` and `after` have the entry as it was and as it is. Both are empty if the entry was
            like that already; the version is then the same. `ListChange.entry(which)` is the entry in both cases.

        Raises:
            TypeError: If both an `EntryEdit` and details are passed.
            RuleError: If the new network breaks a rule.
            InvalidExpiryError: If the new expiry is in the past, has no time zone or is out of range in UTC.
            InvalidTextError: If the label or the actor is too long, or contains an invisible character.
            EntryNotFoundError: If the list contains no such entry.
            AccountNotFoundError: If there is no such account.
            SubaccountError: If the account inherits its list.
            VersionConflictError: If the account's version is not the expected version.
            StoreError: If the change cannot be stored.

        Example:
            >>> with RuleManager.open("memory://") as manager:
            ...     account = manager.create_account("acct-1")
            ...     added = manager.add("acct-1", "1.1.1.1/32")
            ...     manager.edit("acct-1", "1.1.1.1/32", "1.1.1.0/24").after[0].cidr
            '1.1.1.0/24'
        """
        account = account_text(account)
        if isinstance(cidr, EntryEdit):
            if details:
                raise TypeError("pass the changes in the EntryEdit or as arguments, not both")
            edit = cidr
        else:
            edit = EntryEdit(cidr=... if cidr is None else cidr, **details)
        check_labels([edit])

        def edited(_: Transaction, listing: Listing) -> StoredChange:
            return entry_edit(listing, which, edit, listing.policy)

        return self._change_list(account, edited, actor, expect_version, confirmed=confirmed).change

    def remove(
        self,
        account: str,
        *which: EntryRef,
        actor: str | None = None,
        expect_version: int | None = None,
        allow_empty: bool = False,
        confirmed: Iterable[Guard | Confirmation] = (),
    ) -> ListChange:
        """Remove entries from a list: all that are named, or none. To remove the last entry, pass `allow_empty=True`.

        Args:
            account: The account whose list changes.
            which: The entries: ids, networks in any spelling, or `Entry` values. One text can contain several CIDRs
                separated by commas.
            actor: Who removes the entries, for the change log.
            expect_version: The version of the account that the caller saw; None for any version.
            allow_empty: Whether the list may become empty, which ends enforcement: every address is then allowed.
            confirmed: The guards that the change may meet, by name; see `with_hooks`.

        Returns:
            What changed; `before` has the removed entries, in the order of `which`.

        Raises:
            EntryNotFoundError: If the list does not contain one of the entries. The message says what it contains.
            AccountNotFoundError: If there is no such account.
            SubaccountError: If the account inherits its list.
            VersionConflictError: If the account's version is not the expected version.
            WouldDisableEnforcementError: If no entry would be left and `allow_empty` is false.
            StoreError: If the change cannot be stored.

        Example:
            >>> with RuleManager.open("memory://") as manager:
            ...     account = manager.create_account("acct-1")
            ...     added = manager.add("acct-1", "1.1.1.1/32, 2606:4700::/32")
            ...     removed = manager.remove("acct-1", "2606:4700:0::/32")
            ...     [entry.cidr for entry in manager.entries("acct-1")]
            ['1.1.1.1/32']
        """
        account = account_text(account)
        keys: list[str | int] = []
        for key in map(entry_key, which):
            keys.extend([key] if isinstance(key, int) else (piece.cidr for piece in split_submission(key)))

        def removed(_: Transaction, listing: Listing) -> StoredChange:
            return listing.change("remove", named_entries(account, listing.entries, keys))

        return self._change_list(
            account, removed, actor, expect_version, allow_empty=allow_empty, confirmed=confirmed
        ).change

    def replace(
        self,
        account: str,
        cidrs: Submission,
        *,
        actor: str | None = None,
        expect_version: int | None = None,
        allow_empty: bool = False,
        confirmed: Iterable[Guard | Confirmation] = (),
        **details: Unpack[EntryDetails],
    ) -> ListChange:
        """Replace the whole list in one change. Entries whose network stays keep their id, author and time.

        Args:
            account: The account whose list changes.
            cidrs: The whole new list: CIDRs separated by commas or newlines, an `ipaddress` object, a `NewEntry` or an
                `Entry`, or an iterable of these. An empty text or iterable empties the list, and needs `allow_empty`.
            actor: Who changes the list, for new entries and the change log.
            expect_version: The version of the account that the caller saw; None for any version.
            allow_empty: Whether the list may become empty, which ends enforcement: every address is then allowed.
            confirmed: The guards that the change may meet, by name; see `with_hooks`.
            details: The details of every entry in which they are absent, such as a `label`; see `EntryDetails`. An
                entry that stays keeps each detail that is absent here and in its `NewEntry`; None clears it.

        Returns:
            What changed; `entries` is the list in address order. A list that was like that already is not changed:
            `before` and `after` are then empty, and the version is the same.

        Raises:
            RuleError: If the submission breaks a rule. The error contains every problem of the submission.
            InvalidExpiryError: If the expiry of an entry is in the past, has no time zone or is out of range in UTC.
            InvalidTextError: If a label or the actor is too long, or contains an invisible character.
            AccountNotFoundError: If there is no such account.
            SubaccountError: If the account inherits its list.
            VersionConflictError: If the account's version is not the expected version.
            WouldDisableEnforcementError: If no entry would be left and `allow_empty` is false.
            StoreError: If the change cannot be stored.

        Example:
            >>> with RuleManager.open("memory://") as manager:
            ...     account = manager.create_account("acct-1")
            ...     added = manager.add("acct-1", "1.1.1.1/32, 8.8.8.0/24")
            ...     [entry.cidr for entry in manager.replace("acct-1", ["9.9.9.9/32", "1.1.1.1/32"]).entries]
            ['1.1.1.1/32', '9.9.9.9/32']
        """
        account = account_text(account)
        pieces = self._split(account, cidrs, **details)
        check_labels(pieces)

        def replaced(_: Transaction, listing: Listing) -> StoredChange:
            return replaced_list(listing, pieces, listing.policy)

        return self._change_list(
            account, replaced, actor, expect_version, allow_empty=allow_empty, confirmed=confirmed
        ).change

    def restore(
        self,
        account: str,
        *,
        to_sequence: int,
        actor: str | None = None,
        expect_version: int | None = None,
        allow_empty: bool = False,
        confirmed: Iterable[Guard | Confirmation] = (),
    ) -> ListChange:
        """Restore the list to its state after a change in the log. This is a new change, and today's rules apply to it.

        Entries that have expired since then are left out. An entry that is not in the list now gets a new id.

        Args:
            account: The account whose list changes.
            to_sequence: The sequence of that change in the change log.
            actor: Who changes the list, for new entries and the change log.
            expect_version: The version of the account that the caller saw; None for any version.
            allow_empty: Whether the list may become empty, which ends enforcement: every address is then allowed.
            confirmed: The guards that the change may meet, by name; see `with_hooks`.

        Returns:
            The list in address order.

        Raises:
            ValueError: If `to_sequence` is negative.
            HistoryError: If the log does not contain that state: the account did not exist yet, the rows were deleted,
                or there is no such change yet.
            RuleError: If the old list breaks a rule of today's policy.
            AccountNotFoundError: If there is no such account.
            SubaccountError: If the account inherits its list.
            VersionConflictError: If the account's version is not the expected version.
            WouldDisableEnforcementError: If no entry would be left and `allow_empty` is false.
            StoreError: If the change cannot be stored.

        Example:
            >>> with RuleManager.open("memory://") as manager:
            ...     account = manager.create_account("acct-1")
            ...     added = manager.add("acct-1", "1.1.1.1/32")
            ...     removed = manager.remove("acct-1", "1.1.1.1/32", allow_empty=True)
            ...     before = manager.history("acct-1")[1].sequence
            ...     [entry.cidr for entry in manager.restore("acct-1", to_sequence=before).entries]
            ['1.1.1.1/32']
        """
        account = account_text(account)
        whole_number(to_sequence, "to_sequence", least=0)

        def restored(transaction: Transaction, listing: Listing) -> StoredChange:
            start, end = transaction.log_start(), transaction.log_end()
            if to_sequence < start - 1:
                raise HistoryError(
                    f"the change log begins with change {start}: older changes were deleted", sequence=to_sequence
                )
            if to_sequence > end:
                raise HistoryError(
                    f"the change log ends with change {end}: there is no change {to_sequence} yet", sequence=to_sequence
                )
            since = queries.changes_of_present_account(transaction, account, after=to_sequence)
            then = list_at(listing.entries, since, to_sequence)
            return restoration(listing, then, listing.policy)

        return self._change_list(
            account, restored, actor, expect_version, allow_empty=allow_empty, confirmed=confirmed
        ).change

    def undo(
        self,
        account: str,
        sequence: int,
        *,
        actor: str | None = None,
        expect_version: int | None = None,
        allow_empty: bool = False,
        confirmed: Iterable[Guard | Confirmation] = (),
    ) -> ListChange:
        """Undo one change of a list, as a new change. What other changes did since stays, unlike with `restore`.

        What the change added is removed, what it removed comes back, and what it edited gets its old network and
        details back. Today's rules apply. Entries that have expired since are left out. An entry that is not in the
        list now gets a new id. An undo can be undone too.

        Args:
            account: The account whose list changes.
            sequence: The sequence of the change in the change log; the account may have had another name then.
            actor: Who undoes the change, for new entries and the change log.
            expect_version: The version of the account that the caller saw; None for any version.
            allow_empty: Whether the list may become empty, which ends enforcement: every address is then allowed.
            confirmed: The guards that the change may meet, by name; see `with_hooks`.

        Returns:
            What changed.

        Raises:
            ValueError: If `sequence` is negative.
            HistoryError: If the log has no such change of this account.
            UndoConflictError: If later changes altered what the change did, or if it cannot be undone: it created the
                account, or its entries have expired.
            RuleError: If an entry that comes back breaks a rule today. The problems name the entries in the way.
            AccountNotFoundError: If there is no such account.
            SubaccountError: If the account inherits its list.
            VersionConflictError: If the account's version is not the expected version.
            WouldDisableEnforcementError: If no entry would be left and `allow_empty` is false.
            StoreError: If the change cannot be stored.

        Example:
            >>> with RuleManager.open("memory://") as manager:
            ...     account = manager.create_account("acct-1")
            ...     added = manager.add("acct-1", "1.1.1.1/32")
            ...     sequence = manager.history("acct-1")[0].sequence
            ...     later = manager.add("acct-1", "8.8.8.0/24")
            ...     [entry.cidr for entry in manager.undo("acct-1", sequence).entries]
            ['8.8.8.0/24']
        """
        account = account_text(account)
        whole_number(sequence, "sequence", least=0)

        def undone(transaction: Transaction, listing: Listing) -> StoredChange:
            names = queries.names_of_present_account(transaction, account)
            change = logged_change(transaction, account, names, sequence)
            later = partial(transaction.changes, None, None, names=names, after=sequence)
            return undoing(listing, change, later, listing.policy)

        return self._change_list(
            account, undone, actor, expect_version, allow_empty=allow_empty, confirmed=confirmed
        ).change

    def set_mode(
        self,
        account: str,
        mode: Mode,
        *,
        until: datetime | None = None,
        reason: str | None = None,
        closed: bool | None = None,
        actor: str | None = None,
        expect_version: int | None = None,
        confirmed: Iterable[Guard | Confirmation] = (),
    ) -> Account:
        """Set how an account's list decides, for its subaccounts too. The entries stay.

        Args:
            account: The account whose list it is.
            mode: `enforce` denies what is not listed. `report_only` allows it, and gates report it. `off` allows it.
            until: When the mode expires, with a time zone, so that the list is enforced again; None for never.
            reason: Why, for the people who see it.
            closed: Whether the list is enforced even while it is empty: it then denies every address. None for no
                change.
            actor: Who sets the mode, for the change log.
            expect_version: The version of the account that the caller saw; None for any version.
            confirmed: The guards that the change may meet, by name: `disable_enforcement` if an enforced account stops
                being enforced, so that every address is allowed; see `with_hooks`.

        Returns:
            The account after the change. Nothing is changed, and its version is the same, if it was set so already.

        Raises:
            TypeError: If an argument has another type.
            ValueError: If the mode is an unknown word.
            InvalidExpiryError: If `until` is in the past, has no time zone or is out of range in UTC, or the mode is
                `enforce`, which has no end.
            InvalidTextError: If the reason or the actor is too long, or contains an invisible character.
            AccountNotFoundError: If there is no such account.
            SubaccountError: If the account inherits its list, and so its mode.
            VersionConflictError: If the account's version is not the expected version.
            UnconfirmedChangeError: If the change meets a guard that is not confirmed.
            StoreError: If the change cannot be stored.

        Example:
            >>> with RuleManager.open("memory://") as manager:
            ...     account = manager.create_account("acct-1")
            ...     added = manager.add("acct-1", "8.8.8.0/24")
            ...     account = manager.set_mode("acct-1", "report_only", confirmed=["disable_enforcement"])
            ...     decision = manager.explain("acct-1", "9.9.9.9")
            >>> account.mode, decision.allowed, decision.reason, decision.mode
            ('report_only', True, 'not_listed', 'report_only')
        """
        account = account_text(account)
        setting = mode_setting(mode, until, reason, closed)

        def made(_: Transaction, listing: Listing) -> StoredChange:
            return mode_change(listing, setting)

        return self.with_hooks(confirmed=confirmed)._change_list(account, made, actor, expect_version).account

    def pause(
        self,
        account: str,
        *,
        for_: Duration | None = None,
        until: datetime | None = None,
        reason: str | None = None,
        actor: str | None = None,
        expect_version: int | None = None,
        confirmed: Iterable[Guard | Confirmation] = (),
    ) -> Account:
        """Allow every address for a time: `set_mode` with `off`. Enforcement begins again on every node at that time.

        Args:
            account: The account whose list it is.
            for_: How long, in seconds or as a `timedelta`.
            until: Until when, with a time zone; instead of `for_`.
            reason: As for `set_mode`.
            actor: As for `set_mode`.
            expect_version: As for `set_mode`.
            confirmed: As for `set_mode`.

        Returns:
            The account after the change.

        Raises:
            TypeError: If neither or both of `for_` and `until` are passed.
            CidrgateError: Every error of `set_mode`.

        Example:
            >>> with RuleManager.open("memory://") as manager:
            ...     account = manager.create_account("acct-1")
            ...     added = manager.add("acct-1", "8.8.8.0/24")
            ...     account = manager.pause("acct-1", for_=3600, confirmed=["disable_enforcement"])
            ...     paused = manager.allows("acct-1", "9.9.9.9")
            ...     paused, manager.resume("acct-1").mode, manager.allows("acct-1", "9.9.9.9")
            (True, 'enforce', False)
        """
        if (for_ is None) == (until is None):
            raise TypeError("pass for_ or until: a pause has one end; set_mode(account, 'off') has none")
        if for_ is not None:
            until = end_after(for_)
        return self.set_mode(
            account,
            "off",
            until=until,
            reason=reason,
            actor=actor,
            expect_version=expect_version,
            confirmed=confirmed,
        )

    def resume(
        self,
        account: str,
        *,
        actor: str | None = None,
        expect_version: int | None = None,
        confirmed: Iterable[Guard | Confirmation] = (),
    ) -> Account:
        """Enforce a list again: `set_mode` with `enforce`.

        Args:
            account: The account whose list it is.
            actor: As for `set_mode`.
            expect_version: As for `set_mode`.
            confirmed: As for `set_mode`.

        Returns:
            The account after the change.

        Raises:
            CidrgateError: Every error of `set_mode`.
        """
        return self.set_mode(account, "enforce", actor=actor, expect_version=expect_version, confirmed=confirmed)

    def prune_history(self, older_than: Duration, *, actor: str | None = None) -> int:
        """Delete the oldest rows of the change log.

        Args:
            older_than: The age above which rows are deleted, in seconds or as a `timedelta`.
            actor: Who deletes them, for the change log, which gets a row about it.

        Returns:
            The number of deleted rows. A manager that makes dry runs deletes none, and returns how many it would.

        Raises:
            TypeError: If the age is not a duration.
            ValueError: If the age is negative.
            StoreError: If the rows cannot be deleted.
        """
        age = timedelta(seconds=min(seconds(older_than, "older_than"), _LONGEST_AGE))
        actor = checked_text(actor, "actor")

        def prune(transaction: Transaction) -> int:
            now, transaction.event = datetime.now(UTC), "prune"
            end = transaction.certain_time(now) - age
            start = transaction.log_start()
            pruned = transaction.prune(end, dry_run=self._dry_run)
            if pruned and not self._dry_run:
                what = {"before": {"log_start": start, "rows": pruned}, "after": {"log_start": transaction.log_start()}}
                transaction.record_event("prune", at=now, actor=actor, origin=self._origin, details=what)
            return pruned

        if self._dry_run:
            with self._store.read() as transaction:
                return prune(transaction)
        return self._write(prune)

    def erase(self, older_than: Duration, *, account: str | None = None, actor: str | None = None) -> int:
        """Erase personal data that is older than an age. No list changes what it allows.

        Rows of the change log lose their actor, who and from where (`origin` keeps its kind), the authors and labels of
        entries, display names, and the reasons of modes. The same texts are erased from later copies of these entries
        and accounts, so the log still describes the lists. Entries of that age also lose their author in their list.
        What a list or an account still shows stays: its labels, its display name, and the reason of its mode. Edit
        these first if they are personal data. Observations of traffic are deleted if their last request is older.

        Args:
            older_than: The age above which data is erased, in seconds or as a `timedelta`.
            account: Only the rows, entries and observations of this account, also if it was deleted; None for all
                accounts, and for events of the store such as sign-ins.
            actor: Who erases it, for the change log, which gets a row about it.

        Returns:
            The number of rows of the change log and entries that lost something, and of deleted observations. A manager
            that makes dry runs erases nothing, and returns how many would.

        Raises:
            TypeError: If the age is not a duration.
            ValueError: If the age is negative.
            AccountNotFoundError: If neither an account nor the change log has the name.
            StoreError: If the data cannot be erased.
        """
        account = None if account is None else account_text(account)
        age = timedelta(seconds=min(seconds(older_than, "older_than"), _LONGEST_AGE))
        actor = checked_text(actor, "actor")

        def erase(transaction: Transaction) -> int:
            return erasure(transaction, age, account, actor, self._origin, dry_run=self._dry_run)

        if self._dry_run:
            with self._store.read() as transaction:
                return erase(transaction)
        return self._write(erase)

    def sweep(self) -> int:
        """Remove expired entries from the lists, store that expired modes are over, and log both.

        A manager that follows the store does this regularly.

        If an account has only expired entries, they stay, because an account without entries is not enforced, and the
        clock must not end enforcement: remove them with `remove`. Entries also stay if only this machine's clock says
        that they have expired, because that clock may have jumped ahead. They must also have expired by the database's
        clock and by the time that has passed since the process started.

        Returns:
            The number of removed entries.

        Raises:
            StoreError: If the store cannot be read or written. What earlier commits removed is removed, and `stored`
                says of how many accounts.
        """
        swept = 0
        with self._store.read() as transaction:
            certain = transaction.certain_time(datetime.now(UTC))
            names = transaction.accounts_to_sweep(certain, _ACCOUNTS_A_TRANSACTION)
            over = transaction.accounts_to_enforce(certain, _ACCOUNTS_A_TRANSACTION)

        def swept_list(_: Transaction, listing: Listing) -> StoredChange:
            expired = [entry for entry in listing.entries if listing.has_expired(entry)]
            return listing.change("expire", expired if listing.active() else ())

        commits = Parts(len({*over, *names}))
        with commits.told():
            for name in over:
                self._change_list(name, lambda _, listing: end_of_mode(listing), None, None)
                commits.add(name not in names)
            for name in names:
                swept += len(self._change_list(name, swept_list, None, None).change.before)
                commits.add(1)
        return swept

    def note_match(self, account: str, address: Address) -> None:
        """Record which entry matches an address; `store_matches` stores it.

        Args:
            account: The account for which the address acts.
            address: Text, packed bytes (4 or 16), or an `ipaddress` object.

        Raises:
            InvalidAddressError: If the address is not valid.
            CidrgateError: If the matcher was not loaded.

        Example:
            >>> with RuleManager.open("memory://") as manager:
            ...     account = manager.create_account("acct-1")
            ...     [entry] = manager.add("acct-1", "8.8.8.0/24").after
            ...     manager.note_match("acct-1", "8.8.8.8")
            ...     stored = manager.store_matches()
            ...     list(manager.last_matches("acct-1")) == [entry.id]
            True
        """
        cidr = self._replica.matcher.match(account, address)
        if cidr is not None:
            self._matches.note(account, cidr)

    def store_matches(self) -> int:
        """Store when the entries that `note_match` recorded last matched.

        A manager that follows the store does this every minute. An entry that continues to match is stored once an
        hour.

        Returns:
            The number of stored entries.

        Raises:
            StoreError: If they cannot be stored. The next call tries again.
        """
        stored = 0
        for seen in self._matches.pending():
            self._write(partial(_note_matches, seen=seen))
            stored += len(seen)
        return stored

    def withdraw_changes(self) -> None:
        """Cancel the changes that are not being committed yet, including those that wait for a lock or for their turn.

        A process calls this when it stops. The threads that make these changes get a `ChangeWithdrawnError`, and none
        of the changes is stored. A change whose commit has begun is not cancelled. Any thread can call this, and more
        than once.
        """
        self._commits.withdraw()
        self._store.withdraw()

    def import_accounts(
        self,
        lists: Mapping[str, Submission] | Iterable[tuple[str, Submission]],
        *,
        replace: bool = False,
        skip_existing: bool = False,
        create: bool = True,
        close: bool = False,
        strict: bool = False,
        dry_run: bool = False,
        allow_empty: bool = False,
        confirmed: Iterable[Guard | Confirmation] = (),
        actor: str | None = None,
        progress: Callable[[int], object] | None = None,
    ) -> ImportReport:
        """Store the lists of many accounts, with thousands of accounts in one commit.

        The list of each account is stored completely or not at all.

        Args:
            lists: The entries by account name, in any form that `add` takes; or pairs of a name and its entries, with
                each name once. Pairs are read only as they are needed.
            replace: Whether each list replaces the account's list, instead of being added to it.
            skip_existing: Whether to leave out entries whose addresses the account's list allows already, and as long.
            create: Whether to create accounts that do not exist.
            close: Whether to close an account whose list cannot be stored, and that has no entries: it then denies
                every address until it has entries, or is opened with `set_mode`. Otherwise `ImportReport.open` names
                it.
            strict: Whether to store everything in one commit, or nothing if the list of any account cannot be stored.
            dry_run: Whether to check everything and store nothing. The report then says what would be stored.
            allow_empty: Whether, with `replace`, an empty list may replace a list with entries, which ends the
                account's enforcement. Otherwise the account's problem is a `WouldDisableEnforcementError`.
            confirmed: The guards that the changes may meet, by name; see `with_hooks`.
            actor: Who imports, for the entries and the change log.
            progress: Called after each commit with the number of accounts since the last call.

        Returns:
            What was stored, and the reason for each account whose list was not stored.

        Raises:
            TypeError: If an argument that must be True or False is neither, or `lists`, or the entries of an account,
                are of another type.
            ValueError: If `skip_existing` is used with `replace`, or `close` with `strict`; or if the pairs have a name
                twice. Then the accounts of earlier commits are stored and published.
            InvalidTextError: If the actor is too long, or contains an invisible character.
            StoreError: If a commit fails. The accounts of earlier commits are stored and published, and `stored` says
                how many.

        Example:
            >>> from cidrgate import NewEntry
            >>> with RuleManager.open("memory://") as manager:
            ...     report = manager.import_accounts(
            ...         {"a": [NewEntry("8.8.8.0/24", label="dns")], "b": [NewEntry("10.0.0.0/8")]}
            ...     )
            >>> report.accounts, report.entries, list(report.problems)
            (1, 1, ['b'])
        """
        check_switches(replace=replace, create=create, strict=strict, dry_run=dry_run, allow_empty=allow_empty)
        check_switches(skip_existing=skip_existing, close=close)
        if (skip_existing and replace) or (close and strict):
            raise ValueError("skip_existing excludes replace, and close excludes strict")
        dry_run = dry_run or self._dry_run
        actor = checked_text(actor, "actor")
        if isinstance(lists, Mapping):
            account_texts(lists, "lists")

        guards = self._confirmed_of_import(confirmed, allow_empty=allow_empty)

        def store(part: dict[str, Submission]) -> tuple[int, ImportReport, list[ListOutcome]]:
            outcomes: list[ListOutcome] = []

            def stored(transaction: Transaction) -> ImportReport:
                outcomes.clear()  # the transaction may be tried again
                return import_lists(
                    transaction,
                    _unread(part),
                    policy=self.policy,
                    replace=replace,
                    skip_existing=skip_existing,
                    create=create,
                    close=close,
                    strict=strict,
                    dry_run=dry_run,
                    confirmed=guards,
                    at=datetime.now(UTC),
                    actor=actor,
                    origin=self._origin,
                    before_store=None if self._before_store is None else outcomes.append,
                )

            made = self._write(stored)
            if not dry_run:
                commits.add(made.accounts + len(made.closed))
            return len(part), made, outcomes

        report = ImportReport()
        commits = Parts(len(lists) if isinstance(lists, Mapping) else None)
        remaining = iter(lists.items()) if isinstance(lists, Mapping) else _each_name_once(lists)
        sizes = repeat(None) if strict else _accounts_of_parts()
        parts = iter(lambda: dict(islice(remaining, next(sizes))), {})
        with commits.told():
            for done, part_report, outcomes in in_background(store, parts, self._store.writers):
                report += part_report
                self._tell(outcomes)
                if progress is not None:
                    progress(done)
        return report

    def _tell(self, outcomes: Iterable[ListOutcome]) -> None:
        """Call the hook with what a dry run has tried."""
        if self._before_store is not None:
            for outcome in outcomes:
                self._before_store(outcome)

    def export(
        self, accounts: Iterable[str] | None = None, *, progress: Callable[[int], object] | None = None
    ) -> Iterator[str]:
        """Yield the lines of an export, with everything that decides for accounts and that people wrote about them.

        The lines are JSON Lines (see `cidrgate.manager.exports`). `import_export` restores the accounts exactly, in any
        kind of store. All lines are of one moment: the store is read until the last line is taken, and a store in
        memory before the first one. Several threads may take them, one after another.

        Args:
            accounts: Only these accounts and their subaccounts; None for all.
            progress: Called with the number of accounts since the last call.

        Raises:
            TypeError: If `accounts` is one text.
            AccountNotFoundError: If there is no such account.
            SubaccountError: If a subaccount is named: its list belongs to its parent.
            StoreError: If the store cannot be read.

        Example:
            >>> with RuleManager.open("memory://") as manager, RuleManager.open("memory://") as other:
            ...     account = manager.create_account("acct-1")
            ...     added = manager.add("acct-1", "8.8.8.0/24", label="dns")
            ...     report = other.import_export(manager.export())
            ...     report.accounts, list(other.export()) == list(manager.export())
            (1, True)
        """
        names = None if accounts is None else list(dict.fromkeys(account_texts(accounts, "accounts")))

        def lines(transaction: Transaction) -> Iterator[str]:
            for name in names or ():
                refuse_subaccount(existing_account(transaction, name))
            yield from export_lines(transaction, names, progress)

        return self._lines(lines)

    def _lines(self, read: Callable[[Transaction], Iterator[str]]) -> Iterator[str]:
        """Yield the lines that a function reads in one transaction; another thread may take the next line."""
        if self._store.takes_turns:
            with self._store.read() as transaction:
                lines = list(read(transaction))
            yield from lines
        else:
            with self._store.read() as transaction:
                yield from read(transaction)

    def import_export(
        self,
        lines: Iterable[str],
        *,
        replace: bool = False,
        skip_existing: bool = False,
        create: bool = True,
        dry_run: bool = False,
        allow_empty: bool = False,
        actor: str | None = None,
        confirmed: Iterable[Guard | Confirmation] = (),
        progress: Callable[[int], object] | None = None,
    ) -> ImportReport:
        """Store the accounts of an export exactly as they were: all of them in one commit, or nothing.

        Names, parents, versions, times, authors and entries are those of the file, also entries that have expired. The
        rules of the policy are not checked, because the store that wrote the file may have had others. An account that
        exists and is like the file already does not change.

        Args:
            lines: The lines of the file, from `export`. They are read once, and never all at once; a dry run with a
                hook of `with_hooks` holds what it would change until the last line was read.
            replace: Whether accounts that exist and differ become what the file says. Otherwise they are problems.
            skip_existing: Whether accounts that exist stay as they are.
            create: Whether to create accounts that do not exist.
            dry_run: Whether to check everything and store nothing. The report then says what would be stored.
            allow_empty: Whether, with `replace`, accounts may lose their enforcement, as with `disable_enforcement` in
                `confirmed`.
            actor: Who imports, for the change log.
            confirmed: The guards that the changes may meet, by name; see `with_hooks`.
            progress: Called with the number of accounts since the last call.

        Returns:
            What was stored. If an account has a problem, nothing was stored, and the report names every problem.

        Raises:
            InvalidCopyError: If the file is damaged, incomplete or of a newer version. Nothing is stored then.
            ConflictError: If the store has another policy than the file, and neither is asked for.
            InvalidTextError: If the actor is too long, or contains an invisible character.
            StoreError: If the accounts cannot be stored.
        """
        check_switches(
            replace=replace, skip_existing=skip_existing, create=create, dry_run=dry_run, allow_empty=allow_empty
        )
        if replace and skip_existing:
            raise ValueError("accounts that exist are replaced or skipped: choose one of them")
        dry_run = dry_run or self._dry_run
        guards = self._confirmed_of_import(confirmed, allow_empty=allow_empty)
        actor = checked_text(actor, "actor")
        outcomes: list[ListOutcome] = []

        def stored(transaction: Transaction) -> ImportReport:
            report = import_copies(
                transaction,
                lines,
                policy=self.policy,
                replace=replace,
                skip_existing=skip_existing,
                create=create,
                dry_run=dry_run,
                confirmed=guards,
                at=datetime.now(UTC),
                actor=actor,
                origin=self._origin,
                progress=progress,
                before_store=None if self._before_store is None else outcomes.append,
            )
            if report.problems:
                raise _RolledBackError(ImportReport(problems=report.problems))
            self._tell(outcomes)
            return report

        try:
            if dry_run:
                with self._store.read() as transaction:
                    return stored(transaction)
            return self._write_once(stored)  # the lines cannot be read again
        except _RolledBackError as error:
            return error.report

    def backup(self, *, progress: Callable[[int], object] | None = None) -> Iterator[str]:
        """Yield the lines of a backup: all accounts and lists, the change log, tokens and idempotent responses.

        Sessions and one-time links are not in it. Of tokens it contains the hashes. Write it to a file that only its
        owner can read. All lines are of one moment: the store is read until the last line is taken, and a store in
        memory before the first one. Several threads may take them, one after another.

        Args:
            progress: Called with the number of rows since the last call.

        Raises:
            StoreError: If the store cannot be read.

        Example:
            >>> with RuleManager.open("memory://") as manager, RuleManager.open("memory://") as other:
            ...     account = manager.create_account("acct-1")
            ...     added = manager.add("acct-1", "8.8.8.0/24", label="dns")
            ...     report = other.restore_backup(manager.backup())
            ...     report.changes, other.history() == manager.history()
            (2, True)
        """
        return self._lines(lambda transaction: backup_lines(transaction, progress))

    def restore_backup(self, lines: Iterable[str], *, progress: Callable[[int], object] | None = None) -> BackupReport:
        """Restore a backup to this store, which must be empty: all of it in one commit, or nothing.

        The store gets a new id. So followers and snapshots of other stores, also of the one that was backed up, notice
        that it is another one, and read it as a whole. On PostgreSQL the user must own the tables.

        Args:
            lines: The lines of the file, from `backup`, of any kind of store.
            progress: Called with the number of rows since the last call.

        Raises:
            InvalidCopyError: If the file is damaged, incomplete or of a newer version. Nothing is stored then.
            StoreNotEmptyError: If the store is not empty.
            StoreError: If the backup cannot be stored.
        """
        if self._dry_run:
            raise ValueError("a backup cannot be restored as a dry run")
        return self._write_once(lambda transaction: restore_lines(transaction, lines, progress))

    def plan(
        self,
        declared: Mapping[str, DeclaredAccount | Submission],
        *,
        prune: bool = False,
        create: bool = True,
        expect_versions: Mapping[str, int] | None = None,
    ) -> ApplyReport:
        """Return what `apply` would change, and change nothing.

        The arguments are those of `apply`.

        Raises:
            TypeError: If an argument has another type.
            ValueError: If a version is negative, or the versions are not those of the declared accounts.
            StoreError: If the store cannot be read.
        """
        return self.with_hooks(dry_run=True).apply(
            declared, prune=prune, create=create, expect_versions=expect_versions
        )

    def apply(
        self,
        declared: Mapping[str, DeclaredAccount | Submission],
        *,
        prune: bool = False,
        create: bool = True,
        strict: bool = False,
        expect_versions: Mapping[str, int] | None = None,
        allow_empty: bool = False,
        actor: str | None = None,
        confirmed: Iterable[Guard | Confirmation] = (),
        progress: Callable[[int], object] | None = None,
    ) -> ApplyReport:
        """Make accounts what was declared. Applying the same declaration again changes nothing.

        The list of each account is changed completely or not at all. Accounts that are not declared do not change.

        Args:
            declared: What the accounts have to be, by name: a `DeclaredAccount`, or the whole list in any form that
                `add` takes. Every detail that an entry leaves out has its default. A declared entry that has expired
                and is not listed is left out.
            prune: Whether entries of these accounts that are not declared are removed. Otherwise they stay.
            create: Whether to create accounts that do not exist.
            strict: Whether to store everything in one commit, or nothing if one account has a problem.
            expect_versions: The versions that accounts must have, by name, such as `versions` of a plan: of every
                declared account, 0 of one to create, or of none. An account with another version has the problem
                `VersionConflictError`.
            allow_empty: Whether, with `prune`, a list may become empty, which ends the account's enforcement.
            actor: Who makes the changes, for new entries and the change log.
            confirmed: The guards that the changes may meet, by name; see `with_hooks`.
            progress: Called after each commit with the number of accounts since the last call.

        Returns:
            What was changed, and the reason for each account that was not.

        Raises:
            TypeError: If an argument has another type.
            ValueError: If a version is negative, or the versions are not those of the declared accounts.
            InvalidTextError: If the actor is too long, or contains an invisible character.
            StoreError: If a commit fails. The accounts of earlier commits are stored and published, and `stored` says
                how many.

        Example:
            >>> with RuleManager.open("memory://") as manager:
            ...     declared = {"acct-1": ["8.8.8.0/24", "1.1.1.1/32"]}
            ...     plan = manager.plan(declared)
            ...     report = manager.apply(declared, expect_versions=plan.versions)
            ...     plan.drift, report.changes[0].created, manager.plan(declared).drift
            (True, True, False)
        """
        check_switches(prune=prune, create=create, strict=strict)
        accounts = checked_declaration(declared)
        versions = {} if expect_versions is None else dict(expect_versions)
        account_texts(versions, "expect_versions")
        for version in versions.values():
            whole_number(version, "expect_versions", least=0)
        refuse_other_accounts(versions, accounts)
        actor = checked_text(actor, "actor")
        guards = self._confirmed_with(allow_empty=allow_empty) | named_guards(confirmed)

        def applied(part: Mapping[str, DeclaredAccount]) -> ApplyReport:
            def change(transaction: Transaction) -> ApplyReport:
                made = apply_declared(
                    transaction,
                    part,
                    policy=self.policy,
                    prune=prune,
                    create=create,
                    strict=strict,
                    dry_run=self._dry_run,
                    expect_versions=versions,
                    confirmed=guards,
                    address=self._address,
                    before_store=self._before_store,
                    actor=actor,
                    origin=self._origin,
                )
                report = with_order(made, accounts)
                if self._in_transaction is not None and report.applied:
                    self._in_transaction(transaction, report)
                return report

            if self._dry_run:
                with self._store.read() as transaction:
                    return change(transaction)
            return self._write(change)

        report = ApplyReport()
        commits = Parts(len(accounts))
        with commits.told():
            for part in in_parts(accounts, whole=strict or self._dry_run):
                made = applied(part)
                commits.add(len(part) - len(made.problems))
                report += made
                if progress is not None:
                    progress(len(part))
        return with_order(report, accounts)

    def evaluate(
        self,
        account: str | None,
        change: Callable[[Self], object],
        days: int = 30,
        *,
        observations: Iterable[Observation] | None = None,
    ) -> Evaluation:
        """Return what a change would do to the requests of the past: who would be denied, and who would be allowed.

        The change is only tried. Requests of subaccounts count for the list that they inherit. An address that was not
        observed is in no number, and `unknown` says what else is not known. Gates decide about accounts that do not
        exist by their `unlisted`, which the store does not know: of a deletion, the evaluation says what each setting
        of it would deny and allow, and of a creation and a renaming too.

        Args:
            account: Only the requests of this account, and of the subaccounts that inherit its list; None for those of
                every account whose list the change alters.
            change: Makes the change with the manager that it is given: a dry run of this one. It may change several
                lists, such as `apply` does, each of them once.
            days: How many days in UTC of the stored traffic to look at, with today.
            observations: What to evaluate instead of the stored traffic, such as the observations of a log; `days` has
                no meaning for them. Those of the affected accounts are held in memory.

        Raises:
            CidrgateError: Every error that the change itself raises, except that it is not confirmed.
            NoTrafficError: If no traffic is stored, and no observations are given.
            AccountNotFoundError: If there is no such account.
            ValueError: If `days` is less than 1, or the change does not change the list of the account, or changes a
                list twice.
            StoreError: If the store cannot be read.

        Example:
            >>> from cidrgate.values import Observation
            >>> at = datetime(2027, 1, 2, tzinfo=UTC)
            >>> seen = Observation(
            ...     account="acct-1", network="8.8.8.8/32", allowed=True, requests=7, first_seen=at, last_seen=at
            ... )
            >>> with RuleManager.open("memory://") as manager:
            ...     account = manager.create_account("acct-1")
            ...     added = manager.add("acct-1", "8.8.8.0/24, 1.1.1.1/32")
            ...     evaluation = manager.evaluate(
            ...         "acct-1", lambda dry: dry.remove("acct-1", "8.8.8.0/24"), observations=[seen]
            ...     )
            >>> evaluation.newly_denied.requests, evaluation.newly_denied.named[0].network
            (7, '8.8.8.8/32')
        """
        account = None if account is None else account_text(account)
        whole_number(days, "days", least=1)
        at = datetime.now(UTC)
        changes: dict[str, ChangedList] = {}
        parents: dict[str, str] = {}

        def tried(outcome: ListOutcome) -> None:
            changed = changed_list(outcome, at)
            [name] = changed.accounts
            if name in changes:
                raise ValueError(f"the change alters the list of account {name!r} twice: evaluate one change of it")
            changes[name] = changed
            if outcome.parent is not None:
                parents[name] = outcome.parent.name

        change(self.with_hooks(before_store=tried, dry_run=True))
        if account is not None and account not in changes and self.account(account).parent not in changes:
            raise ValueError(f"the change does not change the list of account {account!r}")
        return evaluation_of(
            self._store,
            inherited_lists(changes, parents),
            at=at,
            days=days,
            account=account,
            observations=observations,
        )

    def recommend(
        self,
        account: str,
        days: int = 30,
        *,
        max_entries: int | None = None,
        forced: Iterable[Prefix] = (),
        excluded: Iterable[Prefix | IPv4Address | IPv6Address] = (),
        widest_ipv4: int | None = None,
        widest_ipv6: int | None = None,
        include_denied: bool = False,
    ) -> AccountRecommendation:
        """Return the best list for the recorded traffic of an account and its subaccounts, and a review of its list.

        `cidrgate.foresight.recommend` does the same for other observations, such as those of a log. The limits are
        those of the account's policy, or narrower ones.

        Args:
            account: The account. A subaccount has no list of its own.
            days: How many days in UTC of the stored traffic to look at, with today.
            max_entries: The most entries; as many as the policy allows if not given.
            forced: Networks that the list allows whole, whether anybody used them or not.
            excluded: Addresses and networks that no entry overlaps.
            widest_ipv4: The shortest length of an IPv4 entry; the policy's if not given.
            widest_ipv6: The same for IPv6.
            include_denied: Whether addresses that the list denies now are covered too, whatever was decided when they
                called. What was denied and is listed now counts as allowed. A paused list that has entries counts as it
                does when the pause ends; a list that denies nothing now leaves out what was denied then.

        Raises:
            AccountNotFoundError: If there is no such account.
            SubaccountError: If the account is a subaccount.
            NoTrafficError: If no traffic of it is stored.
            RecommendationError: If more entries are needed, if a forced network cannot be in a list, or if more than
                100,000 addresses were observed.
            RuleError: If forced networks break a rule.
            InvalidAddressError: If an excluded text is neither an address nor a network.
            TypeError: If `forced` or `excluded` is one text, one network or a mapping.
            ValueError: If `days` is less than 1, or a limit is out of range or wider than the policy's.
            StoreBusyError: If this manager makes several recommendations already.
            StoreError: If the store cannot be read.
        """
        account = account_text(account)
        whole_number(days, "days", least=1)
        check_switches(include_denied=include_denied)
        several_networks(forced, "forced")
        several_networks(excluded, "excluded")
        best_list = partial(
            recommend,
            policy=self.policy_state(account).effective,
            max_entries=max_entries,
            forced=forced,
            excluded=excluded,
            widest_ipv4=widest_ipv4,
            widest_ipv6=widest_ipv6,
            include_denied=include_denied,
        )
        with self._recommending.turn():
            return recommendation_for(self._store, account, days, best_list)

    def _foresight(
        self, changes: Sequence[ChangedList], days: int = 30, *, observations: GivenObservations | None = None
    ) -> Foresight:
        """Return what tried changes would do to the requests of the past: stored traffic, or given observations."""
        try:
            with self._evaluating.turn():
                return foresight_of(self._store, changes, days, observations)
        except StoreBusyError as error:
            return Foresight(missing=str(error), busy=True)

    def with_hooks(
        self,
        *,
        before_store: Callable[[ListOutcome], object] | None = None,
        dry_run: bool = False,
        address: str | None = None,
        confirmed: Iterable[Guard | Confirmation] = (),
    ) -> Self:
        """Return a copy of this manager with hooks that see each change before it is committed.

        The copy also protects the caller: a change that would lock out the caller's address, or end the enforcement of
        an account, raises an `UnconfirmedChangeError` unless `confirmed` names its guard. The hooks of this manager
        stay, and are called first.

        Args:
            before_store: Called with the outcome of a change of a list before it is stored. If it raises a
                `CidrgateError`, nothing is stored. The outcome says what the change must be confirmed for.
            dry_run: Whether changes are validated and passed to `before_store`, but not stored. They need no
                confirmation then. The hooks are called by dry runs of `create_account`, `import_accounts` and
                `import_export` too, whose changes otherwise call none, and for every account that a dry run of `apply`
                would create. `prune_history` and `erase` call none at all.
            address: The caller's address; None if it is unknown, and then no change is a lock-out.
            confirmed: The guards that the changes may meet, by name: `disable_enforcement`, `lock_out`, `other_list`,
                `wide_entry`. They add to those of this manager.

        Raises:
            TypeError: If `dry_run` is neither True nor False.
            InvalidAddressError: If `address` is not an address.
            ValueError: If `confirmed` names an unknown guard.

        Example:
            >>> from cidrgate.manager import ListOutcome
            >>> with RuleManager.open("memory://") as manager:
            ...     account = manager.create_account("acct-1")
            ...     outcomes: list[ListOutcome] = []
            ...     would_add = manager.with_hooks(before_store=outcomes.append, dry_run=True)
            ...     added = would_add.add("acct-1", "8.8.8.0/24")
            ...     [entry.cidr for entry in outcomes[0].after], manager.entries("acct-1")
            (['8.8.8.0/24'], [])
        """
        check_switches(dry_run=dry_run)
        seen = copy(self)
        seen._before_store = _both(self._before_store, before_store)
        seen._dry_run = self._dry_run or dry_run
        seen._address = self._address if address is None else canonical_address(text_of(address))
        seen._confirmed = self._confirmed | named_guards(confirmed)
        return seen

    def with_origin(self, origin: Origin) -> Self:
        """Return a copy of this manager whose changes have an origin in the change log.

        A server that changes lists for others says with it who asked, and from where. The API, the console and the
        command line say it themselves.

        Args:
            origin: How the actors of the changes are known, and from where they come. It must contain no secret.

        Raises:
            TypeError: If `origin` is no `Origin`.
            ValueError: If its kind is unknown.
            InvalidAddressError: If its address is not an address.
            InvalidTextError: If a text is too long, or contains an invisible character.

        Example:
            >>> with RuleManager.open("memory://") as manager:
            ...     of_job = manager.with_origin(Origin(kind="library", id="billing-job", on_behalf_of="alice"))
            ...     account = of_job.create_account("acct-1", actor="billing")
            ...     manager.history("acct-1")[0].origin.on_behalf_of
            'alice'
        """
        seen = copy(self)
        seen._origin = checked_origin(origin)
        return seen

    def _with_transaction_hook(self, hook: Callable[[Transaction, Changed], object]) -> Self:
        """Return a copy of this manager that stores data of other classes with each change.

        Args:
            hook: Called in the transaction of a change, with the outcome, the account or the deletion; in each
                transaction of `apply`, with its report. What it stores is committed with the change. It may be called a
                second time, in another transaction, if the first one could not be committed. If it raises, nothing is
                stored.
        """
        seen = copy(self)
        seen._in_transaction = _both(self._in_transaction, hook)
        return seen

    def _with_account_check(self, check: Callable[[Transaction, StoredAccount], object]) -> Self:
        """Return a copy of this manager that checks each account whose list it changes.

        Args:
            check: Called in the transaction of the change with the account, which no other writer can change then, and
                before anything is told of its list. If it raises, nothing is stored. Dry runs do not call it.
        """
        seen = copy(self)
        seen._check_account = _both(self._check_account, check)
        return seen

    def policy_state(self, account: str | None = None) -> PolicyState:
        """Return the stored policy of the store or of an account, and the policy that applies to it.

        Args:
            account: The account; a subaccount has the policy of its parent. None for the store.

        Raises:
            AccountNotFoundError: If there is no such account.
            StoreError: If the store cannot be read.

        Example:
            >>> with RuleManager.open("memory://") as manager:
            ...     changed = manager.set_policy(max_entries=20)
            ...     manager.policy_state().effective.max_entries
            20
        """
        account = None if account is None else account_text(account)
        with self._store.read() as transaction:
            return policy_state(transaction, account, self.policy)

    def policy_differences(self) -> list[str]:
        """Return what to say of options that this process was given, and for which the store has another value.

        The stored value counts. An option with its default value counts as not given.

        Raises:
            StoreError: If the store cannot be read.
        """
        with self._store.read_autocommit() as transaction:
            return differences(self.policy, stored_policy(transaction))

    def set_policy(
        self,
        account: str | None = None,
        *,
        actor: str | None = None,
        expect_version: int | None = None,
        **options: Unpack[PolicyOptions],
    ) -> PolicyChange:
        """Store options of the policy, for the whole store or for one account.

        An option of an account wins over that of the store, and a stored option over the `policy` of each process. No
        list changes: a list over a new limit stays valid, entries can be removed from it, and none can be added.

        Args:
            account: The account; None for the store.
            actor: Who changes the policy, for the change log.
            expect_version: The version of the account or of the store's policy that the caller saw; None for any.
            options: The options; one that is left out stays, and None takes it back. See `PolicyOptions`.

        Returns:
            The policy after the change, and the lists that it does not fit.

        Raises:
            TypeError: If there is no such option, or an option has another type.
            ValueError: If the value of an option is out of range.
            AccountNotFoundError: If there is no such account.
            SubaccountError: If the account is a subaccount, which has the policy of its parent.
            VersionConflictError: If the version is not the expected version.
            InvalidTextError: If the actor is too long, or contains an invisible character.
            StoreError: If the change cannot be stored.

        Example:
            >>> with RuleManager.open("memory://") as manager:
            ...     account = manager.create_account("acct-1")
            ...     added = manager.add("acct-1", "8.8.8.0/24, 1.1.1.1/32")
            ...     manager.set_policy("acct-1", max_entries=1).over_limit
            ('acct-1',)
        """
        account = None if account is None else account_text(account)
        actor = checked_text(actor, "actor")
        if expect_version is not None:
            whole_number(expect_version, "expect_version", least=0)

        def change(transaction: Transaction) -> PolicyChange:
            made = policy_change(
                transaction,
                account,
                options,
                self.policy,
                at=datetime.now(UTC),
                actor=actor,
                origin=self._origin,
                expect_version=expect_version,
                dry_run=self._dry_run,
            )
            if self._in_transaction is not None and not self._dry_run:
                self._in_transaction(transaction, made)
            return made

        if self._dry_run:
            with self._store.read() as transaction:
                return change(transaction)
        return self._write(change)

    def _split(self, account: str, cidrs: Submission, **details: Unpack[EntryDetails]) -> list[NewEntry]:
        """Split a submission. Only one that is too long for the policy of this process asks the store for its own."""
        again: Submission = cidrs
        if isinstance(cidrs, Iterator):
            cidrs, again = tee(cidrs)
        try:
            return split_submission(cidrs, most=self.policy.most_pieces, **details)
        except RuleError:
            try:
                most = self.policy_state(account).effective.most_pieces
            except CidrgateError:
                most = 0
            if most <= self.policy.most_pieces:
                raise
            return split_submission(again, most=most, **details)

    def _change_list(
        self,
        account: str,
        make: Callable[[Transaction, Listing], StoredChange],
        actor: str | None,
        expect_version: int | None,
        *,
        allow_empty: bool = False,
        existing: list[Entry] | None = None,
        confirmed: Iterable[Guard | Confirmation] = (),
    ) -> ListOutcome:
        actor = checked_text(actor, "actor")
        if expect_version is not None:
            whole_number(expect_version, "expect_version", least=0)
        guards = self._confirmed_with(allow_empty=allow_empty) | named_guards(confirmed)
        request = ListRequest(
            account,
            make,
            actor,
            expect_version,
            self._before_store,
            self._in_transaction,
            self._address,
            guards,
            self._origin,
            [] if existing is None else existing,
            self.policy,
            None if self._dry_run else self._check_account,
        )
        if self._dry_run:
            with self._store.read() as transaction:
                [result] = change_lists(transaction, [request], dry_run=True)
            if isinstance(result, CidrgateError):
                raise result
            return result
        return tried_again(lambda: self._commits.change_list(request), self._store.lock_timeout)

    def _confirmed_with(self, *, allow_empty: bool) -> frozenset[Guard]:
        truth(allow_empty, "allow_empty")
        return self._confirmed | {Guard.DISABLE_ENFORCEMENT} if allow_empty else self._confirmed

    def _confirmed_of_import(self, confirmed: Iterable[Guard | Confirmation], *, allow_empty: bool) -> frozenset[Guard]:
        """Return the guards that an import may meet: all in a dry run of `with_hooks`, as with every other change."""
        given = self._confirmed_with(allow_empty=allow_empty) | named_guards(confirmed)
        return frozenset(Guard) if self._dry_run else given

    def _write(self, make: Callable[[Transaction], _Made]) -> _Made:
        """Return the result of a function that is called in its own write transaction, and again after a conflict."""
        return tried_again(lambda: self._write_once(make), self._store.lock_timeout)

    def _write_once(self, make: Callable[[Transaction], _Made]) -> _Made:
        """Return the result of a function that is called in its own write transaction."""
        if self._store.writers == 1:
            # The database does not grant its lock in the order in which the waiting writers came.
            return self._commits.exclusive(make)
        with self._replica.published.change() as transaction:
            return make(transaction)

    def _log_end(self) -> int:
        """Return the sequence of the last row of the change log."""
        with self._store.read() as transaction:
            return transaction.log_end()

    def before_fork(self) -> None:
        """Load what threads would load at its first use, which a child cannot if one of them is doing it."""
        for name in _LOADED_LATER:
            import_module(name)

    def after_fork(self, *, certain: bool) -> None:
        """Prepare the manager for a forked child, where no change is in progress."""
        self._commits.after_fork()
        self._replica.after_fork(certain=certain)
        if self._recorder is not None:
            self._recorder.after_fork()


_LOADED_LATER = tuple(
    f"cidrgate.stores.{name}"
    for name in (
        "account_rows",
        "backups",
        "copies",
        "credentials",
        "erasing",
        "incomplete_days",
        "migrations",
        "observations",
        "table_rows",
    )
)
"""The parts that methods load when they need them."""

_open: SharedWeakSet[RuleManager] = SharedWeakSet()
"""The managers of this process, for its end."""


def _store_all_matches() -> None:
    """Store the last matches when the process exits."""
    for manager in list(_open):
        if manager._matches.is_pending:
            with suppress(Exception), answer_by(time.monotonic() + _FAREWELL):
                manager.store_matches()


class _RolledBackError(Exception):
    """Ends a transaction that must not be committed, with the report of what it found."""

    def __init__(self, report: ImportReport) -> None:
        super().__init__()
        self.report = report


def _unread(part: dict[str, Submission]) -> dict[str, Submission]:
    """Return lists that can be read once, and keep in `part` what another attempt reads if this one is in conflict."""
    lists = dict(part)
    for name, submitted in lists.items():
        if isinstance(submitted, Iterator):
            lists[name], part[name] = tee(submitted)
    return lists


def _accounts_of_parts() -> Iterator[int]:
    """Yield how many accounts each commit of an import stores: few at first, so that storing begins soon."""
    size = -(-_ACCOUNTS_A_TRANSACTION // 8)
    while True:
        yield size
        size = min(2 * size, _ACCOUNTS_A_TRANSACTION)


def _each_name_once(pairs: Iterable[tuple[str, Submission]]) -> Iterator[tuple[str, Submission]]:
    """Yield the pairs of an import, and refuse a second list of an account, which would replace the first one."""
    names: set[str] = set()
    for name, submitted in map(_pair, pairs):
        if name in names:
            raise ValueError(f"account {name!r} is named twice: put all of its entries in one list")
        names.add(name)
        yield name, submitted


def _pair(pair: tuple[str, Submission]) -> tuple[str, Submission]:
    """Return a pair of an import. A text of two characters is none, although it could be unpacked."""
    match pair:
        case (name, submitted):
            return account_text(name), submitted
    raise TypeError(f"lists is a mapping from accounts to their entries, or pairs of both: {pair!r} is no pair")


def _note_matches(transaction: Transaction, seen: Sequence[tuple[str, str]]) -> None:
    # A time in the future would never be replaced.
    transaction.note_matches(seen, transaction.certain_time(datetime.now(UTC)))


def _both(first: Callable[..., object] | None, second: Callable[..., object] | None) -> Callable[..., object] | None:
    """Return one callable that calls both, in this order."""
    if first is None or second is None:
        return first or second

    def both(*arguments: object) -> None:
        first(*arguments)
        second(*arguments)

    return both
