"""Sections that a signal handler may interrupt: no lock stays taken, nothing stays counted, and nobody is stuck."""

from __future__ import annotations

import signal
import sqlite3
import threading
import time
from contextlib import contextmanager
from functools import partial
from queue import SimpleQueue
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy.util.queue import Empty

from cidrgate import StoreError
from cidrgate.manager import commit_groups
from cidrgate.manager.commit_groups import CommitGroups
from cidrgate.manager.turns import Turns
from cidrgate.process import forking
from cidrgate.process.forking import work
from cidrgate.process.locks import held
from cidrgate.process.wakeups import WakeUp
from cidrgate.stores.connection_pool import ConnectionPool
from cidrgate.stores.waits import answer_by, time_left
from cidrgate.stores.writes import Writes
from tests.forks import in_child
from tests.interruptions import ERRORS, Alarm, in_another_thread, interruptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager


def use_stores() -> None:
    with work(), work(sqlite=True):
        pass


class Counter:
    """A participant that counts its calls."""

    def __init__(self) -> None:
        self.before = self.after = 0

    def before_fork(self) -> None:
        self.before += 1

    def after_fork(self, *, certain: bool) -> None:
        self.after += 1
        assert certain in (False, True)


@pytest.fixture
def participant(monkeypatch: pytest.MonkeyPatch) -> Counter:
    """The only participant of forks: what earlier tests left behind would take moments, and threads of its own."""
    monkeypatch.setattr(forking._gate, "_participants", {})
    one = Counter()
    forking.join_forks(one, stage=0)
    return one


def gate_is_free() -> bool:
    """Whether no thread is inside or forks, as another thread sees it, and that thread can enter."""

    def look() -> bool:
        free = not forking._gate._others() and not forking._gate._forks()
        use_stores()
        return free

    return bool(in_another_thread(look))


@pytest.mark.parametrize("error", ERRORS)
def test_nobody_stays_inside_the_gate_of_forks(error: type[BaseException]) -> None:
    count = 0
    for where in interruptions(use_stores, error):
        count += 1
        assert gate_is_free(), where
    assert count > 20
    assert not forking._gate._inside


@pytest.mark.parametrize("error", ERRORS)
def test_the_steps_around_a_fork_can_be_interrupted(error: type[BaseException], participant: Counter) -> None:
    """What is raised in a hook of a fork is printed, and the fork goes on with the next hook."""

    def fork() -> None:
        try:
            forking._gate.before()
        finally:
            forking._gate.after_in_parent()

    for where in interruptions(fork, error):
        forking._gate.after_in_parent()  # it is registered twice
        assert gate_is_free(), where
    assert participant.before


def test_an_end_of_a_fork_that_never_came_blocks_others_for_a_limited_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forking, "_LONGEST_WAIT", 0.2)
    forking._gate.before()
    try:
        in_another_thread(use_stores)  # waits
        assert gate_is_free()
    finally:
        forking._gate.after_in_parent()


@pytest.mark.parametrize("error", ERRORS)
def test_a_child_whose_first_steps_were_interrupted_repeats_them(
    error: type[BaseException], participant: Counter
) -> None:
    def become_child() -> list[str]:
        bad = []

        def become() -> None:
            forking._gate._process = 0  # as after a fork without hooks
            forking._gate._noticing = {}
            use_stores()

        for where in interruptions(become, error):
            use_stores()
            if forking._gate._process == 0 or not gate_is_free() or not participant.after:
                bad.append(where)
            participant.after = 0
        return bad

    assert in_child(become_child) == {"made": []}


def test_a_part_of_a_child_whose_preparation_was_interrupted_is_prepared_again(participant: Counter) -> None:
    prepare, prepared = participant.after_fork, list[bool]()

    def interrupted_once(*, certain: bool) -> None:
        prepare(certain=certain)
        if participant.after == 1:
            raise Alarm
        prepared.append(certain)

    participant.after_fork = interrupted_once  # type: ignore[method-assign]

    def become_child() -> list[bool]:
        use_stores()
        return prepared

    assert in_child(become_child) == {"made": [True]}


def interrupted_by_alarms(operation: Callable[[], object], seconds: float, pause: float) -> int:
    """Call an operation all the time, while a signal handler raises again and again: more than a hundred times."""
    done, count, begin = False, 0, time.monotonic()
    end = begin + seconds

    def handle(*_: object) -> None:
        if not done:
            raise Alarm

    before = signal.signal(signal.SIGALRM, handle)
    while not done:
        try:
            signal.setitimer(signal.ITIMER_REAL, pause * (0.2 + count % 17 / 10))
            again = time.monotonic() + 0.05  # an exception in a callback of the interpreter is lost
            while time.monotonic() < min(again, end):
                operation()
            now = time.monotonic()
            done = now >= end and (count > 100 or now - begin > 60)  # on a busy machine it takes longer
            end = max(end, now + 0.05)
        except Alarm:
            count += 1
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)
    return count


