"""`Replica` holds the lists of a store in memory, updates them, and knows their staleness.

The matcher that catches up with the store is in `published_store`, the thread that updates it is in `follower`, and the
file that processes share is in `snapshots`.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from cidrgate.errors import CidrgateError, StoreError
from cidrgate.event_log import log_event
from cidrgate.process.file_names import file_name
from cidrgate.process.forking import notice_forks
from cidrgate.replica.follower import Follower
from cidrgate.replica.published_store import PublishedStore
from cidrgate.replica.snapshots import SharedSnapshot, check_snapshot_path
from cidrgate.values import seconds

if TYPE_CHECKING:
    from collections.abc import Callable
    from os import PathLike

    from cidrgate._engine import Matcher
    from cidrgate.stores import Store
    from cidrgate.values import Address, Duration

__all__ = ["OnStale", "Replica"]

OnStale: TypeAlias = Literal["serve", "deny"]
"""What stale lists do: `serve` answers as before, `deny` denies the addresses of enforced accounts."""

_POLL = 5.0
"""Seconds between two reads of the log without a signal from the store."""


class Replica:
    """Answers from the lists of a store with a matcher that catches up with the store's change log.

    Threads can share a replica. Its owner closes the store, and calls `after_fork` in a forked child.

    Args:
        store: The store of the lists.
        max_staleness: The staleness in seconds after which `on_stale` applies; None for never.
        on_stale: What `allows` does then: `serve` uses the last known lists, and `deny` denies every address of an
            enforced account. With `deny`, a `Gate` then also denies unknown accounts: they may have been created in the
            meantime.

    Attributes:
        published: The store, and the matcher that equals it at a position of its log.
        follower: The thread that follows the store; None if there is none.

    Example:
        >>> from cidrgate.stores import open_store
        >>> replica = Replica(open_store("memory://"))
        >>> replica.load()
        >>> replica.allows("acct-1", "8.8.8.8"), replica.follows
        (True, False)
    """

    def __init__(self, store: Store, *, max_staleness: Duration | None = None, on_stale: OnStale = "serve") -> None:
        if on_stale not in ("serve", "deny"):
            raise ValueError(f"on_stale must be 'serve' or 'deny', not {on_stale!r}")
        longest = None if max_staleness is None else seconds(max_staleness, "max_staleness", above_zero=True)
        if on_stale == "deny" and longest is None:
            raise ValueError("on_stale='deny' needs max_staleness: set it to a number of seconds")
        self._store = store
        self.published = PublishedStore(store)
        self.published.stale_after = longest
        self.follower: Follower | None = None
        self._max_staleness = longest
        self._deny_after = longest if on_stale == "deny" else None

    def share_snapshot(self, path: Path, refresh: Duration | None) -> None:
        """Share a snapshot with other processes: use the snapshots that they write, and write when it is our turn.

        Args:
            path: The file.
            refresh: The time after which a new snapshot is written; None if this process never writes one.
        """
        self.published.shared = SharedSnapshot(
            path, None if refresh is None else seconds(refresh, "refresh_snapshot", above_zero=True)
        )

    def close(self) -> None:
        """Stop following. The matcher still answers with the lists it has."""
        try:
            if self.follower is not None:
                self.follower.stop()
                self.follower = None
        finally:
            if self.published.shared is not None:
                self.published.shared.close()

    def load(
        self, *, snapshot: str | PathLike[str] | None = None, progress: Callable[[int], object] | None = None
    ) -> None:
        """Fill the matcher from the store, with the lists of all accounts at one moment.

        Args:
            snapshot: A file from `compile` to start from. If it does not exist or cannot be used, the whole store is
                read.
            progress: Called while the whole store is read, with the number of accounts since the last call.

        Raises:
            SnapshotError: If the snapshot is a database, such as the store itself, or belongs to one.
            StoreError: If the store cannot be read.
            TypeError: If `snapshot` is neither a `str` nor a path-like object of one.
            OSError: If `snapshot` is an empty text, or has a null character.
        """
        path = None if snapshot is None else Path(file_name(snapshot, "snapshot"))
        if path is not None:
            check_snapshot_path(path)
        self.published.load(progress, path)

    def save_snapshot(self, path: str | PathLike[str]) -> None:
        """Write a snapshot from which `open` starts without reading the store.

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
        self.published.matcher  # noqa: B018 - an empty one would allow everything
        self.published.save_snapshot(Path(file_name(path, "path")))

    def follow(self) -> None:
        """Follow the store: start a thread that publishes other processes' changes and removes expired entries.

        Raises:
            CidrgateError: If the matcher was not loaded.
        """
        if not self.published.loaded:
            raise CidrgateError("the matcher is not loaded, so it cannot follow the store: call load() first")
        if self.follower is None:
            poll = _POLL if self._max_staleness is None else min(_POLL, self._max_staleness / 3)
            self.follower = Follower(self._store, self.published, poll=poll)

    @property
    def matcher(self) -> Matcher:
        """The matcher with the last known lists of all accounts; always the same object.

        Raises:
            CidrgateError: If the matcher was not loaded: an empty matcher would allow every address.
        """
        return self.published.matcher

    @property
    def staleness(self) -> float:
        """Seconds since the matcher was last known to equal the store; infinite before it was loaded."""
        notice_forks()
        return self.published.staleness

    @property
    def known_at(self) -> float:
        """When the matcher was last known to equal the store, in seconds of a clock; -inf if it never was.

        The clock is `CLOCK_BOOTTIME`, which also counts while the machine sleeps, or `time.monotonic` without it.
        """
        return self.published.known_at

    @property
    def on_known(self) -> Callable[[], object] | None:
        """A function that is called each time the matcher is known to equal the store, or None.

        The thread that compares the matcher with the store calls it.
        """
        return self.published.on_known

    @on_known.setter
    def on_known(self, call: Callable[[], object] | None) -> None:
        self.published.on_known = call

    @property
    def follows(self) -> bool:
        """Whether a thread of this process follows the store."""
        return self.follower is not None and self.follower.is_alive

    @property
    def snapshot_age(self) -> float | None:
        """Seconds since the shared snapshot was written; infinite if the file is missing, None without a snapshot."""
        shared = self.published.shared
        return None if shared is None else shared.age

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
        matcher = self.published.matcher
        if not self.stale:
            return matcher.allows(account, address)
        allowed = self.would_allow(account, address)
        matcher._note(account, address, allowed)
        return allowed

    def would_allow(self, account: str, address: Address) -> bool:
        """Return what `allows` does, for a question that is no request: it is not recorded as traffic.

        Args:
            account: The account.
            address: Text, packed bytes (4 or 16), or an `ipaddress` object.

        Raises:
            InvalidAddressError: If the address is not valid.
            CidrgateError: If the matcher was not loaded.
        """
        matcher = self.published.matcher
        return matcher._would_allow(account, address) and not (self.stale and matcher.enforced(account))

    @property
    def denies_when_stale(self) -> bool:
        """Whether stale lists deny the addresses of enforced accounts: `on_stale` is `deny`."""
        return self._deny_after is not None

    @property
    def stale(self) -> bool:
        """Whether the staleness is above `max_staleness` and `on_stale` is `deny`; with `serve` this is never true."""
        if self._deny_after is None or self.published.staleness <= self._deny_after:
            return False
        notice_forks()  # a worker that native code has forked has no follower yet
        return True

    def checker(self) -> Callable[[str, Address], bool]:
        """Return the fastest callable with the results of `allows`: `matcher.allows`, unless stale lists deny.

        Hold a reference to the replica while you use the callable: only the replica updates the matcher.

        Raises:
            CidrgateError: If the matcher was not loaded.
        """
        matcher = self.published.matcher
        return matcher.allows if self._deny_after is None else self.allows

    def after_fork(self, *, certain: bool) -> None:
        """Prepare the replica for a forked child, and start a new follower thread if the parent had one.

        Args:
            certain: Whether no thread was in the middle of an operation when the process was forked.
        """
        self.published.after_fork(certain=certain)
        follower, self.follower = self.follower, None
        if follower is not None:
            follower.leave_to_parent()
            try:
                self.follow()
            except StoreError as error:
                self.published.on_behind = None
                self.published.after_fork(certain=False)  # no follower updates the lists
                log_event(logging.ERROR, "follower_failed", f"a forked process does not follow the store: {error}")
