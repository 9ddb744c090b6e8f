"""`PublishedStore`: a matcher that equals the store at one position of its log, and catches up from there.

Changes of this process and of other processes are published in the same way: one transaction reads again all accounts
that changed since the position, and publishes them. So the matcher never shows half of a change, publishing a change
twice is harmless, and no change is missed, whatever failed between a commit and its publication. The thread that
catches up regularly is in `cidrgate.replica.follower`.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from contextlib import contextmanager, nullcontext, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, cast

from cidrgate._engine import Matcher
from cidrgate.errors import (
    AccountNotFoundError,
    CidrgateError,
    SnapshotError,
    StoreError,
    StoreOutgrownError,
    SubaccountError,
)
from cidrgate.event_log import log_event
from cidrgate.expiry.removal import ModeChange, remove_expired
from cidrgate.expiry.schedule import ExpirySchedule, unexpired
from cidrgate.process.clock import since_boot
from cidrgate.process.forking import work
from cidrgate.process.locks import held
from cidrgate.replica.snapshots import read_snapshot, write_snapshot
from cidrgate.values import mode_at

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
    from pathlib import Path

    from cidrgate.replica.snapshots import SharedSnapshot
    from cidrgate.stores import Store, StoredList, Transaction
    from cidrgate.values import Mode

__all__ = ["PublishedStore"]

_MOST_NAMES = 20_000
"""If more accounts than this changed, one scan reads all lists, instead of a query by name."""

_FEW_NAMES = 100
"""The number of changed accounts up to which the statement that finds them also reads their lists."""

_PROGRESS = 20_000
"""The number of accounts between two calls of `progress`."""

_RETRY = 1.0
"""Seconds before another attempt to catch up after the store could not be read."""

_PUBLICATION = 2.0
"""Seconds that a stored change waits for another read of the store, until it leaves its publication to the next one."""


_WORTH_SAYING = 1.0
"""Seconds by which the clock must go back before that is logged: time synchronization makes smaller steps."""


_IN_PART = "all lists but those of some accounts were published"
"""The note on an error that came as lists were published."""

_NOTHING_CHANGED = "; nothing was changed"
"""The part of a store's error message that is wrong once a change was committed."""


