"""Group commit: changes that wait together share one transaction, one wait for the disk and one read of the log.

If the largest number of transactions is already in progress, a new change waits. When a transaction ends, the first
waiting thread makes the changes of all waiting threads in one transaction. No account is in two transactions at once,
so no change waits in the database for another change of this process.

No change waits longer than the lock timeout. A group contains no account that another process has locked: a change of
such an account leaves its group, and waits for the lock in a separate transaction while the other changes continue.
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
    ForkedError,
    OutcomeUnknownError,
    StoreBusyError,
    StoreError,
)
from cidrgate.manager.change_requests import change_lists
from cidrgate.process.forking import generation
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
"""The largest number of changes in one group: few enough that the first of them does not wait long for the last."""

_MOST_LOCK_WAITS = 3
"""The largest number of transactions that wait at once for accounts that other processes have locked."""

_SLICE = 2.0
"""Seconds that such a transaction waits at a time, before a change of another locked account gets a turn."""

_COMMIT_SECONDS = 1.5
"""How many seconds longer than the lock timeout a change waits while its group is being committed."""


class BeginChange(Protocol):
    """Begins a write transaction, which is committed and published at the end of the block."""

    def __call__(self, *, wait: float | None = None, patient: bool = True) -> AbstractContextManager[Transaction]:
        """Begin the transaction, as `Store.write` does."""


class _Member:
    """A change that waits for its turn, and its result.

    Args:
        change: A change of a list, or a function that is called with its own transaction.
        seconds: How many seconds the change may wait.
    """

    def __init__(self, change: ListRequest | Callable[[Transaction], Any], seconds: float) -> None:
        self.change = change
        self.account = None if callable(change) else change.account
        self.began = time.monotonic()
        self.deadline = self.began + seconds
        self.waited: float | None = None  # seconds that it waited before it was made
        self.awaits_lock = False  # whether it waits for an account that another process has locked
        self.group: list[_Member] = []  # changes that this change's thread has to commit
        self.group_awaits_lock = False  # whether that group waits for such an account
        self.done = False
        self.result: Any = None  # its result, or the error to raise
        self.woken = threading.Event()

    def left(self) -> float:
        """Return the seconds that the change may still wait; 0 or less after its deadline."""
        return self.deadline - time.monotonic()

    def end(self, result: object) -> None:
        """End the change with its result, or with an error to raise."""
        self.result, self.done = result, True


class CommitGroups:
    """Makes changes in write transactions, and combines the changes of several threads in one transaction.

    Args:
        change: Begins a write transaction.
        turns: How many transactions may be in progress at once, besides those that wait for locks of other processes.
        lock_timeout: How many seconds a change waits at most.
    """

    def __init__(self, change: BeginChange, turns: int, lock_timeout: float = LOCK_TIMEOUT) -> None:
        self._change = change
        self._turns = turns
        self._lock_timeout = lock_timeout
        self.waited: Callable[[float], object] | None = None
        """Called with the seconds that a change waited for locks and for its turn."""
        self.refused: Callable[[], object] | None = None
        """Called for a change that reached the lock timeout."""
        self.after_fork()

    def change_list(self, request: ListRequest) -> ListOutcome:
        """Make a change of a list, and return its outcome after the commit.

        Args:
            request: The change. It may be made a second time if the first transaction could not be committed.

        Raises:
            StoreBusyError: If its turn did not come in time, or another process has locked the account for too long.
            OutcomeUnknownError: If it is unknown whether the change was committed.
            StoreError: If the change could not be committed.
        """
        return cast("ListOutcome", self._made(_Member(request, time_left(self._lock_timeout))))

    def exclusive(self, make: Callable[[Transaction], _Made]) -> _Made:
        """Call a function with its own write transaction, and return its result after the commit."""
        return cast("_Made", self._made(_Member(make, time_left(self._lock_timeout))))

    def withdraw(self) -> None:
        """Refuse the changes that wait for their turn."""
        with self._lock:
            for member in self._waiting:
                member.end(ChangeWithdrawnError("the process stops; nothing was changed: try again when it runs"))
                member.woken.set()
            self._waiting.clear()

    def after_fork(self) -> None:
        """Forget the threads of the parent, which do not exist in a forked child."""
        self._lock = threading.Lock()
        self._waiting: deque[_Member] = deque()
        self._free = self._turns
        self._free_lock_waits = _MOST_LOCK_WAITS
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
        """End the wait of a change after its deadline, unless it is being made at this moment."""
        with self._lock:
            if member in self._waiting:
                self._waiting.remove(member)
                # An earlier attempt's error says who holds the lock.
                busy = isinstance(member.result, StoreBusyError)
                member.end(member.result if busy else _too_many())
                return
        if not member.done and not member.woken.wait(_COMMIT_SECONDS):
            with self._lock:
                if not (member.done or member.group or member in self._waiting):
                    member.end(
                        OutcomeUnknownError(
                            "the store did not answer in time while the change was made: the change may be stored or "
                            "not; check the list before you try again"
                        )
                    )

    def _leave(self, member: _Member) -> None:
        """Let other changes continue after an interruption has ended the thread of a change."""
        member.done = True
        if member in self._waiting:
            self._waiting.remove(member)
        if member.group:
            self._disband(member)

    def _disband(self, leader: _Member) -> None:
        """End a group: wake the changes that are done, and let the others wait again in their old place."""
        group, leader.group = leader.group, []
        if leader.group_awaits_lock:
            self._free_lock_waits += 1
        else:
            self._free += 1
        self._busy.difference_update([member.account for member in group])
        leader.woken.clear()
        left = [member for member in group if not member.done]
        if leader.group_awaits_lock:
            self._waiting.extend(left)  # after the other changes that wait for a lock
        else:
            self._waiting.extendleft(reversed(left))
        for member in group:
            if member.done:
                member.woken.set()
        self._begin_groups()

    def _begin_groups(self) -> None:
        while self._free_lock_waits and (group := self._next_awaiting_lock()):
            self._free_lock_waits -= 1
            self._begin(group)
        while self._free and (group := self._next_group()):
            self._free -= 1
            self._begin(group)

    def _begin(self, group: list[_Member]) -> None:
        self._busy.update(member.account for member in group)
        for member in group:
            self._waiting.remove(member)
        group[0].group, group[0].group_awaits_lock = group, group[0].awaits_lock
        group[0].woken.set()

    def _next_group(self) -> list[_Member]:
        """Return the waiting changes that can be committed together now, in their order."""
        group: list[_Member] = []
        taken = set(self._busy)
        for member in self._waiting:
            if len(group) == _MOST_MEMBERS or (group and member.account is None):
                break
            if member.account not in taken:
                taken.add(member.account)
                if not member.awaits_lock:
                    group.append(member)
                    if member.account is None:
                        break
        return group

    def _next_awaiting_lock(self) -> list[_Member]:
        """Return the first change that waits for another process's lock, and is the next change of its account."""
        taken = set(self._busy)
        for member in self._waiting:
            if member.account not in taken:
                taken.add(member.account)
                if member.awaits_lock:
                    return [member]
        return []

    def _commit(self, group: Sequence[_Member]) -> bool:
        """Make the changes of a group. Changes that are not done afterwards wait for another turn.

        Returns:
            Whether the transaction could begin.
        """
        began = False
        results: Sequence[object] = ()
        awaits_lock = group[0].awaits_lock
        wait = min(member.left() for member in group)
        patient = awaits_lock or callable(group[0].change)
        try:
            with self._change(wait=min(wait, _SLICE) if awaits_lock else wait, patient=patient) as transaction:
                began = True
                begun_at = time.monotonic()
                results = _make(transaction, group)
                for member in group:
                    member.waited = begun_at - member.began + transaction.waited
        except ForkedError as error:
            _end_all(group, (), error)  # the parent makes these changes, not the child
        except AccountsLockedError as error:
            locked = [member for member in group if member.account in error.accounts] or group
            for member in locked:
                member.awaits_lock, member.result = True, error
        except StoreBusyError as error:
            _wait_or_end(group, error)
        except (ChangeWithdrawnError, OutcomeUnknownError) as error:
            _end_all(group, results, error)
        except Exception as error:  # noqa: BLE001 - it is raised in the threads of the changes
            if results or len(group) == 1 or not began:
                # The commit failed, or no transaction could begin.
                _end_all(group, results, error)
            else:
                self._commit_each(deque(group), error)
        except BaseException:
            interrupted = (
                OutcomeUnknownError("the commit was interrupted: the change may be stored or not; check the list")
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
        """Commit each change separately after an error, so that only the change that causes the error gets it."""
        while group:
            member = group.popleft()
            if member.left() <= 0:
                member.end(error)
            elif not self._commit([member]) and member.done:
                _end_all(list(group), (), member.result)
                return


def _wait_or_end(group: Sequence[_Member], error: StoreBusyError) -> None:
    """Give the error to the changes of a locked group that are past their deadline; the others may try again."""
    for member in group:
        member.result = error
        if member.left() <= 0:
            member.end(error)


def _end_all(group: Sequence[_Member], results: Sequence[object], error: Exception) -> None:
    """End all changes of a group with an error. A change that was refused before keeps the error that refused it."""
    for member, made in zip(group, results or [None] * len(group), strict=True):
        member.end(made if isinstance(made, CidrgateError) else error)


def _too_many() -> StoreBusyError:
    return StoreBusyError("too many changes wait for the store; nothing was changed: try again later")


def _make(transaction: Transaction, group: Sequence[_Member]) -> Sequence[object]:
    if callable(group[0].change):
        return [group[0].change(transaction)]
    return change_lists(transaction, [cast("ListRequest", member.change) for member in group])
