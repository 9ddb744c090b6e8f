"""Changes that are committed together: each is made whole or not at all, whatever becomes of the others."""

from __future__ import annotations

import signal
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from cidrgate import CidrgateError, NewEntry, RuleError, RuleManager
from cidrgate.errors import AccountNotFoundError, ChangeWithdrawnError, StoreError
from cidrgate.manager import commit_groups
from cidrgate.manager.change_requests import ListRequest
from cidrgate.manager.changes import Listing, addition
from cidrgate.manager.commit_groups import CommitGroups
from cidrgate.process.wakeups import WakeUp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from cidrgate.manager.outcomes import ListOutcome
    from cidrgate.stores import StoredChange, Transaction


def test_many_threads_get_what_each_asked_for(tmp_path: Path) -> None:
    """Some ask for what is refused: theirs alone fails, and what is stored equals what was acknowledged."""
    path = f"sqlite:///{tmp_path}/lists.db"
    with RuleManager.open(path, create=True) as manager:
        for number in range(4):
            manager.create_account(f"a{number}")

        def add(number: int) -> str | None:
            wanted = "10.0.0.0/8" if number % 5 == 0 else f"9.9.{number}.0/24"
            try:
                [entry] = manager.add(f"a{number % 4}", f"{wanted}", actor=f"t{number}").after
            except RuleError:
                return None
            return f"{entry.account} {entry.cidr} {entry.created_by}"

        with ThreadPoolExecutor(12) as pool:
            acknowledged = [made for made in pool.map(add, range(150)) if made is not None]
        assert len(acknowledged) == 120
    with RuleManager.open(path) as manager:
        stored = [entry for number in range(4) for entry in manager.entries(f"a{number}")]
    assert sorted(f"{entry.account} {entry.cidr} {entry.created_by}" for entry in stored) == sorted(acknowledged)


@pytest.fixture
def manager() -> Iterator[RuleManager]:
    with RuleManager.open("memory://") as manager:
        for account in ("a", "b", "c", "d", "e"):
            manager.create_account(account)
        yield manager


class Groups(CommitGroups):
    """Groups of which nothing is committed until it is released, so that what comes meanwhile stands in line."""

    def __init__(self, manager: RuleManager, turns: int = 1) -> None:
        super().__init__(self.change, turns)
        self.released = threading.Event()
        self.error: Exception | None = None  # of the next commit of more than the first change
        self.begun: list[list[str | None]] = []
        self._manager = manager

    @contextmanager
    def change(self, *, wait: float | None = None, patient: bool = True) -> Iterator[Transaction]:
        with self._manager._store.write(wait=wait, patient=patient) as transaction:
            yield transaction
            if self.error is not None and len(self.begun[-1]) > 1:
                raise self.error

    def under_way(self, pool: ThreadPoolExecutor, cidr: str = "8.8.8.0/24") -> Future[ListOutcome]:
        """A change of the list of `a` that is about to be committed, and is not until `released`."""
        begun = pool.submit(self.change_list, request("a", cidr))
        while not self.begun:
            time.sleep(0.001)
        return begun

    def in_line(self, pool: ThreadPoolExecutor, change: ListRequest | Callable[[Transaction], Any]) -> Future[Any]:
        """A change that stands in line, behind those that do already."""
        before = len(self._waiting)
        behind = pool.submit(self.exclusive if callable(change) else self.change_list, change)  # type: ignore[arg-type]
        while len(self._waiting) == before:
            time.sleep(0.001)
        return behind

    def _commit(self, group: Sequence[Any]) -> bool:
        self.begun.append([member.account for member in group])
        assert self.released.wait(10)
        return super()._commit(group)


def request(
    account: str,
    cidr: str = "8.8.8.0/24",
    *,
    before_store: Callable[[ListOutcome], object] | None = None,
    in_transaction: Callable[[Transaction, ListOutcome], object] | None = None,
) -> ListRequest:
    """A change that lists a network."""

    def make(_: Transaction, listing: Listing) -> StoredChange:
        return addition(listing, [NewEntry(cidr)], [cidr])

    return ListRequest(account, make, "me", None, before_store, in_transaction)


def fail(error: BaseException) -> Callable[..., object]:
    def raise_it(*_: object) -> object:
        raise error

    return raise_it


def listed(manager: RuleManager) -> dict[str, list[str]]:
    return {account.name: [entry.cidr for entry in manager.entries(account.name)] for account in manager.accounts()}


def results(futures: Iterable[Future[ListOutcome]]) -> list[object]:
    return [future.exception() or [entry.cidr for entry in future.result().after] for future in futures]