class PublishedStore:
    """A store, and a matcher that equals it at a position in its log.

    Threads can share it.

    Args:
        store: The store of the lists.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._matcher = Matcher()
        self._position: str | None = None
        self._known_at = -math.inf
        self.on_known: Callable[[], object] | None = None
        """Called each time the matcher is known to equal the store."""
        self._schedule = ExpirySchedule()
        # Held from reading lists to publishing them, so that the lists that are read last are published last.
        self._reading = threading.RLock()
        # Held while the matcher and the schedule change, but not while waiting for the store or writing to the log.
        self._publishing = threading.RLock()
        # The latest time for which lists were published. If the clock went back since, the accounts with entries that
        # had expired by that time and have not by the clock: they must be read again.
        self._as_of = datetime.min.replace(tzinfo=UTC)
        self._revived: set[str] = set()
        # The accounts whose lists could not be published, and are read again; and whether something that has expired
        # could not be removed. Meanwhile the matcher does not equal the store.
        self._unpublished: set[str] = set()
        self._overdue = False
        # Whether there may be a commit that this process did not publish, and how often it was found that there may be.
        self._behind = False
        self._fallen = 0
        self._next_attempt = 0.0
        # The error because of which this process can no longer read the store's lists correctly.
        self._outgrown: StoreOutgrownError | None = None
        # The numbers of two reads of the store: the last that began, and the last that succeeded.
        self._begun = self._ended = 0
        self.on_next_expiry_changed: Callable[[], object] = lambda: None
        """Called when the time changes at which the next entry expires."""
        self.on_behind: Callable[[], object] | None = None
        """Called when a query finds the matcher behind the store, if another thread catches up: a query must not wait
        for a store that does not answer."""
        self.before_adoption: Callable[[], object] = lambda: None
        """Called before all lists of the matcher are replaced at once, which makes its row numbers invalid."""
        self.stale_after: float | None = None
        """The staleness in seconds after which the lists are stale, and the log says so; None for never."""
        self.shared: SharedSnapshot | None = None
        """The snapshot that other processes share, or None."""
        self.housekeeping: dict[str, Callable[[], object]] = {}
        """The housekeeping tasks, by name. Each is called regularly, and fails independently of the others."""

    # ------------------------------------------------------------------------------------------------- reading

    @property
    def loaded(self) -> bool:
        """Whether the matcher was filled."""
        return self._position is not None

    @property
    def matcher(self) -> Matcher:
        """The matcher with the last known lists.

        Raises:
            CidrgateError: If the matcher was not loaded.
        """
        if self._position is None:
            raise CidrgateError("the matcher is not loaded, and an empty one would allow everything: call load()")
        if self._behind and time.monotonic() >= self._next_attempt:
            if self.on_behind is not None:
                self._next_attempt = time.monotonic() + _RETRY
                self.on_behind()
            else:
                with suppress(StoreError):  # the last known lists are served then
                    self.catch_up()
        return self._matcher

    @property
    def known_at(self) -> float:
        """The time of `since_boot` at which the matcher was last known to equal the store; -inf if it never was.

        It is also -inf while a list cannot be published, or an expired entry cannot be removed.
        """
        return -math.inf if self._overdue or self._unpublished else self._known_at

    @property
    def staleness(self) -> float:
        """Seconds since the matcher was last known to equal the store; infinite before it was loaded."""
        return since_boot() - self.known_at

    @property
    def incomplete(self) -> bool:
        """Whether the matcher lacks entries that match again after the clock went back. `catch_up` publishes them."""
        return bool(self._revived)

    def load(self, progress: Callable[[int], object] | None = None, snapshot: Path | None = None) -> None:
        """Fill the matcher from the store, with the lists of all accounts at one moment.

        Args:
            progress: Called regularly with the number of accounts read since the last call.
            snapshot: A file to start from. It is used if it exists, is not damaged, and the log still contains the
                changes since it was written.

        Raises:
            StoreError: If the store cannot be read.
        """
        with work(), self._reading:
            if snapshot is not None:
                try:
                    self._take_over(snapshot, progress)
                except FileNotFoundError:
                    pass
                except (SnapshotError, OSError) as error:
                    log_event(
                        logging.WARNING,
                        "snapshot_refused",
                        f"the snapshot cannot be used, so the whole store is read: {error}",
                        path=str(snapshot),
                    )
                else:
                    return
            # An attempt that failed may have left accounts behind.
            fresh = self._position is None and not len(self._matcher)
            self._read(self._matcher if fresh else Matcher(), ExpirySchedule(), "", progress)

    def catch_up(self, *, check_first: bool = True, within: float | None = None) -> bool:
        """Publish every change that was committed since the matcher's position, by this process or another.

        If several threads call this at once, one read of the store serves all of them.

        Args:
            check_first: Whether to check first if there are changes; false if the caller knows that there are.
            within: The seconds to wait for the end of another thread's read; None for as long as it takes.

        Returns:
            Whether the other read ended in time, so that the matcher is up to date.

        Raises:
            StoreError: If the store cannot be read. The matcher stays unchanged.
            Exception: If the lists of some accounts could not be published, or what has expired not be removed: the
                first error. All others were, and the next call tries again.
        """
        last = self._begun
        with work(), held(self._reading, within) as is_held:
            if not is_held:
                return False
            if self._ended > last:  # that read began after this call, so it saw the same changes
                return True
            self._begun = number = self._begun + 1
            fallen = self._fallen
            next_end = self._next_end()
            try:
                try:
                    if not (check_first and self._unchanged()):
                        self._read(self._matcher, self._schedule, self._position or "", None)
                finally:
                    if self._next_end() != next_end:
                        self.on_next_expiry_changed()
            except StoreError as error:
                self._next_attempt = time.monotonic() + _RETRY
                if isinstance(error, StoreOutgrownError):
                    # The lists in memory may be wrong now, so their staleness becomes infinite.
                    self._outgrown = error
                    self._fell_behind()
                raise
            self._ended = number
            self._behind = self._fallen != fallen
            self._outgrown = None
            return True

    def _next_end(self) -> datetime | None:
        with self._publishing:
            return self._schedule.next()

    def _record_known_at(self, at: float) -> None:
        """Record a time at which the matcher was known to equal the store."""
        self._known_at = at
        if self.on_known is not None:
            self.on_known()

    def _fell_behind(self) -> None:
        """Record that the matcher may differ from the store until the store is read again."""
        self._missed()
        self._record_known_at(-math.inf)

    def _missed(self) -> None:
        """Record that there may be a commit that was not published. A read that has begun does not know of it."""
        self._fallen += 1
        self._behind = True

    def _unchanged(self) -> bool:
        """Return whether nothing was committed since the position. It takes one message, as most polls find nothing."""
        if self._position is None or self._revived or self._unpublished:
            return False
        if self._overdue and self.on_behind is None:  # no other thread tries again to remove what has expired
            return False
        began = since_boot()
        with self._store.read_autocommit() as transaction:
            if transaction.changed_since(self._position, _MOST_NAMES) != set():
                return False
            self._position = transaction.position()
        self._record_known_at(began)
        return True

    def _read_few(self, position: str) -> bool:
        """Publish the changes since the matcher's position if they are few, and return whether they were.

        One statement reads the position and the lists. That costs a server a quarter of what a transaction costs.
        """
        if not position or self._revived or self._unpublished:
            return False
        began = since_boot()
        with self._store.read_autocommit() as transaction:
            found = transaction.lists_changed_since(position, _FEW_NAMES)
            if found is None:
                return False
            now = transaction.position()
        lists, gone = found
        with _telling() as changed, self._publishing:
            at = datetime.now(UTC)
            failed = _publish(self._matcher, self._schedule, lists, gone, at, changed)
            overdue = remove_expired(self._matcher, self._schedule, at, changed)
            self._as_of = max(self._as_of, at)
            self._unpublished, self._overdue = set(failed), overdue is not None
            self._position = now
        self._conclude(began, failed, overdue)
        return True

    def _conclude(self, began: float, failed: Mapping[str, Exception], overdue: Exception | None) -> None:
        """Record that the matcher equals the store, as of the beginning of a read.

        Raises:
            Exception: The first error, if something could not be published or removed.
        """
        failure = next(iter(failed.values()), overdue)
        if failure is not None:
            failure.add_note(_IN_PART)
            self._fell_behind()
            raise failure
        self._record_known_at(began)

    def _read(
        self, matcher: Matcher, schedule: ExpirySchedule, position: str, progress: Callable[[int], object] | None
    ) -> None:
        """Update a matcher from a position to the store's current position, and publish it."""
        if matcher is self._matcher and self._read_few(position):
            return
        began = since_boot()
        with _telling() as changed:
            with self._store.read() as transaction:
                names = transaction.changed_since(position, _MOST_NAMES) if position else None
                now = transaction.position()
                revived = set(self._revived)
                if names is not None and schedule is self._schedule:
                    names |= revived | self._unpublished
                elif names is not None:
                    names |= _missing(matcher, schedule, datetime.now(UTC))
                lists: Iterable[StoredList] = ()  # read once, unless there are names
                if names:
                    lists = transaction.lists_named(names)
                elif names is None:
                    lists = transaction.lists()
                    if position:
                        # Too many accounts changed, or the log no longer says which.
                        matcher, schedule = Matcher(), ExpirySchedule()
                adopts = matcher is not self._matcher
                told: list[ModeChange] = [] if adopts else changed
                with nullcontext() if adopts else self._publishing:
                    at = datetime.now(UTC)
                    # All names are known, or none is and the matcher is new.
                    gone = set() if names is None else names - {one.account for one in lists}
                    failed = _publish(matcher, schedule, _told(lists, progress), gone, at, told)
                    # What has expired since a snapshot was written.
                    overdue = remove_expired(matcher, schedule, at, told)
                    if not adopts:
                        self._overdue = overdue is not None
            if failed and (self._position is None or (adopts and names is not None)):
                raise next(iter(failed.values()))  # without these lists, this matcher is not used
            with self._publishing:
                self._as_of = max(self._as_of, at)
                if adopts:
                    # To read the lists may have taken minutes, and the matcher in use has lost what expired meanwhile.
                    at = datetime.now(UTC)
                    self._as_of = max(self._as_of, at)
                    for account in failed:
                        _keep_list(account, self._matcher, self._schedule, matcher, schedule)
                    overdue = remove_expired(matcher, schedule, at, told)
                    changed += [one for one in told if self._mode(one.account) != one.mode]
                    self.before_adoption()
                    self._matcher.adopt(matcher)
                    self._overdue = overdue is not None
                self._schedule = schedule
                self._revived -= revived
                self._unpublished = set(failed)
                self._position = now
        if adopts:
            self.on_next_expiry_changed()
        self._conclude(began, failed, overdue)

    def _mode(self, account: str) -> Mode | None:
        return self._matcher.mode(account) if account in self._matcher else None

    # ----------------------------------------------------------------------------------------------- snapshots

    def save_snapshot(self, path: Path) -> None:
        """Catch up, and write a snapshot of the matcher.

        Raises:
            StoreError: If the store cannot be read.
            SnapshotError: If the list of an account cannot be published, or there are too many expiry times.
            OSError: If the file cannot be written.
        """
        with work():
            self.catch_up()
            self.expire()
            self._save_snapshot(path)

    def _save_snapshot(self, path: Path) -> str:
        """Write a snapshot of the matcher as it is, and return its position in the log.

        Changes that are published meanwhile do not wait. They may be in the file: who reads it reads every account
        again that changed since its position.

        Raises:
            SnapshotError: If the list of an account cannot be published, or there are too many expiry times.
            OSError: If the file cannot be written.
        """
        with self._publishing:
            if self._unpublished:
                raise SnapshotError("no snapshot is written while the list of an account cannot be published")
            position, expiries = self._position or "", dict(self._schedule.expiries())
        write_snapshot(path, self._matcher, expiries, position)
        return position

    def write_shared_snapshot(self) -> None:
        """Write a new shared snapshot if it is this process's turn.

        Raises:
            SnapshotError: If the file or its lock cannot be written, or it cannot have so many expiry times.
        """
        shared = self.shared
        if shared is None or not math.isfinite(self.known_at):
            return
        with work():
            if not shared.should_write(self._position or ""):
                return
            try:
                position = self._save_snapshot(shared.path)
            except OSError as error:
                raise SnapshotError(f"the snapshot {shared.path} cannot be written: {error}") from error
            shared.written(position)
            log_event(
                logging.INFO,
                "snapshot_written",
                "a new shared snapshot was written",
                path=str(shared.path),
                accounts=len(self._matcher),
            )

    def take_over_shared_snapshot(self) -> None:
        """Use the shared snapshot from now on, if another process has written a new one.

        Raises:
            StoreError: If the store cannot be read.
            SnapshotError: If the file is damaged or is not a snapshot.
            OSError: If the file cannot be read.
        """
        shared = self.shared
        if shared is None:
            return
        with work():
            state = shared.news()
            if state is not None:
                self._take_over(shared.path, None)
                shared.taken_over(state)
                log_event(
                    logging.INFO,
                    "snapshot_shared",
                    "this process now uses the shared snapshot that another process has written",
                    path=str(shared.path),
                )

    def _take_over(self, path: Path, progress: Callable[[int], object] | None) -> None:
        """Read a snapshot, let its matcher catch up, and publish it."""
        matcher, schedule, position = read_snapshot(path)
        with self._reading:
            self._read(matcher, schedule, position, progress)

    # ------------------------------------------------------------------------------------------------- writing

    @contextmanager
    def change(self, *, wait: float | None = None, patient: bool = True) -> Iterator[Transaction]:
        """Begin a write transaction, which is committed and then published at the end of the block.

        An exception in the block changes nothing. Before `load`, nothing is published.

        Args:
            wait: As for `Store.write`.
            patient: As for `Store.write`.

        Raises:
            StoreOutgrownError: If a newer cidrgate has migrated the store.
            StoreError: If the transaction cannot begin or cannot be committed.
        """
        if self._outgrown is not None:
            raise StoreOutgrownError(str(self._outgrown))
        ended = False
        try:
            with self._store.write(wait=wait, patient=patient) as transaction:
                yield transaction
                ended = True
        except BaseException:
            # A failed commit may have been stored. Reading the log will show that.
            if ended:
                self._missed()
            raise
        if not self.loaded:
            return
        unpublished, overdue = frozenset(self._unpublished), self._overdue
        try:
            if not self.catch_up(check_first=False, within=_PUBLICATION):
                self._missed()
                log_event(
                    logging.WARNING,
                    "publication_delayed",
                    "a change is stored, and another read of the store delays its publication",
                )
        except StoreError as error:
            # The change is stored, so it must not fail here. The matcher is marked as behind.
            self._fell_behind()
            reason = str(error).partition(_NOTHING_CHANGED)[0]
            log_event(
                logging.WARNING,
                "publication_delayed",
                f"a change is stored, but it could not be read again for publication: {reason}",
            )
        except BaseException as error:
            if (
                _IN_PART in getattr(error, "__notes__", ())
                and self._unpublished <= unpublished
                and (self._unpublished or (self._overdue and overdue))
            ):
                # These lists could not be published before this change either, and all others were.
                log_event(
                    logging.WARNING,
                    "publication_delayed",
                    f"a change is stored, and some lists cannot be published: {error or type(error).__name__}",
                )
                return
            self._fell_behind()
            with suppress(Exception):
                self.catch_up(within=_PUBLICATION)
            raise

    def after_fork(self, *, certain: bool) -> None:
        """Prepare the matcher for a forked child, where no other thread continues.

        Args:
            certain: Whether no thread was in the middle of an operation. Otherwise the matcher may contain half of a
                read of the store, and it is not known to equal the store before the next read.
        """
        self._reading = threading.RLock()
        self._publishing = threading.RLock()
        if not certain:
            self._fell_behind()
        if self.shared is not None:
            self.shared.close()  # the parent keeps the right to write the snapshot

    # -------------------------------------------------------------------------------------------------- expiry

    def expire(self) -> float | None:
        """Remove the entries from the matcher that have expired since the last call.

        Returns:
            The seconds until the next entry expires; None if no known entry expires.

        Raises:
            Exception: If something could not be removed: the first error. The age is infinite until that succeeds.
        """
        back, overdue = 0.0, True
        with work(), _telling() as changed, self._publishing:
            at = datetime.now(UTC)
            if at < self._as_of:  # the clock went back
                back = (self._as_of - at).total_seconds()
                self._revived.update(self._schedule.expired_between(at, self._as_of))
            self._as_of = at
            try:
                error = remove_expired(self._matcher, self._schedule, at, changed)
                overdue = error is not None
            finally:
                self._overdue = overdue
                if overdue:
                    self._fell_behind()  # the matcher allows more than the lists do
            end = self._schedule.next()
        if back >= _WORTH_SAYING:
            log_event(
                logging.WARNING,
                "clock_went_back",
                f"the clock of this machine went back by {back:.1f} seconds: entries that had expired match again",
                seconds=round(back, 3),
            )
        if error is not None:
            raise error
        return None if end is None else (end - at).total_seconds()


