"""The feed: the change log of all accounts, the oldest row first, as it grows.

A reader gets each row exactly once, in the order of the sequences. On PostgreSQL, transactions commit in another order
than they take their sequences. So a row is not handed out while a transaction may still commit a row with a smaller
sequence: a missing sequence is skipped only when every transaction that could own it has ended. The wait is as long as
such a transaction takes from its first row to its commit. If it is longer than the lock timeout, the session of the
transaction is reported.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

from cidrgate.errors import HistoryError, StoreBusyError, StoreError
from cidrgate.process.forking import join_forks
from cidrgate.process.weak_sets import SharedWeakSet
from cidrgate.replica.follower import Complaint
from cidrgate.stores.waits import time_left

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from cidrgate.stores import Store, Watch
    from cidrgate.stores.values import LogHolder
    from cidrgate.values import Change

__all__ = ["ChangeFeed", "ChangeReader", "Subscription", "follow_changes", "read_changes"]

_PAGE = 100
"""The most rows that one read returns: each may contain two whole lists."""

_UNSETTLED = 0.005
"""Seconds between two reads while a transaction may still commit a row with a smaller sequence."""

_PATIENCE = 1.0
"""Seconds that a read of a page waits for such a transaction."""

_POLL = 5.0
"""Seconds between two reads without a signal of the store."""

_RETRY = 1.0
"""Seconds before another attempt to reach the store."""

_RECENT = 500
"""The most rows that a `ChangeFeed` holds in memory for its subscribers."""


class ChangeReader:
    """Reads the change log from one place on.

    Args:
        store: The store.
        after: The sequence of the last row that was read; 0 to begin with the oldest row.

    Attributes:
        after: The sequence of the last row that was read.
        unsettled: Whether a transaction holds rows back, as of the last attempt to read them.
    """

    def __init__(self, store: Store, after: int = 0) -> None:
        self._store = store
        self.after = after
        self.unsettled = False
        # The transactions that could own the sequences missing up to a row; None while none is missing.
        self._writers: frozenset[str] | None = None
        self._until = 0
        self._held_until: float | None = None  # how long they may hold back every row that comes next

    def continue_after(self, sequence: int) -> None:
        """Continue after a row that was read elsewhere, or that nobody can read any more.

        Args:
            sequence: The sequence of the row.
        """
        self.after = sequence
        self.unsettled = False
        self._writers = None  # they could own sequences before this row
        self._held_until = None

    def check(self) -> None:
        """Refuse a place from which on the log cannot be read.

        Raises:
            HistoryError: If rows after it were deleted, or the log does not reach it.
            StoreError: If the store cannot be read.
        """
        with self._store.read() as transaction:
            start, end = transaction.log_start(), transaction.log_end()
        self._check_start(start)
        if self.after > end:
            raise HistoryError(
                f"the change log ends with change {end}: there is no change {self.after} yet. If a backup was "
                "restored, read the log from its beginning",
                sequence=self.after,
            )

    def begin_at_end(self) -> None:
        """Continue after the newest row. No row that is committed later is left out.

        Raises:
            StoreBusyError: If a transaction that has written to the log does not end in time.
            StoreError: If the store cannot be read.
        """
        end = time.monotonic() + time_left(self._store.lock_timeout)
        with self._store.read() as transaction:
            self.continue_after(transaction.log_end())
        writers = self._current_writers()
        while writers:
            if time.monotonic() > end:
                self.unsettled = True
                raise _busy("the place of its rows is unknown", self._holder(writers))
            time.sleep(_UNSETTLED)
            writers &= self._current_writers()

    def read(self, limit: int = _PAGE) -> list[Change]:
        """Return the next rows, the oldest first; an empty list if there are none yet.

        Args:
            limit: The most rows to return.

        Raises:
            HistoryError: If the next rows were deleted.
            StoreError: If the store cannot be read.
        """
        with self._store.read_autocommit() as transaction:
            rows = transaction.changes_after(self.after, limit)
        settled = _without_gap(rows, self.after)
        if rows and not settled:
            settled = self._past_gap(rows, limit)
        if settled:
            self.continue_after(settled[-1].sequence)
        self.unsettled = len(settled) < len(rows)
        if settled or not self.unsettled:
            self._held_until = None
        elif self._held_until is None:
            self._held_until = time.monotonic() + time_left(self._store.lock_timeout)
        return settled

    def refuse_long_hold(self) -> None:
        """Refuse to wait longer for a transaction that holds rows back. After an error, the time begins anew.

        Raises:
            StoreBusyError: If it has held back the same row for longer than the lock timeout.
        """
        if self._held_until is None or time.monotonic() < self._held_until:
            return
        self._held_until = None
        holder = self._holder(self._writers)
        if holder is not None:
            raise _held_back(holder)

    def hold_is_short(self) -> bool:
        """Return whether the transaction that holds rows back is younger than the lock timeout, as far as known.

        Raises:
            StoreBusyError: If it is older.
        """
        holder = self._holder(self._writers)
        if holder is None or holder.seconds is None:
            return False
        if holder.seconds >= self._store.lock_timeout:
            raise _held_back(holder)
        return True

    def _past_gap(self, rows: list[Change], limit: int) -> list[Change]:
        """Return rows from a gap on, if every transaction that could own the gap has ended."""
        with self._store.read_autocommit() as transaction:
            start = transaction.log_start()
        if self.after + 1 < start:
            self._check_start(start)
            self.continue_after(start - 1)
            return _without_gap(rows, self.after) or self._past_gap(rows, limit)
        # Whoever took a sequence before these rows did has ended, or holds its lock on the log now.
        current = self._current_writers()
        if self._writers is None:
            self._until, self._writers = rows[-1].sequence, current
        else:
            self._writers &= current
        if self._writers:
            return []
        with self._store.read_autocommit() as transaction:
            found = transaction.changes_after(self.after, limit)
        settled = [row for row in found if row.sequence <= self._until]
        if not settled:
            self._writers = None  # the row was lost, as in a failover: what comes later is another gap
        return settled

    def _current_writers(self) -> frozenset[str]:
        with self._store.read_autocommit() as transaction:
            return transaction.log_writers()

    def _holder(self, writers: frozenset[str] | None) -> LogHolder | None:
        if not writers:
            return None
        with self._store.read_autocommit() as transaction:
            return transaction.log_holder(writers)

    def _check_start(self, start: int) -> None:
        if 0 < self.after < start - 1:
            raise HistoryError(
                f"the change log begins with change {start}: older changes were deleted. Read it from its beginning",
                sequence=self.after,
            )


def _busy(consequence: str, holder: LogHolder | None) -> StoreBusyError:
    held = "" if holder is None else f" (it is held by {holder.session})"
    return StoreBusyError(
        f"a transaction that has written to the change log does not end, so {consequence}: try again, or end the "
        f"session of the database that holds it{held}"
    )


def _held_back(holder: LogHolder) -> StoreBusyError:
    return _busy("all later changes are held back", holder)


def _without_gap(rows: list[Change], after: int) -> list[Change]:
    """Return the first rows, as long as no sequence is missing."""
    for number, row in enumerate(rows, 1):
        if row.sequence != after + number:
            return rows[: number - 1]
    return rows


def read_changes(store: Store, after: int, limit: int | None) -> list[Change]:
    """Return rows after a sequence, the oldest first; see `RuleManager.changes`."""
    reader = ChangeReader(store, after)
    reader.check()
    found: list[Change] = []
    end = time.monotonic() + time_left(min(_PATIENCE, store.lock_timeout))
    while limit is None or len(found) < limit:
        rows = reader.read(_PAGE if limit is None else min(_PAGE, limit - len(found)))
        found += rows
        if rows:
            continue
        if not reader.unsettled:
            break
        if time.monotonic() > end:
            if found or reader.hold_is_short():
                break
            end = time.monotonic() + _PATIENCE
        reader.refuse_long_hold()
        time.sleep(_UNSETTLED)
    return found


def follow_changes(store: Store, after: int | None) -> Generator[Change]:
    """Yield rows after a sequence as they are committed; see `RuleManager.follow_changes`."""
    reader = ChangeReader(store, after or 0)
    # Here and not in the generator: what is committed after this call belongs to the rows from now on.
    if after is None:
        reader.begin_at_end()
    else:
        reader.check()
    return _followed(store, reader)


def _followed(store: Store, reader: ChangeReader) -> Generator[Change]:
    watch = store.watch(own_commits=True)
    try:
        while True:
            rows = reader.read()
            yield from rows
            if not rows:
                reader.refuse_long_hold()
                watch.wait(_UNSETTLED if reader.unsettled else _POLL)
    finally:
        watch.close()


class Subscription:
    """One reader of a `ChangeFeed`, until it is closed or garbage-collected.

    Attributes:
        reader: Where it is in the log.
    """

    def __init__(self, feed: ChangeFeed, reader: ChangeReader, woken: Callable[[], object]) -> None:
        self._feed = feed
        self.reader = reader
        self.woken = woken

    def read(self) -> list[Change]:
        """Return the next rows, from memory if it has them; an empty list if there are none yet.

        Raises:
            HistoryError: If the next rows were deleted.
            StoreError: If the store cannot be read.
        """
        recent = self.recent()
        return self.reader.read() if recent is None else recent

    def recent(self) -> list[Change] | None:
        """Return the next rows from memory; None if the store must be read."""
        recent = self._feed.recent(self.reader.after)
        if recent is not None:
            self.reader.continue_after(recent[-1].sequence if recent else self.reader.after)
        return recent

    def close(self) -> None:
        """Leave the feed."""
        self._feed.leave(self)


class ChangeFeed:
    """The newest rows of the log, which one thread reads for all subscribers. Threads may share it.

    The thread runs while there are subscribers.

    Args:
        store: The store.
        most: The most subscribers at a time.
        refused: Called each time that the thread has waited for the lock timeout for a transaction that holds rows
            back; None for nothing.

    Attributes:
        closed: Whether it serves nobody any more.
        held_back: Whether rows are held back for longer than the lock timeout.
    """

    def __init__(self, store: Store, most: int = 100, refused: Callable[[], object] | None = None) -> None:
        self._store = store
        self._most = most
        self._refused = refused
        self.after_fork(certain=True)
        join_forks(self, stage=2)

    def before_fork(self) -> None:
        """Do nothing: the store closes what a child must not inherit."""

    def after_fork(self, *, certain: bool) -> None:
        """Begin anew in a forked child, which has neither the thread nor subscribers."""
        self._lock = threading.Lock()
        # Weak: a subscription whose owner was interrupted or cancelled before it got it takes no place.
        self._subscribers: SharedWeakSet[Subscription] = SharedWeakSet()
        self._rows: deque[Change] = deque()
        self._complete_after: int | None = None  # every settled row after this sequence is in memory
        self._thread: threading.Thread | None = None
        self._watch: Watch | None = None
        self._complaint = Complaint("task_failed", "the streams of changes cannot read the change log, and try again")
        self._hold = Complaint("store_busy", "a transaction holds the streams of changes back")
        self.closed = False
        self.held_back = False

    def subscribe(self, after: int | None, woken: Callable[[], object]) -> Subscription | None:
        """Return a new subscription; None if there are too many, or the feed is closed.

        Args:
            after: The sequence of the last row that the subscriber has; None to begin after the newest row.
            woken: Called in another thread when there may be new rows, and when the feed is closed.

        Raises:
            HistoryError: If the log cannot be read from there on.
            StoreError: If the store cannot be read, or no thread can be started.
        """
        subscription = Subscription(self, ChangeReader(self._store, after or 0), woken)
        with self._lock:
            if self.closed or len(self._subscribers) >= self._most:
                return None
            self._subscribers.add(subscription)
        try:
            if after is None:
                subscription.reader.begin_at_end()
            else:
                subscription.reader.check()
            self._have_thread()
        except BaseException:
            self.leave(subscription)
            raise
        return subscription

    def _have_thread(self) -> None:
        with self._lock:
            if self.closed or (self._thread is not None and self._thread.is_alive()):
                return
            thread = threading.Thread(target=self._run, name="cidrgate-feed", daemon=True)
            try:
                thread.start()
            except RuntimeError as error:
                raise StoreError(
                    f"changes cannot be followed because no thread can be started ({error}): raise the limit on "
                    "threads or memory for this process"
                ) from error
            self._thread = thread

    def leave(self, subscription: Subscription) -> None:
        """End a subscription."""
        with self._lock:
            self._subscribers.discard(subscription)
            idle = not self._subscribers
        if idle:
            self._wake()

    def close(self) -> None:
        """End the thread, and wake every subscriber, which then ends."""
        with self._lock:
            self.closed = True
        self._wake()
        self._tell()

    def recent(self, after: int) -> list[Change] | None:
        """Return the rows after a sequence, if memory has all that the thread has read; otherwise None.

        While the thread cannot reach the store, memory stays as it is: there is nothing that a subscriber could read.
        """
        with self._lock:
            if self._complete_after is None or after < self._complete_after:
                return None
            if self._thread is None or not self._thread.is_alive():
                return None
            return [row for row in self._rows if row.sequence > after]

    def _tell(self) -> None:
        """Tell every subscriber that there may be news."""
        with self._lock:
            subscribers = list(self._subscribers)
        for subscription in subscribers:
            with suppress(Exception):  # its event loop has ended; what else fails concerns this subscriber alone
                subscription.woken()

    def _wake(self) -> None:
        watch = self._watch
        if watch is not None:
            watch.wake()

    def _ends(self) -> bool:
        """Return whether this thread ends, and then let another subscriber start a new one."""
        with self._lock:
            if self._thread is not threading.current_thread():  # it was interrupted as it was started
                return True
            if self._subscribers and not self.closed:
                return False
            self._thread = None
            self._forget()
            return True

    def _forget(self) -> None:
        self._rows.clear()
        self._complete_after = None

    def _run(self) -> None:
        while not self._ends():
            try:
                watch = self._watch = self._store.watch(own_commits=True)
                try:
                    if self._follow(watch):
                        return
                finally:
                    with self._lock:
                        if self._watch is watch:  # a new thread may have begun already
                            self._watch = None
                    with suppress(Exception):
                        watch.close()
            except Exception as error:  # noqa: BLE001 - without the thread, subscribers would never get a row again
                if self._can_read():
                    with self._lock:
                        self._forget()  # subscribers read the store themselves until this thread can follow it
                if not isinstance(error, StoreError | HistoryError):  # the follower of the lists logs a lost store
                    self._complaint.say(error)
                self._tell()
                time.sleep(_RETRY)

    def _report_hold(self, error: StoreBusyError) -> None:
        self.held_back = True
        self._hold.say(error)
        if self._refused is not None:
            self._refused()

    def _look_at_hold(self, reader: ChangeReader, rows: list[Change]) -> None:
        """Report rows that are held back for too long, or that they are held back no more."""
        if rows or not reader.unsettled:
            self.held_back = False
            self._hold.withdraw()
            return
        try:
            reader.refuse_long_hold()
        except StoreBusyError as error:
            self._report_hold(error)

    def _can_read(self) -> bool:
        """Return whether the store can be read, although following it failed."""
        try:
            with self._store.read_autocommit() as transaction:
                transaction.log_end()
        except Exception:  # noqa: BLE001 - whatever it is, subscribers would fare no better
            return False
        return True

    def _follow(self, watch: Watch) -> bool:
        """Read new rows until the thread ends."""
        reader = ChangeReader(self._store)
        try:
            reader.begin_at_end()
        except StoreBusyError as error:
            if reader.unsettled:
                self._report_hold(error)
            raise
        with self._lock:
            self._forget()
            self._complete_after = reader.after
        self._tell()  # rows may have been committed since they subscribed
        while not self._ends():
            rows = reader.read()
            self._complaint.withdraw()
            self._look_at_hold(reader, rows)
            if rows:
                with self._lock:
                    self._rows.extend(rows)
                    while len(self._rows) > _RECENT:
                        self._complete_after = self._rows.popleft().sequence
                self._tell()
            elif self.held_back:
                watch.wait(_RETRY)  # its commit ends the wait
            else:
                watch.wait(_UNSETTLED if reader.unsettled else _POLL)
        return True
