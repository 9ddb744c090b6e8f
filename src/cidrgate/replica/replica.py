"""`Replica`: the lists of a store in memory, kept equal to it, and what they are worth when the store says nothing.

The matcher that catches up is in `published_store`, the thread that does so in `follower`, the file that processes
share in `snapshots`.
"""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cidrgate.errors import CidrgateError, StoreError
from cidrgate.event_log import log_event
from cidrgate.replica.follower import Follower
from cidrgate.replica.published_store import PublishedStore
from cidrgate.replica.snapshots import SharedSnapshot

if TYPE_CHECKING:
    from collections.abc import Callable

    from cidrgate._engine import Matcher
    from cidrgate.rules.decisions import Address
    from cidrgate.stores import Store

__all__ = ["OnStale", "Replica"]

OnStale = Literal["serve", "deny"]
"""What lists that are too old to be trusted do: answer as they are, or deny."""

_POLL = 5.0
"""Seconds between two looks at the log without a signal from the store."""


class Replica:
    """The lists of a store, served by a matcher that catches up with its change log.

    Safe to share between threads. Its owner closes the store, and tells it about forks.

    Args:
        store: Where lists are kept.
        max_staleness: Seconds without news from the store after which `on_stale` counts; None for never.
        on_stale: Whether `allows` then goes on with the last known lists (`serve`), or denies every address of an
            enforced account (`deny`). A `Gate` denies unknown accounts then too: they may have been created
            meanwhile.

    Attributes:
        published: The store and the matcher that equals it as of a position of its log.
        follower: The thread that follows the store; None where nothing does.

    Example:
        >>> from cidrgate.stores import open_store
        >>> replica = Replica(open_store("memory://"))
        >>> replica.load()
        >>> replica.allows("acct-1", "8.8.8.8"), replica.follows
        (True, False)
    """

    def __init__(self, store: Store, *, max_staleness: float | None = None, on_stale: OnStale = "serve") -> None:
        if on_stale not in ("serve", "deny"):
            raise ValueError(f"on_stale is 'serve' or 'deny', not {on_stale!r}")
        if max_staleness is not None and not 0 < max_staleness < math.inf:
            raise ValueError(f"max_staleness is a number of seconds above 0, or None for never, not {max_staleness}")
        if on_stale == "deny" and max_staleness is None:
            raise ValueError("on_stale='deny' says what happens after max_staleness: say how many seconds that is")
        self._store = store
        self.published = PublishedStore(store)
        self.published.stale_after = max_staleness
        self.follower: Follower | None = None
        self._max_staleness = max_staleness
        self._deny_after = max_staleness if on_stale == "deny" else None

    def share_snapshot(self, path: Path, refresh: float | None) -> None:
        """Share a snapshot with other processes: go on with what they write, and write it when it is this one's turn.

        Args:
            path: The file.
            refresh: Seconds after which it is written anew; None never to write it here.
        """
        self.published.shared = SharedSnapshot(path, refresh)

    def close(self) -> None:
        """Stop following. The matcher keeps answering with what it has."""
        if self.follower is not None:
            self.follower.stop()
            self.follower = None
        if self.published.shared is not None:
            self.published.shared.close()

    def load(self, *, snapshot: str | Path | None = None, progress: Callable[[int], object] | None = None) -> None:
        """Fill the matcher from the store, all accounts as of one moment.

        Args:
            snapshot: A file by `compile` to start from; where there is none that fits, the store is read whole.
            progress: Called while the store is read whole, with the number of accounts read since the last call.

        Raises:
            StoreError: If the store cannot be read.
        """
        self.published.load(progress, None if snapshot is None else Path(snapshot))

    def compile(self, path: str | Path) -> None:
        """Write a snapshot from which `open` starts without reading the store.

        Args:
            path: The file; it is replaced in one step.

        Raises:
            CidrgateError: If the matcher was not loaded.
            StoreError: If the store cannot be read.
            OSError: If the file cannot be written.
        """
        self.published.matcher  # noqa: B018 - an empty one would allow everything
        self.published.compile(Path(path))

    def follow(self) -> None:
        """Begin to follow the store: a thread publishes what others change, and takes entries out that end.

        Raises:
            CidrgateError: If the matcher was not loaded.
        """
        if not self.published.loaded:
            raise CidrgateError("there is nothing to follow with: call load() first")
        if self.follower is None:
            poll = _POLL if self._max_staleness is None else min(_POLL, self._max_staleness / 3)
            self.follower = Follower(self._store, self.published, poll=poll)

    @property
    def matcher(self) -> Matcher:
        """The matcher over all accounts, equal to the store as far as it is known; always the same object.

        Raises:
            CidrgateError: If it was not loaded: an empty matcher would allow everything.
        """
        return self.published.matcher

    @property
    def staleness(self) -> float:
        """Seconds since the matcher was last known to equal the store; infinite before it was loaded."""
        return self.published.staleness

    @property
    def known_at(self) -> float:
        """When the matcher was last known to equal the store, on the clock of `time.monotonic`; -inf for never."""
        return self.published.known_at

    @property
    def on_known(self) -> Callable[[], object] | None:
        """What is called when the matcher is known to equal the store, by the thread that looks; None for nothing."""
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
        """Seconds since the shared snapshot was written; infinite if it is not there, None without one."""
        shared = self.published.shared
        return None if shared is None else shared.age

    def allows(self, account: str, address: Address) -> bool:
        """Whether an address may act for an account: `matcher.allows`, unless the lists are too old to be trusted.

        Args:
            account: The account; one without entries, or unknown, allows every address.
            address: Text, packed bytes (4 or 16), or an `ipaddress` object.

        Raises:
            InvalidAddressError: If the address is none.
            CidrgateError: If the matcher was not loaded.
        """
        matcher = self.published.matcher
        allowed = matcher.allows(account, address)
        if self.stale and matcher.enforced(account):
            return False
        return allowed

    @property
    def denies_when_stale(self) -> bool:
        """Whether lists that are too old to be trusted deny."""
        return self._deny_after is not None

    @property
    def stale(self) -> bool:
        """Whether the lists are too old to be trusted; never where they are served whatever their age."""
        return self._deny_after is not None and self.published.staleness > self._deny_after

    def checker(self) -> Callable[[str, Address], bool]:
        """The cheapest callable that answers what `allows` does: the matcher's own where no staleness counts.

        Keep the replica as long as the callable: nobody else tells the matcher what changes.

        Raises:
            CidrgateError: If the matcher was not loaded.
        """
        matcher = self.published.matcher
        return matcher.allows if self._deny_after is None else self.allows

    def after_fork(self, *, certain: bool) -> None:
        """Go on in a forked child: the thread that follows did not come along.

        Args:
            certain: Whether nobody was in the middle of something when the process was forked.
        """
        self.published.after_fork(certain=certain)
        follower, self.follower = self.follower, None
        if follower is not None:
            follower.leave_to_parent()
            try:
                self.follow()
            except StoreError as error:
                self.published.on_behind = None
                self.published.after_fork(certain=False)  # nobody will tell how old the lists are
                log_event(logging.ERROR, "follower_failed", f"a forked process does not follow the store: {error}")