@contextmanager
def _telling() -> Iterator[list[ModeChange]]:
    """Log the changed modes that the block adds to a list, after the block: handlers of the log may be slow."""
    changed: list[ModeChange] = []
    try:
        yield changed
    finally:
        for one in changed:
            _log_mode(one)


def _missing(matcher: Matcher, schedule: ExpirySchedule, at: datetime) -> set[str]:
    """Return the accounts of a snapshot of which something had expired by its writer's clock, but not by this clock."""
    return {
        account
        for account, expiries in schedule.expiries().items()
        if not {cidr for cidr, expiry in expiries.items() if cidr and expiry > at}.issubset(matcher.prefixes(account))
        or (expiries.get("", at) > at and matcher.mode(account) == "enforce")
    }


def _told(lists: Iterable[StoredList], progress: Callable[[int], object] | None) -> Iterator[StoredList]:
    """Yield lists, and report how many were yielded."""
    for number, one in enumerate(lists, 1):
        yield one
        if progress is not None and number % _PROGRESS == 0:
            progress(_PROGRESS)


def _publish(
    matcher: Matcher,
    schedule: ExpirySchedule,
    lists: Iterable[StoredList],
    gone: Collection[str],
    at: datetime,
    changed: list[ModeChange],
) -> dict[str, Exception]:
    """Publish lists at a time, and discard accounts.

    An account that cannot be published keeps no other account waiting. It keeps its list.

    Empty lists are published too, so that the matcher knows every account of the store. The store says whether an
    account is enforced: it stays enforced even if none of its entries matches.

    Args:
        matcher: The matcher.
        schedule: The expiry times of its entries.
        lists: The lists of some accounts at one moment, in any order. They contain every account that has another
            parent, and every subaccount whose parent has another name or is gone.
        gone: The names that no account has at that moment.
        at: The time.
        changed: Where to add the modes that change.

    Returns:
        The accounts that could not be published or discarded, with the errors.
    """
    waiting: list[StoredList] = []
    failed: dict[str, Exception] = {}
    for stored in lists:
        try:  # not with `_noted`, which costs too much for each of a million lists
            if stored.parent is not None:
                if not _linked(matcher, schedule, stored):
                    waiting.append(stored)
                continue
            matching = unexpired(stored.cidrs, stored.expiring, at) if stored.expiring else stored.cidrs
            mode = mode_at(stored.mode, stored.mode_until, at)
            # In one step, also for an account that inherited a list before: no check finds it without a list.
            before = matcher.mode(stored.account) if stored.account in matcher else mode
            matcher._publish_moved(
                stored.account, matching, when_empty="deny" if stored.enforced else "allow", mode=mode
            )
            schedule.put(stored.account, stored.expiring, stored.mode_until)
            if mode != before:
                changed.append(ModeChange(stored.account, before, mode, stored.mode_until))
        except Exception as error:  # noqa: BLE001
            failed[stored.account] = error
    # Now every parent is published. An account that had subaccounts has to wait until they have other parents.
    left: list[StoredList] = []
    for stored in waiting:
        with _noted(failed, stored.account):
            if not _linked(matcher, schedule, stored):
                left.append(stored)
    # Names go after all others came: a renamed account is found under one name at each moment. Subaccounts go first,
    # because a parent with subaccounts is not discarded.
    for account in sorted(gone, key=lambda name: matcher._parent_of(name) is None):
        with _noted(failed, account):
            matcher.discard(account)
            schedule.put(account, {})
    for stored in left:
        with _noted(failed, stored.account):
            _link(matcher, schedule, stored)
    return failed


