"""The serving half of a `RuleManager`: a matcher that is loaded from a store or a snapshot, and follows the store.

`cidrgate.manager.queries` reads the store itself, `cidrgate.manager.rule_manager` changes it.
"""

from __future__ import annotations

import logging
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

from cidrgate.errors import CidrgateError, StoreError
from cidrgate.event_log import log_event
from cidrgate.manager.queries import AccountLists
from cidrgate.replica.follower import Follower
from cidrgate.replica.published_store import PublishedStore
from cidrgate.replica.snapshots import SharedSnapshot
from cidrgate.rules import Policy
from cidrgate.stores import open_store

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from cidrgate._engine import Matcher
    from cidrgate.rules.decisions import Address
    from cidrgate.stores import Store

__all__ = ["ServedLists"]

_POLL = 5.0
"""Seconds between two looks at the log without a signal from the store."""


class ServedLists(AccountLists):
    """A store whose lists are served by a matcher.

    Args:
        store: Where lists are kept; closed with the manager.
        policy: What a list may hold.
        max_staleness: Seconds without news from the store after which `on_stale` counts; None for never.
        on_stale: Whether `allows` then goes on with the last known lists (`serve`), or denies every address of an
            enforced account (`deny`). A `Gate` denies unknown accounts then too: they may have been created
            meanwhile.
    """

    def __init__(
        self,
        store: Store,
        policy: Policy | None = None,
        *,
        max_staleness: float | None = None,
        on_stale: Literal["serve", "deny"] = "serve",
    ) -> None:
        if on_stale not in ("serve", "deny"):
            raise ValueError(f"on_stale is 'serve' or 'deny', not {on_stale!r}")
        if max_staleness is not None and not 0 < max_staleness < math.inf:
            raise ValueError(f"max_staleness is a number of seconds above 0, or None for never, not {max_staleness}")
        if on_stale == "deny" and max_staleness is None:
            raise ValueError("on_stale='deny' says what happens after max_staleness: say how many seconds that is")
        self.policy = Policy() if policy is None else policy
        super().__init__(store)
        self._published = PublishedStore(store)
        self._published.stale_after = max_staleness
        self._follower: Follower | None = None
        self._max_staleness = max_staleness
        self._deny_after = max_staleness if on_stale == "deny" else None

    @classmethod
    def open(
        cls,
        url: str | os.PathLike[str],
        policy: Policy | None = None,
        *,
        create: bool = False,
        follow: bool = True,
        max_staleness: float | None = None,
        on_stale: Literal["serve", "deny"] = "serve",
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
                manager._published.shared = SharedSnapshot(Path(snapshot), refresh_snapshot)
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

    def close(self) -> None:
        """Stop following and close the store. The matcher keeps answering with what it has."""
        if self._follower is not None:
            self._follower.stop()
            self._follower = None
        if self._published.shared is not None:
            self._published.shared.close()
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def load(self, *, snapshot: str | Path | None = None, progress: Callable[[int], object] | None = None) -> None:
        """Fill the matcher from the store, all accounts as of one moment.

        Args:
            snapshot: A file by `compile` to start from; where there is none that fits, the store is read whole.
            progress: Called while the store is read whole, with the number of accounts read since the last call.

        Raises:
            StoreError: If the store cannot be read.
        """
        self._published.load(progress, None if snapshot is None else Path(snapshot))

    def compile(self, path: str | Path) -> None:
        """Write a snapshot from which `open` starts without reading the store.

        Args:
            path: The file; it is replaced in one step.

        Raises:
            CidrgateError: If the matcher was not loaded.
            StoreError: If the store cannot be read.
            OSError: If the file cannot be written.
        """
        self._published.matcher  # noqa: B018 - an empty one would allow everything
        self._published.compile(Path(path))

    def follow(self) -> None:
        """Begin to follow the store: a thread publishes what others change, and takes entries out that end.

        Raises:
            CidrgateError: If the matcher was not loaded.
        """
        if not self._published.loaded:
            raise CidrgateError("there is nothing to follow with: call load() first")
        if self._follower is None:
            poll = _POLL if self._max_staleness is None else min(_POLL, self._max_staleness / 3)
            self._follower = Follower(self._store, self._published, poll=poll)

    @property
    def matcher(self) -> Matcher:
        """The matcher over all accounts, equal to the store as far as it is known; always the same object.

        Raises:
            CidrgateError: If it was not loaded: an empty matcher would allow everything.
        """
        return self._published.matcher

    @property
    def staleness(self) -> float:
        """Seconds since the matcher was last known to equal the store; infinite before it was loaded."""
        return self._published.staleness

    @property
    def known_at(self) -> float:
        """When the matcher was last known to equal the store, on the clock of `time.monotonic`; -inf for never."""
        return self._published.known_at

    @property
    def on_known(self) -> Callable[[], object] | None:
        """What is called when the matcher is known to equal the store, by the thread that looks; None for nothing."""
        return self._published.on_known

    @on_known.setter
    def on_known(self, call: Callable[[], object] | None) -> None:
        self._published.on_known = call

    @property
    def follows(self) -> bool:
        """Whether a thread of this process follows the store."""
        return self._follower is not None and self._follower.is_alive

    @property
    def snapshot_age(self) -> float | None:
        """Seconds since the shared snapshot was written; infinite if it is not there, None without one."""
        shared = self._published.shared
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
        matcher = self._published.matcher
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
        return self._deny_after is not None and self._published.staleness > self._deny_after

    def checker(self) -> Callable[[str, Address], bool]:
        """The cheapest callable that answers what `allows` does: the matcher's own where no staleness counts.

        Keep the manager as long as the callable: nobody else tells the matcher what changes.

        Raises:
            CidrgateError: If the matcher was not loaded.
        """
        matcher = self._published.matcher
        return matcher.allows if self._deny_after is None else self.allows

    def before_fork(self) -> None:
        """Nothing: what a child must not inherit is the store's."""

    def after_fork(self, *, certain: bool) -> None:
        """Go on in a forked child: the thread that follows did not come along.

        Args:
            certain: Whether nobody was in the middle of something when the process was forked.
        """
        self._published.after_fork(certain=certain)
        follower, self._follower = self._follower, None
        if follower is not None:
            follower.leave_to_parent()
            try:
                self.follow()
            except StoreError as error:
                self._published.on_behind = None
                self._published.after_fork(certain=False)  # nobody will tell how old the lists are
                log_event(logging.ERROR, "follower_failed", f"a forked process does not follow the store: {error}")