@pytest.mark.fault("a signal handler raises an exception in a call, such as the soft time limit of Celery")
def test_alarms_leave_the_gate_of_forks_free() -> None:
    assert interrupted_by_alarms(use_stores, 1.0, 0.0007) > 100
    assert gate_is_free()
    assert in_child(forking.sqlite_is_lost) == {"made": False}


@contextmanager
def many_signals() -> Iterator[None]:
    """Signals that no handler minds, at each moment. A wait of C code is cut short by each, and continues."""
    before = signal.signal(signal.SIGALRM, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, 0.0001, 0.0001)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_signals_make_no_wait_longer() -> None:
    """The queue of Python waits for ever if a signal comes as its timeout ends."""
    event, queue = WakeUp(), ConnectionPool(partial(sqlite3.connect, ":memory:"), pool_size=9)._pool
    connection: Any = SimpleNamespace()

    def end() -> None:
        event.set()
        queue.put(connection)

    ends = threading.Timer(20.0, end)
    ends.start()
    with many_signals():
        for number in range(300):
            assert not event.wait(number % 7 / 2000)
            with pytest.raises(Empty):
                queue.get(timeout=number % 7 / 2000)
    ends.cancel()


def test_threads_that_wait_for_connections_get_all_that_come() -> None:
    queue = ConnectionPool(partial(sqlite3.connect, ":memory:"), pool_size=9)._pool
    left, together = [400], threading.Lock()

    def use() -> None:
        while True:
            with together:
                left[0] -= 1
                if left[0] < 0:
                    return
            queue.put(queue.get(timeout=20.0))

    connections: list[Any] = [SimpleNamespace(), SimpleNamespace()]
    for connection in connections:
        queue.put(connection)
    threads = [threading.Thread(target=use) for _ in range(8)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert queue.qsize() == 2
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("error", ERRORS)
def test_a_pool_of_connections_is_never_locked(error: type[BaseException]) -> None:
    queue = ConnectionPool(partial(sqlite3.connect, ":memory:"), pool_size=9)._pool
    connection: Any = SimpleNamespace()

    def use() -> None:
        queue.put(connection, block=False)
        queue.get(timeout=1.0)

    count = 0
    for _where in interruptions(use, error):
        count += 1
        in_another_thread(use)
        while queue.qsize():
            queue.get_nowait()
    assert count > 5


# ------------------------------------------------------------------------------------------------------ changes


class Groups(CommitGroups):
    """Changes that are made without a store, by the main thread and by others at the same time.

    Args:
        others: The accounts whose lists other threads change.
        behind: Whether the main thread's change comes behind the first of the others; otherwise it comes first.
    """

    def __init__(self, others: Sequence[str], *, behind: bool) -> None:
        super().__init__(self.begin, 1, lock_timeout=15)
        self._others, self._behind = others, behind
        self._left: list[str] = []  # of the others, in this round
        self._orders: SimpleQueue[str | None] = SimpleQueue()
        self._results: SimpleQueue[object] = SimpleQueue()
        self._begun: SimpleQueue[None] = SimpleQueue()
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in others]
        for thread in self._threads:
            thread.start()

    def make_all(self) -> None:
        """Make a change, while others make theirs."""
        self._left = list(self._others)
        if self._behind:
            self._orders.put(self._left.pop(0))
            self._begun.get(timeout=20)
        self.change("a")

    def is_free(self) -> bool:
        """Whether the others have made their changes, another thread can make one, and then nothing is left."""
        for _ in range(len(self._others) - len(self._left)):
            self._results.get(timeout=20)
        self._left = []
        in_another_thread(lambda: self.change("a"))
        return not self._running and not self._waiting

    @contextmanager
    def begin(self, *, wait: float | None = None, patient: bool = True) -> Iterator[Any]:
        left, self._left = self._left, []
        for account in left:
            self._orders.put(account)
        end = time.monotonic() + 0.05
        if left:
            self._begun.put(None)
        while left and len(self._waiting) < len(left) + self._behind and time.monotonic() < end:
            time.sleep(0.0001)
        yield SimpleNamespace(waited=0.0)

    def change(self, account: str) -> object:
        return self.change_list(SimpleNamespace(account=account))  # type: ignore[arg-type]

    def _work(self) -> None:
        while (account := self._orders.get()) is not None:
            try:
                self._results.put(self.change(account))
            except (StoreError, Alarm) as error:  # its group was interrupted
                self._results.put(error)

    def end(self) -> None:
        for _ in self._threads:
            self._orders.put(None)
        for thread in self._threads:
            thread.join()