@contextmanager
def _noted(failed: dict[str, Exception], account: str) -> Iterator[None]:
    """Note an error of the block as that of an account, so that others are published."""
    try:
        yield
    except Exception as error:  # noqa: BLE001
        failed[account] = error


def _linked(matcher: Matcher, schedule: ExpirySchedule, stored: StoredList) -> bool:
    """Make an account inherit a list, in one step; return False if other accounts have to be published first."""
    try:
        _link(matcher, schedule, stored)
    except (AccountNotFoundError, SubaccountError):
        return False
    return True


def _link(matcher: Matcher, schedule: ExpirySchedule, stored: StoredList) -> None:
    matcher._link_moved(stored.account, cast("str", stored.parent))
    schedule.put(stored.account, stored.expiring)


def _keep_list(
    account: str, old: Matcher, old_schedule: ExpirySchedule, matcher: Matcher, schedule: ExpirySchedule
) -> None:
    """Give a new matcher the list that an account has in the old one, because its stored list cannot be published."""
    if account not in old:
        return
    parent = old._parent_of(account)
    if parent is None:
        matcher._publish_moved(
            account, old.prefixes(account), when_empty=old._when_empty(account), mode=old.mode(account)
        )
        schedule.put(account, old_schedule.expiries().get(account, {}))
    else:
        matcher._link_moved(account, parent)


def _log_mode(one: ModeChange) -> None:
    """Log that the mode of a list has changed: its protection ends, or begins again."""
    end = "" if one.until is None or one.mode == "enforce" else f" until {one.until.isoformat(timespec='seconds')}"
    log_event(
        logging.WARNING,
        "mode_changed",
        f"account {one.account!r} {_MEANINGS[one.mode]}{end}",
        account=one.account,
        before=one.before,
        mode=one.mode,
        until=None if not end or one.until is None else one.until.isoformat(),
    )


_MEANINGS: dict[Mode, str] = {
    "enforce": "is enforced again",
    "report_only": "only reports: addresses that are not listed are allowed",
    "off": "is paused: every address is allowed",
}
