"""Group commit: changes that wait together share one transaction, one wait for the disk and one read of the log.

If the largest number of transactions is already in progress, a new change waits. When a transaction ends, the first
waiting thread makes the changes of all waiting threads in one transaction. No account is in two transactions at once,
so no change waits in the database for another change of this process.

No change waits longer than the lock timeout. A group contains no account that another process has locked: a change of
such an account leaves its group, and waits for the lock in a separate transaction while the other changes continue.

A signal handler may raise an exception in the main thread at any call, also while the lock is held. Therefore a group
begins and ends with one operation on a dict. All other state follows from this dict, or is changed in steps that the
next call repeats.
"""

from __future__ import annotations

import threading
import time
import weakref
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
from cidrgate.process.wakeups import WakeUp
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


_LOOK = 1.0
"""Seconds between two looks of a waiting change, in case that an interruption ended the thread that was to wake it."""


class BeginChange(Protocol):
    """Begins a write transaction, which is committed and published at the end of the block."""

    def __call__(self, *, wait: float | None = None, patient: bool = True) -> AbstractContextManager[Transaction]:
        """Begin the transaction, as `Store.write` does."""


class _Caller:
    """Exists as long as a thread waits for its change."""

    __slots__ = ("__weakref__",)


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
        self.done = False
        self.result: Any = None  # its result, or the error to raise
        # Errors that may have come from signal handlers, while the changes of a group are made one by one; else None.
        self.doubted: list[Exception] | None = None
        self.woken = WakeUp()
        self.caller: weakref.ref[_Caller]

    def left(self) -> float:
        """Return the seconds that the change may still wait; 0 or less after its deadline."""
        return self.deadline - time.monotonic()

    def end(self, result: object) -> None:
        """End the change with its result, or with an error to raise."""
        self.result, self.done = result, True

    def is_abandoned(self) -> bool:
        """Return whether its thread was interrupted, and then interrupted again before it could leave."""
        return self.caller() is None