OTHERS = {"alone": ((), False), "before others": (("b", "a", "c"), False), "behind another": (("b", "a", "c"), True)}


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("place", OTHERS)
def test_an_interrupted_change_gives_its_turn_back(
    error: type[BaseException], place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commit_groups, "_make", lambda _, group: [member.account for member in group])
    others, behind = OTHERS[place]
    groups = Groups(others, behind=behind)
    returned = False

    def make_all() -> None:
        nonlocal returned
        returned = False
        groups.make_all()
        returned = True

    count = 0
    for where in interruptions(make_all, error):
        count += 1
        assert groups.is_free(), where
        assert not returned, f"the interruption was lost: {where}"
    assert groups.is_free()
    assert count > 50
    groups.end()


# -------------------------------------------------------------------------------------------------- other sections


def use(block: AbstractContextManager[Any]) -> None:
    with block:
        pass


@pytest.mark.parametrize("error", ERRORS)
def test_an_interrupted_question_gives_its_turn_back(error: type[BaseException]) -> None:
    turns = Turns(1)
    for where in interruptions(lambda: use(turns.turn()), error):
        in_another_thread(lambda: use(turns.turn()))
        assert not any(taken for _, taken in turns._generations.values()), where


@pytest.mark.parametrize("error", ERRORS)
def test_a_child_whose_first_turn_was_interrupted_keeps_no_turn_of_its_parent(
    error: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    turns, number = Turns(1), 0
    monkeypatch.setattr("cidrgate.manager.turns.generation", lambda: number)
    ended = threading.Event()

    def keep_turn(taken: threading.Event) -> None:
        with turns.turn():
            taken.set()
            ended.wait(60)

    def become_child() -> None:
        nonlocal number
        number += 1
        use(turns.turn())

    def take_as_parent() -> threading.Thread:
        taken = threading.Event()
        parent = threading.Thread(target=keep_turn, args=(taken,), daemon=True)
        parent.start()
        assert taken.wait(20)
        return parent

    parents = [take_as_parent()]
    for _where in interruptions(become_child, error):
        in_another_thread(lambda: use(turns.turn()))
        parents.append(take_as_parent())
    ended.set()
    for parent in parents:
        parent.join()
    assert len(parents) > 5


def is_free(lock: threading.RLock) -> bool:
    def take() -> bool:
        with held(lock, 0) as is_held:
            return is_held

    return bool(in_another_thread(take))


@pytest.mark.parametrize("error", ERRORS)
def test_an_interrupted_thread_releases_the_lock_that_it_held(error: type[BaseException]) -> None:
    lock = threading.RLock()

    def use_twice() -> None:
        with held(lock, 5) as is_held, held(lock, 5) as again:
            assert is_held
            assert again

    count = 0
    for where in interruptions(use_twice, error):
        count += 1
        assert is_free(lock), where
    assert count > 5


@pytest.mark.parametrize("error", ERRORS)
def test_an_interrupted_thread_keeps_the_lock_that_it_held_before(error: type[BaseException]) -> None:
    lock = threading.RLock()
    with lock:
        for where in interruptions(lambda: use(held(lock, 5)), error):
            assert not is_free(lock), where
    assert is_free(lock)


def test_a_lock_of_another_thread_stays_held() -> None:
    lock = threading.RLock()
    with lock:
        assert not is_free(lock)
        assert not is_free(lock)
    assert is_free(lock)


@pytest.mark.parametrize("error", ERRORS)
def test_an_interrupted_request_leaves_no_deadline_behind(error: type[BaseException]) -> None:
    for where in interruptions(lambda: use(answer_by(time.monotonic())), error):
        assert time_left(10) == 10, where


@pytest.mark.parametrize("error", ERRORS)
def test_an_interrupted_write_cannot_be_withdrawn_later(error: type[BaseException]) -> None:
    writes = Writes("the store", lambda _: None, lambda _: False)
    for where in interruptions(lambda: use(writes.one()), error):
        in_another_thread(writes.withdraw)
        assert not writes._under_way, where


@pytest.mark.parametrize("error", ERRORS)
def test_an_interrupted_event_wakes_others(error: type[BaseException]) -> None:
    event = WakeUp()

    def use_event() -> None:
        event.wait(0.001)
        event.set()
        event.wait()
        event.clear()

    for where in interruptions(use_event, error):
        event.clear()
        thread = threading.Thread(target=event.wait)
        thread.start()
        event.set()
        thread.join(20)
        assert not thread.is_alive(), where
        assert not event._waiting, where
        event.clear()
