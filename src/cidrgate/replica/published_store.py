"""A matcher that follows a store: it equals what the store held at one position of its log, and moves on from there.

Whoever changes the store, this process or another, the change comes to the matcher the same way: the accounts changed
since the position are read again, all in one transaction, and published. So a change is never half seen, applying one
twice is harmless, and none is missed, whatever went wrong between a commit and its publication. The thread that does
so by itself is in `cidrgate.replica.follower`.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from contextlib import contextmanager, nullcontext, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cidrgate._engine import Matcher
from cidrgate.errors import CidrgateError, SnapshotError, StoreError, StoreOutgrownError
from cidrgate.event_log import log_event
from cidrgate.process.forking import work
from cidrgate.replica.expiry import ExpirySchedule
from cidrgate.replica.snapshots import read_snapshot, write_snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from cidrgate.replica.snapshots import SharedSnapshot
    from cidrgate.stores import Store, StoredList, Transaction

__all__ = ["PublishedStore"]

_MOST_NAMES = 20_000
"""With more changed accounts than this, all lists are read in one scan instead of these by name."""

_PROGRESS = 20_000
"""Accounts between two reports of progress."""

_RETRY = 1.0
"""Seconds without another attempt after the store could not be read to catch up."""


_WORTH_SAYING = 1.0
"""Seconds by which the clock goes back before it is logged: smaller steps are how clocks are kept in time."""


_NOTHING_CHANGED = "; nothing was changed"
"""What errors of a store say that are no longer true once a change was committed."""


class PublishedStore:
    """A store, and a matcher that equals it as of a position in its log.

    Safe to share between threads.

    Args:
        store: Where lists are kept.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._matcher = Matcher()
        self._position: str | None = None
        self.known_at = -math.inf
        """When the matcher was last known to equal the store, on the clock of `time.monotonic`; -inf for never."""
        self.on_known: Callable[[], object] | None = None
        """Called when that is known anew."""
        self._timetable = ExpirySchedule()
        # Held from the reading of lists to their publication, so that what is published last was read last.
        self._reading = threading.RLock()
        # Held while the matcher and the timetable change; not while the store is waited for.
        self._publishing = threading.RLock()
        # The latest time as of which lists were published, and accounts whose entries have ended by that time, but not
        # by the clock, which went back: they are to be read again.
        self._as_of = datetime.min.replace(tzinfo=UTC)
        self._revived: set[str] = set()
        # Whether something may be committed that this process did not publish.
        self._behind = False
        self._next_attempt = 0.0
        # Why this process cannot tell any more what the lists of the store match.
        self._outgrown: StoreOutgrownError | None = None
        # Looks at the store, by number: the last that began, and the last that ended well.
        self._begun = self._ended = 0
        self.on_next_expiry_changed: Callable[[], object] = lambda: None
        """Called when another entry than before is the next one to end by itself."""
        self.on_behind: Callable[[], object] | None = None
        """Called when a question finds the matcher behind the store, where another thread catches up: a question must
        not wait for a store that does not answer."""
        self.stale_after: float | None = None
        """Seconds without news from the store after which the lists are stale, and the log says so; None for never."""
        self.shared: SharedSnapshot | None = None
        """A snapshot to share with other processes."""
        self.housekeeping: dict[str, Callable[[], object]] = {}
        """What is called now and then, each for itself, by its name."""

    # ------------------------------------------------------------------------------------------------- reading

    @property
    def loaded(self) -> bool:
        """Whether the matcher was filled."""
        return self._position is not None

    @property
    def matcher(self) -> Matcher:
        """The matcher, equal to the store as far as it is known.

        Raises:
            CidrgateError: If it was not loaded.
        """
        if self._position is None:
            raise CidrgateError("the matcher is not loaded, and an empty one would allow everything: call load()")
        if self._behind and time.monotonic() >= self._next_attempt:
            if self.on_behind is not None:
                self._next_attempt = time.monotonic() + _RETRY
                self.on_behind()
            else:
                with suppress(StoreError):  # then the last known lists are served
                    self.catch_up()
        return self._matcher

    @property
    def staleness(self) -> float:
        """Seconds since the matcher was last known to equal the store; infinite before it was loaded."""
        return time.monotonic() - self.known_at

    @property
    def incomplete(self) -> bool:
        """Whether entries are missing that count again: `catch_up` brings them back."""
        return bool(self._revived)

    def load(self, progress: Callable[[int], object] | None = None, snapshot: Path | None = None) -> None:
        """Fill the matcher from the store, all accounts as of one moment.

        Args:
            progress: Called now and then with the number of accounts read since the last call.
            snapshot: A file to start from, if it is there and sound, and the log still tells what changed since.

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
                        f"the snapshot is left aside, the store is read instead: {error}",
                        path=str(snapshot),
                    )
                else:
                    return
            self._read(self._matcher if self._position is None else Matcher(), ExpirySchedule(), "", progress)

    def catch_up(self, *, check_first: bool = True) -> None:
        """Publish what was committed since the position of the matcher, by whomever.

        Where several threads wait to look, the first one looks for all of them.

        Args:
            check_first: Whether to ask first if there is anything; not worth it for who knows that there is.

        Raises:
            StoreError: If the store cannot be read; the matcher stays as it is.
        """
        last = self._begun
        with work(), self._reading:
            if self._ended > last:  # that look began since, so it saw what this one is for
                return
            self._begun = number = self._begun + 1
            next_end = self._timetable.next()
            try:
                if not (check_first and self._unchanged()):
                    self._read(self._matcher, self._timetable, self._position or "", None)
            except StoreError as error:
                self._next_attempt = time.monotonic() + _RETRY
                if isinstance(error, StoreOutgrownError):
                    # What the store means may be something else by now: its lists of before count as of no age.
                    self._outgrown = error
                    self._fell_behind()
                raise
            self._ended = number
            self._behind = False
            self._outgrown = None
            if self._timetable.next() != next_end:
                self.on_next_expiry_changed()

    def _know(self, at: float) -> None:
        """Note when the matcher was known to equal the store."""
        self.known_at = at
        if self.on_known is not None:
            self.on_known()

    def _fell_behind(self) -> None:
        """Note that the matcher does not equal the store, or that nobody can tell, until it is read again."""
        self._behind = True
        self._know(-math.inf)

    def _unchanged(self) -> bool:
        """Whether nothing was committed since the position; asked in one message, as most questions find nothing."""
        if self._position is None or self._revived:
            return False
        began = time.monotonic()
        with self._store.read_autocommit() as transaction:
            if transaction.changed_since(self._position, _MOST_NAMES) != set():
                return False
            self._position = transaction.position()
        self._know(began)
        return True

    def _read(
        self, matcher: Matcher, timetable: ExpirySchedule, position: str, progress: Callable[[int], object] | None
    ) -> None:
        """Bring a matcher from a position to that of the store now, and make it the published one."""
        began = time.monotonic()
        with self._store.read() as transaction:
            names = transaction.changed_since(position, _MOST_NAMES) if position else None
            now = transaction.position()
            revived = set(self._revived)
            if names is not None and timetable is self._timetable:
                names |= revived
            elif names is not None:
                names |= _missing(matcher, timetable, datetime.now(UTC))
            lists: Iterable[StoredList] = ()
            if names:
                lists = transaction.lists_named(names)
            elif names is None:
                lists = transaction.lists()
                if position:
                    # More has changed than is worth being told apart, or nobody can tell what.
                    matcher, timetable = Matcher(), ExpirySchedule()
            with self._publishing if matcher is self._matcher else nullcontext():
                at = datetime.now(UTC)
                for number, one in enumerate(lists, 1):
                    _publish(matcher, timetable, one, at)
                    if progress is not None and number % _PROGRESS == 0:
                        progress(_PROGRESS)
                _end(matcher, timetable, at)  # what has ended since a snapshot was written
        with self._publishing:
            self._as_of = max(self._as_of, at)
            self._revived -= revived
            if matcher is not self._matcher:
                self._matcher.adopt(matcher)
            self._timetable = timetable
            self._position = now
        self._know(began)

    # ----------------------------------------------------------------------------------------------- snapshots

    def compile(self, path: Path) -> None:
        """Write a snapshot of the matcher as it is once it has caught up.

        Raises:
            StoreError: If the store cannot be read.
            OSError: If the file cannot be written.
        """
        with work(), self._reading:
            self.catch_up()
            self.expire()
            write_snapshot(path, self._matcher, self._timetable, self._position or "")

    def write_shared_snapshot(self) -> None:
        """Write the shared snapshot anew when it is this process's turn.

        Raises:
            StoreError: If the store cannot be read.
            SnapshotError: If the file or its lock cannot be written.
        """
        shared = self.shared
        if shared is None:
            return
        with work(), self._reading:
            if not shared.should_write(self._position or ""):
                return
            try:
                self.compile(shared.path)
            except OSError as error:
                raise SnapshotError(f"the snapshot {shared.path} cannot be written: {error}") from error
            shared.written(self._position or "")
            log_event(
                logging.INFO,
                "snapshot_written",
                "the shared snapshot is written anew",
                path=str(shared.path),
                accounts=len(self._matcher),
            )

    def take_over_shared_snapshot(self) -> None:
        """Go on with what another process has written to the shared snapshot, if it has.

        Raises:
            StoreError: If the store cannot be read.
            SnapshotError: If the file is damaged, or none of ours.
            OSError: If it cannot be read.
        """
        shared = self.shared
        if shared is None:
            return
        with work(), self._reading:
            state = shared.news()
            if state is not None:
                self._take_over(shared.path, None)
                shared.taken_over(state)
                log_event(
                    logging.INFO,
                    "snapshot_shared",
                    "the pages of the shared snapshot, as another process has written it, are used from now on",
                    path=str(shared.path),
                )

    def _take_over(self, path: Path, progress: Callable[[int], object] | None) -> None:
        """Go on with the matcher of a snapshot, once it has caught up."""
        matcher, timetable, position = read_snapshot(path)
        self._read(matcher, timetable, position, progress)

    # ------------------------------------------------------------------------------------------------- writing

    @contextmanager
    def change(self, *, wait: float | None = None, patient: bool = True) -> Iterator[Transaction]:
        """A write transaction; at the end of the block it is committed, then published.

        An exception in the block changes nothing. Before `load` nothing is published.

        Args:
            wait: As for `Store.write`.
            patient: As for `Store.write`.

        Raises:
            StoreOutgrownError: If a newer cidrgate was found to have migrated the store.
            StoreError: If it cannot begin or be committed.
        """
        if self._outgrown is not None:
            raise StoreOutgrownError(str(self._outgrown))
        ended = False
        try:
            with self._store.write(wait=wait, patient=patient) as transaction:
                yield transaction
                ended = True
        except BaseException:
            # A commit that failed may have been one for all that; whether it was, the log will tell.
            self._behind = self._behind or ended
            raise
        if not self.loaded:
            return
        try:
            self.catch_up(check_first=False)
        except StoreError as error:
            # What was asked for is stored; to say otherwise would be wrong. The matcher is known to be old.
            self._fell_behind()
            reason = str(error).partition(_NOTHING_CHANGED)[0]
            log_event(
                logging.WARNING,
                "publication_delayed",
                f"a change is stored, but could not be read again to be published: {reason}",
            )
        except BaseException:
            self._fell_behind()
            with suppress(CidrgateError):
                self.catch_up()
            raise

    def after_fork(self, *, certain: bool) -> None:
        """Make the matcher usable in a forked child, where no other thread goes on.

        Args:
            certain: Whether nobody was in the middle of something. Otherwise the matcher may hold half of what a look
                at the store found, and is not known to equal it before the next look.
        """
        self._reading = threading.RLock()
        self._publishing = threading.RLock()
        if not certain:
            self._fell_behind()
        if self.shared is not None:
            self.shared.close()  # the parent's turn to write is not the child's

    # -------------------------------------------------------------------------------------------------- expiry

    def expire(self) -> float | None:
        """Take out of the matcher what has ended by itself since the last call.

        Returns:
            Seconds until the next entry ends; None when none is known to.
        """
        back = 0.0
        with work(), self._publishing:
            at = datetime.now(UTC)
            if at < self._as_of:  # the clock went back
                back = (self._as_of - at).total_seconds()
                self._revived.update(self._timetable.ended_between(at, self._as_of))
            self._as_of = at
            _end(self._matcher, self._timetable, at)
            end = self._timetable.next()
        if back >= _WORTH_SAYING:
            log_event(
                logging.WARNING,
                "clock_went_back",
                f"the clock of this machine went back by {back:.1f} seconds: entries that had ended count again",
                seconds=round(back, 3),
            )
        return None if end is None else (end - at).total_seconds()


def _end(matcher: Matcher, timetable: ExpirySchedule, at: datetime) -> None:
    """Take out what has ended by itself at a time."""
    for account in timetable.due(at):
        matcher.publish(
            account, timetable.active(account, matcher.prefixes(account), at), enforced=matcher.enforced(account)
        )


def _missing(matcher: Matcher, timetable: ExpirySchedule, at: datetime) -> set[str]:
    """Accounts of a snapshot whose entries had ended by the clock of its writer, and have not by this one."""
    return {
        account
        for account, ends in timetable.ends().items()
        if not {cidr for cidr, end in ends.items() if end > at}.issubset(matcher.prefixes(account))
    }


def _publish(matcher: Matcher, timetable: ExpirySchedule, stored: StoredList, at: datetime) -> None:
    """Publish a list as it is at a time, an empty one too, so that the matcher knows every account of the store.

    Whether it is enforced says the store: that none of its entries matches never opens an account.
    """
    timetable.put(stored.account, stored.expiring)
    if stored.parent is not None:
        matcher.link(stored.account, stored.parent)
    else:
        matching = timetable.active(stored.account, stored.cidrs, at) if stored.expiring else stored.cidrs
        matcher.publish(stored.account, matching, enforced=stored.enforced)
