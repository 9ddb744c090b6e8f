"""Changes that wait for each other are committed together: one wait for the disk, and one look at the log, for all.

A thread that brings a change while as many others are being committed as may be waits, and with all that wait then its
change is made in one transaction by the first of their threads. No account is in two transactions at once, so nobody
waits in the database for a change of this process.

No wait is longer than the lock timeout. A group takes no account that another process has locked: a change of such a
one is set aside, to wait for the lock in a transaction of its own while all others go on.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

from cidrgate.errors import (
    AccountsLockedError,
    ChangeWithdrawnError,
    CidrgateError,
    OutcomeUnknownError,
    StoreBusyError,
    StoreError,
)
from cidrgate.manager.change_requests import change_lists
from cidrgate.process.forking import ForkedError, generation
from cidrgate.stores.waits import LOCK_TIMEOUT, time_left

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from cidrgate.manager.change_requests import ListRequest
    from cidrgate.manager.outcomes import ListOutcome
    from cidrgate.stores import Transaction

__all__ = ["CommitGroups"]

_Made = TypeVar("_Made")

_MOST_MEMBERS = 32
"""How many changes one group holds: few enough that the first of them does not wait long for the last."""

_MOST_ASIDE = 3
"""How many transactions at once wait for an account that another process has locked."""

_SLICE = 2.0
"""Seconds that one of them waits until the next one, which may wait for another account, gets its turn."""

_COMMIT_SECONDS = 1.5
"""How much longer than the lock timeout a change waits for a group that it is a part of: that is being committed."""


class BeginChange(Protocol):
    """Begins a write transaction; committed and published at the end of the block."""

    def __call__(self, *, wait: float | None = None, patient: bool = True) -> AbstractContextManager[Transaction]:
        """As `Store.write`."""


class _Member:
    """A change that waits for its turn, and what became of it.

    Args:
        change: A change of a list, or what makes something else in a transaction of its own.
        seconds: How long it may wait.
    """

    def __init__(self, change: ListRequest | Callable[[Transaction], Any], seconds: float) -> None:
        self.change = change
        self.account = None if callable(change) else change.account
        self.began = time.monotonic()
        self.deadline = self.began + seconds
        self.waited: float | None = None  # how long it waited before it was made, in seconds
        self.aside = False  # whether it waits for an account that another process has locked
        self.group: list[_Member] = []  # to be committed by the thread that brought this one
        self.beside = False  # whether that group is one that waits for such an account
        self.done = False
        self.result: Any = None  # what it made, or the error to raise
        self.woken = threading.Event()

    def left(self) -> float:
        """Seconds that it may still wait; not more than 0 when its time is over."""
        return self.deadline - time.monotonic()

    def end(self, result: object) -> None:
        """Let it end with what it made, or with an error to raise."""
        self.result, self.done = result, True


class CommitGroups:
    """Makes changes in write transactions, those of several threads in one.

    Args:
        change: Begins a write transaction.
        turns: How many transactions may be under way at once, besides those that wait for locks of other processes.
        lock_timeout: Seconds that a change waits at most.
    """

    def __init__(self, change: BeginChange, turns: int, lock_timeout: float = LOCK_TIMEOUT) -> None:
        self._change = change
        self._turns = turns
        self._lock_timeout = lock_timeout
        self.waited: Callable[[float], object] | None = None
        """Called with the seconds that a change waited, for locks and for its turn."""
        self.refused: Callable[[], object] | None = None
        """Called for a change that waited in vain."""
        self.after_fork()

    def change_list(self, request: ListRequest) -> ListOutcome:
        """What a change of a list comes to, once it is committed.

        Args:
            request: The change; may be made a second time, when the first transaction could not be committed.

        Raises:
            StoreBusyError: If its turn did not come in time, or another process has locked the account for too long.
            OutcomeUnknownError: If nobody can tell whether it was committed.
            StoreError: If it could not be committed.
        """
        return cast("ListOutcome", self._made(_Member(request, time_left(self._lock_timeout))))

    def exclusive(self, make: Callable[[Transaction], _Made]) -> _Made:
        """What a function makes in a write transaction of its own, once that is committed."""
        return cast("_Made", self._made(_Member(make, time_left(self._lock_timeout))))

    def withdraw(self) -> None:
        """Refuse the changes that wait for their turn."""
        with self._lock:
            for member in self._waiting:
                member.end(ChangeWithdrawnError("the process stops; nothing was changed: try again when it runs"))
                member.woken.set()
            self._waiting.clear()

    def after_fork(self) -> None:
        """Forget the threads that did not come along."""
        self._lock = threading.Lock()
        self._waiting: deque[_Member] = deque()
        self._free = self._turns
        self._free_aside = _MOST_ASIDE
        self._busy: set[str | None] = set()

    def _made(self, member: _Member) -> Any:
        born = generation()
        with self._lock:
            self._waiting.append(member)
            self._begin_groups()
        try:
            while not member.done:
                if not member.woken.wait(max(0.0, member.left())):
                    self._give_up(member)
                elif member.group:
                    try:
                        self._commit(member.group)
                    finally:
                        if generation() == born:
                            with self._lock:
                                self._disband(member)
        finally:
            if generation() == born:  # else the others of its group are in the parent
                with self._lock:
                    self._leave(member)
        self._measure(member)
        if isinstance(member.result, BaseException):
            raise member.result
        return member.result

    def _measure(self, member: _Member) -> None:
        busy = isinstance(member.result, StoreBusyError)
        seconds = time.monotonic() - member.began if busy else member.waited
        if self.waited is not None and seconds is not None:
            self.waited(seconds)
        if self.refused is not None and busy:
            self.refused()

    def _give_up(self, member: _Member) -> None:
        """End the wait of a change whose time is over, unless it is being made at this moment."""
        with self._lock:
            if member in self._waiting:
                self._waiting.remove(member)
                # It says who holds the lock, where it was tried before.
                busy = isinstance(member.result, StoreBusyError)
                member.end(member.result if busy else _too_many())
                return
        if not member.done and not member.woken.wait(_COMMIT_SECONDS):
            with self._lock:
                if not (member.done or member.group or member in self._waiting):
                    member.end(
                        OutcomeUnknownError(
                            "the store did not answer in time while the change was made: it may be stored or not; look "
                            "at the list before you try again"
                        )
                    )

    def _leave(self, member: _Member) -> None:
        """Let others go on where an interruption ends the thread that brought a change."""
        member.done = True
        if member in self._waiting:
            self._waiting.remove(member)
        if member.group:
            self._disband(member)

    def _disband(self, leader: _Member) -> None:
        """End a group: wake those that are done, and let the others wait for another turn, in their old place."""
        group, leader.group = leader.group, []
        if leader.beside:
            self._free_aside += 1
        else:
            self._free += 1
        self._busy.difference_update([member.account for member in group])
        leader.woken.clear()
        left = [member for member in group if not member.done]
        if leader.beside:
            self._waiting.extend(left)  # after the others that wait for a lock
        else:
            self._waiting.extendleft(reversed(left))
        for member in group:
            if member.done:
                member.woken.set()
        self._begin_groups()

    def _begin_groups(self) -> None:
        while self._free_aside and (group := self._next_aside()):
            self._free_aside -= 1
            self._begin(group)
        while self._free and (group := self._next_group()):
            self._free -= 1
            self._begin(group)

    def _begin(self, group: list[_Member]) -> None:
        self._busy.update(member.account for member in group)
        for member in group:
            self._waiting.remove(member)
        group[0].group, group[0].beside = group, group[0].aside
        group[0].woken.set()

    def _next_group(self) -> list[_Member]:
        """Those that wait, in their order, as far as they can be committed together now."""
        group: list[_Member] = []
        taken = set(self._busy)
        for member in self._waiting:
            if len(group) == _MOST_MEMBERS or (group and member.account is None):
                break
            if member.account not in taken:
                taken.add(member.account)
                if not member.aside:
                    group.append(member)
                    if member.account is None:
                        break
        return group

    def _next_aside(self) -> list[_Member]:
        """The first one that waits for a lock of another process and comes next of its account."""
        taken = set(self._busy)
        for member in self._waiting:
            if member.account not in taken:
                taken.add(member.account)
                if member.aside:
                    return [member]
        return []

    def _commit(self, group: Sequence[_Member]) -> bool:
        """Make the changes of a group; those that are not done afterwards wait for another turn.

        Returns:
            Whether the transaction could begin.
        """
        began = False
        results: Sequence[object] = ()
        aside = group[0].aside
        wait = min(member.left() for member in group)
        patient = aside or callable(group[0].change)
        try:
            with self._change(wait=min(wait, _SLICE) if aside else wait, patient=patient) as transaction:
                began = True
                begun_at = time.monotonic()
                results = _make(transaction, group)
                for member in group:
                    member.waited = begun_at - member.began + transaction.waited
        except ForkedError as error:
            _end_all(group, (), error)  # a child makes no changes that its parent makes
        except AccountsLockedError as error:
            locked = [member for member in group if member.account in error.accounts] or group
            for member in locked:
                member.aside, member.result = True, error
        except StoreBusyError as error:
            _wait_or_end(group, error)
        except (ChangeWithdrawnError, OutcomeUnknownError) as error:
            _end_all(group, results, error)
        except Exception as error:  # noqa: BLE001 - it is raised in the threads that brought the changes
            if results or len(group) == 1 or not began:
                # It was the commit that failed, or there was no transaction for anybody.
                _end_all(group, results, error)
            else:
                self._commit_each(deque(group), error)
        except BaseException:
            interrupted = (
                OutcomeUnknownError("the commit was interrupted: the change may be stored or not; look at the list")
                if results
                else StoreError("the change was interrupted; nothing was changed: try again")
            )
            _end_all(group, (), interrupted)
            raise
        else:
            for member, result in zip(group, results, strict=True):
                member.end(result)
        return began

    def _commit_each(self, group: deque[_Member], error: Exception) -> None:
        """After an error of the database, or a fault in one of them: each shall have its own, and only its own."""
        while group:
            member = group.popleft()
            if member.left() <= 0:
                member.end(error)
            elif not self._commit([member]) and member.done:
                _end_all(list(group), (), member.result)
                return


def _wait_or_end(group: Sequence[_Member], error: StoreBusyError) -> None:
    """Of those that met a lock the ones whose time is over get the error; the others may try again."""
    for member in group:
        member.result = error
        if member.left() <= 0:
            member.end(error)


def _end_all(group: Sequence[_Member], results: Sequence[object], error: Exception) -> None:
    """Give everybody in a group an error; whoever was refused before shall know why."""
    for member, made in zip(group, results or [None] * len(group), strict=True):
        member.end(made if isinstance(made, CidrgateError) else error)


def _too_many() -> StoreBusyError:
    return StoreBusyError("too many changes wait for the store; nothing was changed: try again later")


def _make(transaction: Transaction, group: Sequence[_Member]) -> Sequence[object]:
    if callable(group[0].change):
        return [group[0].change(transaction)]
    return change_lists(transaction, [cast("ListRequest", member.change) for member in group])