def test_what_waits_is_committed_together_and_what_is_refused_is_that_ones_alone(manager: RuleManager) -> None:
    groups = Groups(manager)
    refused = CidrgateError("no")
    with ThreadPoolExecutor(4) as pool:
        first = groups.under_way(pool)
        others = [groups.in_line(pool, request("b")), groups.in_line(pool, request("nobody"))]
        others.append(groups.in_line(pool, request("c", before_store=fail(refused))))
        groups.released.set()
        [made, unknown, error] = results(others)
        assert first.result().account.version == 1
    assert made == ["8.8.8.0/24"]
    assert isinstance(unknown, AccountNotFoundError)
    assert error is refused
    assert [len(group) for group in groups.begun] == [1, 3]
    assert listed(manager) == {"a": ["8.8.8.0/24"], "b": ["8.8.8.0/24"], "c": [], "d": [], "e": []}


@pytest.mark.parametrize("fault", [ZeroDivisionError(), CidrgateError("it cannot be kept")])
def test_a_fault_in_one_change_takes_back_that_one_alone(manager: RuleManager, fault: Exception) -> None:
    groups = Groups(manager)
    with ThreadPoolExecutor(4) as pool:
        first = groups.under_way(pool)
        others = [groups.in_line(pool, request("b", in_transaction=fail(fault)))]
        others += [groups.in_line(pool, request(name)) for name in ("c", "d")]
        groups.released.set()
        assert results([first, *others]) == [["8.8.8.0/24"], fault, ["8.8.8.0/24"], ["8.8.8.0/24"]]
    assert listed(manager)["b"] == []
    assert [change.account for change in manager.history() if change.action == "add"] == ["d", "c", "a"]


def test_a_commit_that_fails_is_reported_to_everybody_in_the_group_but_those_who_were_refused(
    manager: RuleManager,
) -> None:
    groups = Groups(manager)
    groups.error = StoreError("the disk is full")
    refused = CidrgateError("no")
    with ThreadPoolExecutor(4) as pool:
        first = groups.under_way(pool)
        others = [groups.in_line(pool, request(name)) for name in ("b", "c")]
        others.append(groups.in_line(pool, request("d", before_store=fail(refused))))
        groups.released.set()
        assert results([first, *others]) == [["8.8.8.0/24"], groups.error, groups.error, refused]
    assert listed(manager) == {"a": ["8.8.8.0/24"], "b": [], "c": [], "d": [], "e": []}


def test_an_interruption_ends_the_thread_it_came_to_and_leaves_nobody_waiting(manager: RuleManager) -> None:
    groups = Groups(manager)
    with ThreadPoolExecutor(3) as pool:
        first = groups.under_way(pool)
        leader = groups.in_line(pool, request("b", before_store=fail(KeyboardInterrupt())))
        follower = groups.in_line(pool, request("c"))
        groups.released.set()
        assert first.result()
        with pytest.raises(KeyboardInterrupt):
            leader.result()
        with pytest.raises(StoreError, match="interrupted; nothing was changed"):
            follower.result()
    assert groups.change_list(request("d"))
    assert listed(manager) == {"a": ["8.8.8.0/24"], "b": [], "c": [], "d": ["8.8.8.0/24"], "e": []}


def test_an_interruption_while_waiting_withdraws_the_change(manager: RuleManager) -> None:
    groups = Groups(manager)
    with ThreadPoolExecutor(2) as pool:
        first = groups.under_way(pool)
        other = groups.in_line(pool, request("c"))
        with pytest.raises(_Interruption), interrupted_soon():
            groups.change_list(request("b"))
        groups.released.set()
        assert results([first, other]) == [["8.8.8.0/24"], ["8.8.8.0/24"]]
    assert groups.begun == [["a"], ["c"]]
    assert listed(manager)["b"] == []