class _Group:
    """Changes that the thread of the first of them commits.

    Args:
        members: The changes.
    """

    def __init__(self, members: list[_Member]) -> None:
        self.members = members
        self.awaits_lock = members[0].awaits_lock
        self.announced = False  # whether its members have left the line, and the first one was woken


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
        return cast("ListOutcome", self._made(request))

    def exclusive(self, make: Callable[[Transaction], _Made]) -> _Made:
        """Call a function with its own write transaction, and return its result after the commit."""
        return cast("_Made", self._made(make))

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
        self._waiting: dict[_Member, None] = {}  # in their order
        self._running: dict[_Member, _Group] = {}  # by their first change

    def _made(self, change: ListRequest | Callable[[Transaction], Any]) -> Any:
        born, caller = generation(), _Caller()
        member = _Member(change, time_left(self._lock_timeout))
        member.caller = weakref.ref(caller)
        try:
            with self._lock:
                self._waiting[member] = None
                self._begin_groups()
            while not member.done:
                member.woken.wait(max(0.0, min(member.left(), _LOOK)))
                group = self._running.get(member)
                if group is not None:
                    try:
                        self._commit(group.members)
                    finally:
                        if generation() == born:  # else the others of its group are in the parent
                            with self._lock:
                                self._disband(member)
                elif member.left() <= 0:
                    self._give_up(member)
        except BaseException:
            try:
                if generation() == born:
                    with self._lock:
                        self._leave(member)
            finally:
                del caller  # the traceback keeps this frame alive, and the change must look abandoned
            raise
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
                del self._waiting[member]
                # An earlier attempt's error says who holds the lock.
                busy = isinstance(member.result, StoreBusyError)
                member.end(member.result if busy else _too_many())
                return
        if not member.done and not member.woken.wait(_COMMIT_SECONDS):
            with self._lock:
                if not (member.done or member in self._running or member in self._waiting):
                    where = "change log" if callable(member.change) else "list"
                    member.end(_unknown("the store did not answer in time while the change was made", where))

    def _leave(self, member: _Member) -> None:
        """Let other changes continue after an interruption has ended the thread of a change."""
        member.done = True
        self._waiting.pop(member, None)
        self._disband(member)

    def _disband(self, leader: _Member) -> None:
        """End a group: wake the changes that are done, and let the others wait again in their old place."""
        group = self._running.get(leader)
        if group is not None:
            left = dict.fromkeys(member for member in group.members if not member.done)
            # Changes that wait for a lock come after the others.
            self._waiting = self._waiting | left if group.awaits_lock else left | self._waiting
            leader.woken.clear()
            for member in group.members:
                if member.done:
                    member.woken.set()
            del self._running[leader]  # last: until then, all of this can be repeated
        self._begin_groups()

    def _begin_groups(self) -> None:
        self._drop_abandoned()
        for group in self._running.values():
            if not group.announced:
                self._announce(group)
        while self._count(awaits_lock=True) < _MOST_LOCK_WAITS and (members := self._next_awaiting_lock()):
            self._begin(members)
        while self._count(awaits_lock=False) < self._turns and (members := self._next_group()):
            self._begin(members)

    def _begin(self, members: list[_Member]) -> None:
        self._running[members[0]] = group = _Group(members)
        self._announce(group)

    def _announce(self, group: _Group) -> None:
        for member in group.members:
            self._waiting.pop(member, None)
        group.members[0].woken.set()
        group.announced = True

    def _drop_abandoned(self) -> None:
        # A change that is done still waits here if `withdraw` was interrupted.
        for member in [member for member in self._waiting if member.done or member.is_abandoned()]:
            member.woken.set()
            self._waiting.pop(member, None)
        for leader in [leader for leader in self._running if leader.is_abandoned()]:
            _end_all(self._running[leader].members, (), _interrupted(made=True))
            for member in self._running[leader].members:
                member.woken.set()
            del self._running[leader]

    def _count(self, *, awaits_lock: bool) -> int:
        """Return how many groups run that wait for a lock of another process, or do not."""
        return sum(group.awaits_lock == awaits_lock for group in self._running.values())

    def _busy(self) -> set[str | None]:
        """Return the accounts of the groups that run. A change of such an account has to wait."""
        return {member.account for group in self._running.values() for member in group.members}

    def _next_group(self) -> list[_Member]:
        """Return the waiting changes that can be committed together now, in their order."""
        group: list[_Member] = []
        taken = self._busy()
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
        taken = self._busy()
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

        Raises:
            Exception: An error of a signal handler of this thread.
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
            for member, result in zip(group, results, strict=True):
                member.end(result)
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
        except Exception as error:
            if began and not results and len(group) > 1:
                self._commit_each(group, error)
            elif _is_doubtful(group, error):
                cast("list[Exception]", group[0].doubted).append(error)
                if results:
                    _end_all(group, (), _interrupted(made=True))
            elif isinstance(error, CidrgateError):
                # The commit failed, or no transaction could begin.
                _end_all(group, results, error)
            else:  # a signal handler of this thread raised it, or the change that is alone
                _end_all(group[:1], results[:1], error)
                _end_all(group, (), _interrupted(made=bool(results)))
                if group[0].result is not error:
                    raise  # the change was done already
        except BaseException:
            _end_all(group, (), _interrupted(made=bool(results)))
            raise
        return began

    def _commit_each(self, group: Sequence[_Member], error: Exception) -> None:
        """Commit each change separately after an error, so that only the change that causes the error gets it.

        Raises:
            Exception: An error that no change has caused, because it did not occur again: a signal handler of this
                thread has raised it.
        """
        # Signal handlers are called in the main thread only.
        doubted = [error] if threading.get_ident() == threading.main_thread().ident else None
        waiting = deque(group)
        while waiting:
            member = waiting.popleft()
            if member.left() <= 0:
                member.end(error if doubted is None or isinstance(error, CidrgateError) else _interrupted(made=False))
                continue
            member.doubted = doubted
            known = len(doubted or ())
            began = self._commit([member])
            if not member.done and len(doubted or ()) > known:
                began = self._commit([member])
            member.doubted = None
            if not began and member.done:
                _end_all(list(waiting), (), member.result)
                break
        caused = {type(member.result) for member in group}
        for one in doubted or ():
            if not isinstance(one, CidrgateError) and type(one) not in caused:
                raise one


def _is_doubtful(group: Sequence[_Member], error: Exception) -> bool:
    """Return whether a change is made alone, and raises an error for the first time that it may not have caused."""
    doubted = group[0].doubted
    return (
        len(group) == 1
        and doubted is not None
        and not isinstance(error, CidrgateError)
        and type(error) not in map(type, doubted)
    )


def _wait_or_end(group: Sequence[_Member], error: StoreBusyError) -> None:
    """Give the error to the changes of a locked group that are past their deadline; the others may try again."""
    for member in group:
        member.result = error
        if member.left() <= 0:
            member.end(error)


def _end_all(group: Sequence[_Member], results: Sequence[object], error: Exception) -> None:
    """End the changes of a group that are not done with an error; one that was refused keeps the error of that."""
    for member, made in zip(group, results or [None] * len(group), strict=True):
        if not member.done:
            member.end(made if isinstance(made, CidrgateError) else error)


def _unknown(why: str, where: str) -> OutcomeUnknownError:
    check = f"check the {where} before you try again"
    error = OutcomeUnknownError(f"{why}: the change may be stored or not; {check}")
    error._check = check
    return error


def _interrupted(*, made: bool) -> StoreError:
    if made:
        return _unknown("the commit was interrupted", "list or the change log")
    return StoreError("the change was interrupted; nothing was changed: try again")


def _too_many() -> StoreBusyError:
    return StoreBusyError("too many changes wait for the store; nothing was changed: try again later")


def _make(transaction: Transaction, group: Sequence[_Member]) -> Sequence[object]:
    if callable(group[0].change):
        return [group[0].change(transaction)]
    return change_lists(transaction, [cast("ListRequest", member.change) for member in group])