def test_an_interruption_of_who_was_to_commit_leaves_it_to_the_next(
    manager: RuleManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupting(WakeUp):
        def wait(self, timeout: float | None = None) -> bool:
            super().wait(timeout)
            raise _Interruption

    class Interrupted(commit_groups._Member):
        def __init__(self, change: Any, seconds: float) -> None:
            super().__init__(change, seconds)
            self.woken = Interrupting()

    groups = Groups(manager)
    with ThreadPoolExecutor(3) as pool:
        first = groups.under_way(pool)
        with monkeypatch.context() as patched:
            patched.setattr(commit_groups, "_Member", Interrupted)
            leader = groups.in_line(pool, request("b"))
        follower = groups.in_line(pool, request("c"))
        groups.released.set()
        with pytest.raises(_Interruption):
            leader.result()
        assert results([first, follower]) == [["8.8.8.0/24"], ["8.8.8.0/24"]]
    assert groups.begun == [["a"], ["c"]]
    assert groups.change_list(request("b"))


class SoftTimeLimit(Exception):  # noqa: N818 - named as what it stands for
    """As the one of Celery, which a signal handler raises. It is no error of a change."""


class Hook:
    """A hook that raises what it is told to, the first thing at its first call, and so on."""

    def __init__(self, *errors: type[Exception] | None) -> None:
        self._errors = list(errors)

    def __call__(self, *_: object) -> None:
        error = self._errors.pop(0) if self._errors else None
        if error is SoftTimeLimit:
            signal.raise_signal(signal.SIGUSR1)
        elif error is not None:
            raise error


@pytest.fixture
def time_limit() -> Iterator[None]:
    def handle(_number: int, _frame: object) -> None:
        raise SoftTimeLimit

    before = signal.signal(signal.SIGUSR1, handle)
    yield
    signal.signal(signal.SIGUSR1, before)


LISTED = ["8.8.8.0/24"]
BUG = ZeroDivisionError
BUGS: list[type[Exception] | None] = [BUG] * 4
LIMITS: dict[str, tuple[list[type[Exception] | None], list[type[Exception] | None], object]] = {
    "in the group": ([SoftTimeLimit], [], LISTED),
    "in the group, at the change of another thread": ([], [SoftTimeLimit], LISTED),
    "in the group, before a fault of another": ([SoftTimeLimit], BUGS, BUG),
    "after a fault, in its own change": ([None, SoftTimeLimit], BUGS, BUG),
    "after a fault, in the change of another thread": ([*BUGS], [SoftTimeLimit], LISTED),
    "after a fault, in the change that has it": ([], [BUG, SoftTimeLimit, *BUGS], BUG),
}


@pytest.mark.fault("a signal handler raises an exception in a call, such as the soft time limit of Celery")
@pytest.mark.parametrize("case", LIMITS)
def test_a_soft_time_limit_ends_the_call_that_it_came_to_and_no_other(
    case: str, manager: RuleManager, time_limit: None
) -> None:
    mine, others, result = LIMITS[case]
    groups = Groups(manager)
    with ThreadPoolExecutor(3) as pool:
        first = groups.under_way(pool)

        def follow() -> Future[ListOutcome]:
            while not groups._waiting:
                time.sleep(0.001)
            with ThreadPoolExecutor(2) as behind:
                waiting = [groups.in_line(behind, request("c", in_transaction=Hook(*others)))]
                waiting.append(groups.in_line(behind, request("d")))
                groups.released.set()
            assert results(waiting[1:]) == [LISTED]
            return waiting[0]

        behind = pool.submit(follow)
        with pytest.raises(SoftTimeLimit):
            groups.change_list(request("b", in_transaction=Hook(*mine)))
        [ended] = results([behind.result()])
        assert ended == result or (result is BUG and isinstance(ended, BUG))
        assert results([first]) == [LISTED]
    assert not groups._running
    assert not groups._waiting
    assert listed(manager)["d"] == LISTED
    assert listed(manager)["c"] == (LISTED if result == LISTED else [])


def test_a_fault_in_the_change_of_another_thread_is_not_raised_in_the_thread_that_commits(manager: RuleManager) -> None:
    groups = Groups(manager)
    with ThreadPoolExecutor(2) as pool:
        first = groups.under_way(pool)

        def follow() -> object:
            while not groups._waiting:
                time.sleep(0.001)
            with ThreadPoolExecutor(1) as behind:
                waiting = groups.in_line(behind, request("c", in_transaction=Hook(*BUGS)))
                groups.released.set()
            return waiting.exception()

        behind = pool.submit(follow)
        assert [entry.cidr for entry in groups.change_list(request("b")).after] == LISTED
        assert isinstance(behind.result(), BUG)
        assert first.result()


def test_a_change_that_was_refused_before_a_withdrawal_was_interrupted_is_not_made(
    manager: RuleManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups = Groups(manager)
    with ThreadPoolExecutor(3) as pool:
        first = groups.under_way(pool)
        waiting = [groups.in_line(pool, request("b")), groups.in_line(pool, request("c"))]
        with monkeypatch.context() as patched:
            patched.setattr(WakeUp, "set", fail(_Interruption()))
            with pytest.raises(_Interruption):
                groups.withdraw()
        groups.released.set()
        [refused, made] = results(waiting)
        assert isinstance(refused, ChangeWithdrawnError)
        assert made == results([first])[0] == LISTED
    assert listed(manager)["b"] == []
    assert not groups._waiting


@pytest.mark.parametrize("moment", ["it waits", "it is made"])
def test_a_change_whose_thread_was_interrupted_twice_blocks_no_other_while_the_exception_is_kept(
    moment: str, manager: RuleManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A traceback keeps the frames of the thread, as in a record of the log or in a debugger."""
    groups = Groups(manager)
    if moment == "it is made":
        groups.released.set()
    with ThreadPoolExecutor(2) as pool:
        first = groups.under_way(pool) if moment == "it waits" else None
        with monkeypatch.context() as patched:
            patched.setattr(groups, "_leave", fail(_Interruption()))
            if moment == "it waits":
                patched.setattr(WakeUp, "wait", fail(_Interruption()))
            else:
                patched.setattr(groups, "_disband", fail(_Interruption()))
            with pytest.raises(_Interruption) as kept:
                groups.change_list(request("b"))
        groups.released.set()
        if first is not None:
            assert first.result(20)
        assert pool.submit(groups.change_list, request("c")).result(20)
        assert pool.submit(groups.change_list, request("b", "9.9.9.0/24")).result(20)
    assert not groups._waiting
    assert not groups._running
    assert ("8.8.8.0/24" in listed(manager)["b"]) is (moment == "it is made")
    assert kept.tb is not None


class _Interruption(BaseException):
    """As `KeyboardInterrupt` is, which would end the run of the tests."""


@contextmanager
def interrupted_soon() -> Iterator[None]:
    """Interrupt the main thread as ctrl-C does, in a moment."""

    def interrupt(_number: int, _frame: object) -> None:
        raise _Interruption

    assert threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_no_account_is_in_two_transactions_at_once(manager: RuleManager) -> None:
    """Two changes of one list come one after the other, and a third of another list does not wait for them."""
    groups = Groups(manager, turns=2)
    with ThreadPoolExecutor(4) as pool:
        one = groups.under_way(pool, "1.1.1.0/24")
        two = groups.in_line(pool, request("a", "2.2.2.0/24"))
        other = pool.submit(groups.change_list, request("b"))
        while len(groups.begun) < 2:
            time.sleep(0.001)
        assert groups.begun == [["a"], ["b"]]
        groups.released.set()
        assert results([one, two, other]) == [["1.1.1.0/24"], ["1.1.1.0/24", "2.2.2.0/24"], ["8.8.8.0/24"]]
    assert groups.begun == [["a"], ["b"], ["a"]]


def test_what_needs_a_transaction_of_its_own_takes_its_turn(manager: RuleManager) -> None:
    groups = Groups(manager)
    with ThreadPoolExecutor(4) as pool:
        first = groups.under_way(pool)
        changes: list[Any] = [request("b"), lambda transaction: transaction.log_end(), request("c")]
        waiting = [groups.in_line(pool, change) for change in changes]
        groups.released.set()
        assert first.result()
        assert isinstance(waiting[1].result(), int)
    assert groups.begun == [["a"], ["b"], [None], ["c"]]


def test_a_supervisor_sees_a_change_before_it_is_committed_and_can_refuse_it(manager: RuleManager) -> None:
    manager.create_account("acct-1")
    manager.add("acct-1", "8.8.8.0/24")
    seen: list[ListOutcome] = []

    def refuse(made: ListOutcome) -> None:
        seen.append(made)
        raise CidrgateError("not now")

    with pytest.raises(CidrgateError, match="not now"):
        manager.with_hooks(before_store=refuse).replace("acct-1", "9.9.9.0/24")
    [outcome] = seen
    assert outcome.account.version == 2
    assert [entry.cidr for entry in outcome.before] == ["8.8.8.0/24"]
    assert [entry.cidr for entry in outcome.after] == ["9.9.9.0/24"]
    assert [entry.cidr for entry in manager.entries("acct-1")] == ["8.8.8.0/24"]


def test_a_dry_run_changes_nothing_and_tells_what_would_be(manager: RuleManager) -> None:
    manager.create_account("acct-1")
    manager.add("acct-1", "8.8.8.0/24")
    before = manager.history()
    outcomes: list[ListOutcome] = []
    dry = manager.with_hooks(before_store=outcomes.append, dry_run=True)
    dry.create_account("acct-2")
    dry.add("acct-1", "9.9.9.0/24, 1.1.1.1/32")
    dry.edit("acct-1", "8.8.8.0/24", "8.8.0.0/16")
    dry.remove("acct-1", "8.8.8.0/24")
    dry.restore("acct-1", to_sequence=before[1].sequence)
    with pytest.raises(RuleError):
        dry.add("acct-1", "8.8.8.1/32")
    assert dry.prune_history(timedelta(0)) == len(before)
    lists = [[entry.cidr for entry in made.after] for made in outcomes]
    assert lists == [[], ["1.1.1.1/32", "8.8.8.0/24", "9.9.9.0/24"], ["8.8.0.0/16"], [], []]
    assert manager.history() == before
    assert "acct-2" not in [account.name for account in manager.accounts()]
