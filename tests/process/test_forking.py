"""Processes that fork while threads work on a store: no child hangs, none is older than it says, nothing is lost."""

from __future__ import annotations

import ast
import gc
import json
import logging
import logging.handlers
import math
import multiprocessing
import os
import sqlite3
import subprocess
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from queue import SimpleQueue
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from cidrgate import CidrgateError, ForkedError, RuleManager, StoreError
from cidrgate.manager.rule_manager import _LOADED_LATER
from cidrgate.process import forking
from cidrgate.process.forking import work
from tests.forks import FOREIGN_FORKS, in_child, report_of, start_child
from tests.length import length
from tests.servers.requests import ask
from tests.servers.running import free_port, program, running
from tests.waiting import eventually
from tests.warm_starts import output_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FORKS = int(os.environ.get("CIDRGATE_FORKS", "40"))
ROOT = Path(__file__).parents[2]


@pytest.fixture
def url(shared_store_url: str) -> str:
    return shared_store_url


@pytest.fixture
def manager(url: str) -> Iterator[RuleManager]:
    with RuleManager.open(url) as opened:
        opened.create_account("acct-1")
        opened.add("acct-1", "8.8.8.0/24, 1.1.1.1/32")
        yield opened


@contextmanager
def in_a_thread(within: Callable[[], Any]) -> Iterator[None]:
    """Another thread that is inside a context manager."""
    inside, leave = threading.Event(), threading.Event()

    def stay() -> None:
        with within():
            inside.set()
            assert leave.wait(60)

    thread = threading.Thread(target=stay)
    thread.start()
    assert inside.wait(60)
    try:
        yield
    finally:
        leave.set()
        thread.join()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forking, "_SQLITE_PATIENCE", 0.05)
    monkeypatch.setattr(forking, "_PATIENCE", 0.05)


@pytest.mark.parametrize(("sqlite", "seconds"), [(False, forking._PATIENCE), (True, forking._SQLITE_PATIENCE)])
def test_a_fork_waits_once_for_a_thread_that_does_not_leave(
    sqlite: bool, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]

    def sleep(duration: float) -> None:
        clock[0] += duration

    monkeypatch.setattr(forking, "time", SimpleNamespace(monotonic=lambda: clock[0], sleep=sleep))
    gate, stays = forking._Gate(), work(sqlite=sqlite)
    stays.thread = -1
    gate._inside.add(stays.reference)
    gate.before()
    assert clock[0] == pytest.approx(seconds, abs=0.01)


@pytest.mark.fault("a process forks while its threads work on a store")
def test_no_child_of_a_busy_process_hangs_or_misses_a_revocation(url: str, tmp_path: Path) -> None:
    """`CIDRGATE_FORKS` says how many there are. `make test-long` lets a process beside keep a processor busy."""
    command = [sys.executable, "-m", "tests.forked_children", url, str(tmp_path / "snapshot"), str(FORKS)]
    with subprocess.Popen([sys.executable, "-c", "while True: pass" if length(0, 1) else ""]) as beside:
        try:
            done = output_of(command, cwd=ROOT, text=True)
        finally:
            beside.kill()
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    print(report)
    report.pop("longest_fork")
    assert report == {"forks": FORKS, "hangs": 0, "late": 0, "refused": 0, "wrong": 0, "lost": 0}, done.stderr


def test_what_a_child_commits_outlives_its_parents_connections(url: str, tmp_path: Path) -> None:
    """A child that inherited a connection to an SQLite file would hold no lock on it, and its log would be deleted."""
    go_on, going = os.pipe()
    manager = RuleManager.open(url)
    manager.create_account("acct-1")

    def add_when_the_parent_has_closed() -> list[str]:
        manager.entries("acct-1")
        os.write(ready, b".")
        os.read(go_on, 1)
        manager.add("acct-1", "9.9.9.9/32")
        return [entry.cidr for entry in manager.entries("acct-1")]

    is_ready, ready = os.pipe()
    child = start_child(add_when_the_parent_has_closed)
    os.read(is_ready, 1)
    manager.close()
    os.write(going, b".")
    assert report_of(child) == {"made": ["9.9.9.9/32"]}
    for descriptor in (go_on, going, is_ready, ready):
        os.close(descriptor)
    with RuleManager.open(url, follow=False) as after:
        assert [entry.cidr for entry in after.entries("acct-1")] == ["9.9.9.9/32"]


LOADED = {
    "a name of the package": "cidrgate.manager.rule_manager",
    "a name of another part": "cidrgate.gate.gate",
    "the store": "sqlalchemy",
    "a method": "cidrgate.stores.observations",
}


def forked_while_loading(url: str, what: str, module: str, patience: float) -> str:
    """What a child says that was forked while a thread imported a module."""
    # Started by itself: another process has imported the module.
    command = [sys.executable, "-m", "tests.forked_while_loading", url, what, module, str(patience)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout


@pytest.mark.parametrize("what", LOADED)
def test_a_fork_waits_for_a_thread_that_imports_a_part(url: str, what: str) -> None:
    """A child has the import's lock and not the thread that would give it back."""
    assert forked_while_loading(url, what, LOADED[what], 30).startswith("made ")


def test_a_child_of_a_fork_that_waited_long_enough_says_so(url: str) -> None:
    said = forked_while_loading(url, "the store", "sqlalchemy", 0.05)
    assert said.startswith("ForkedError: this process was forked while another thread loaded a part of cidrgate")


def lazy_imports() -> dict[str, set[str]]:
    """The parts of the package that functions of a folder import without `loading()`, by folder."""
    found: dict[str, set[str]] = {}
    for path in (ROOT / "src" / "cidrgate").rglob("*.py"):
        tree = ast.parse(path.read_text())
        protected = {
            inner
            for block in ast.walk(tree)
            if isinstance(block, ast.With) and "loading()" in map(ast.unparse, block.items)
            for inner in ast.walk(block)
        }
        folder = path.relative_to(ROOT / "src" / "cidrgate").parts[0]
        for function in ast.walk(tree):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                names = (one for one in ast.walk(function) if isinstance(one, ast.ImportFrom) and one not in protected)
                parts = {one.module for one in names if one.module is not None and one.module.startswith("cidrgate.")}
                found.setdefault(folder, set()).update(parts)
    return found


def test_what_functions_import_is_loaded_before_a_fork() -> None:
    found = lazy_imports()
    commands = {"cli"}  # the command line has one thread while it loads
    assert {folder for folder, parts in found.items() if parts} - commands == {"manager", "stores", "traffic"}
    loaded = {"cidrgate.stores.postgres.connections"}  # by the first connection, inside `loading()`
    for folder in ("manager", "stores", "traffic"):
        assert found[folder] <= {*_LOADED_LATER, *loaded}, folder


def test_a_child_leaves_its_parents_connections_alone(manager: RuleManager) -> None:
    def close() -> None:
        manager.add("acct-1", "9.9.9.9/32")
        manager.close()

    assert in_child(close) == {"made": None}
    eventually(lambda: manager.allows("acct-1", "9.9.9.9"))
    manager.remove("acct-1", "9.9.9.9/32")
    assert [entry.cidr for entry in manager.entries("acct-1")] == ["1.1.1.1/32", "8.8.8.0/24"]


def test_a_child_of_a_child_follows_too(manager: RuleManager, url: str) -> None:
    def fork_again() -> object:
        return in_child(lambda: eventually(lambda: not manager.allows("acct-1", "1.1.1.1")))

    child = start_child(fork_again)
    with RuleManager.open(url, follow=False) as other:
        other.remove("acct-1", "1.1.1.1/32")
    assert report_of(child) == {"made": {"made": None}}


FORKING: dict[str, Callable[[RuleManager, Callable[[], None]], object]] = {
    "judge": lambda manager, fork: manager.with_hooks(before_store=lambda _: fork()).add("acct-1", "9.9.9.9/32"),
    "keep": lambda manager, fork: manager._with_transaction_hook(lambda *_: fork()).add("acct-1", "9.9.9.9/32"),
    "create": lambda manager, fork: manager._with_transaction_hook(lambda *_: fork()).create_account("acct-9"),
    "load": lambda manager, fork: manager.load(progress=lambda _: fork()),
}


@pytest.mark.parametrize("where", FORKING)
def test_a_thread_may_fork_inside_its_own_transaction(
    manager: RuleManager, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The transaction is the parent's: the child can neither commit it nor roll it back."""
    monkeypatch.setattr("cidrgate.replica.published_store._PROGRESS", 1)
    children: list[int] = []
    parent = os.getpid()
    said, saying = os.pipe()

    def fork() -> None:
        if not children and os.getpid() == parent:
            children.append(os.fork())

    raised = ""
    try:
        FORKING[where](manager, fork)
    except CidrgateError as error:
        raised = str(error)
    if os.getpid() != parent:
        os.write(saying, raised.encode())
        os._exit(0)
    os.close(saying)
    _, status = os.waitpid(children[0], 0)
    text = os.read(said, 4096).decode()
    os.close(said)
    assert (status, raised) == (0, "")
    assert "forked" in text
    manager.add("acct-1", "9.9.9.0/32" if where in ("judge", "keep") else "9.9.9.9/32")
    assert manager.allows("acct-1", "9.9.9.9") or where == "create"


@pytest.mark.parametrize("method", ["catch_up", "expire"])
def test_the_threads_that_follow_may_fork(method: str, manager: RuleManager, url: str) -> None:
    children: list[tuple[int, int]] = []
    forked = threading.Event()

    published = manager._replica.published
    real = getattr(published, method)

    def fork() -> object:
        if not forked.is_set():
            forked.set()  # for the child too, whose thread would fork as well
            children.append(start_child(lambda: eventually(lambda: not manager.allows("acct-1", "1.1.1.1"))))
        return real()

    assert manager._replica.follower is not None
    setattr(published, method, fork)
    manager._replica.follower.wake()
    with RuleManager.open(url, follow=False) as other:
        other.add("acct-1", "9.9.9.9/32")
        eventually(lambda: bool(children))
        other.remove("acct-1", "1.1.1.1/32")
    assert report_of(children[0]) == {"made": None}


def test_a_fork_waits_for_a_store_that_is_being_opened(url: str, manager: RuleManager) -> None:
    stop = threading.Event()

    def open_again() -> None:
        while not stop.is_set():
            RuleManager.open(url).close()

    thread = threading.Thread(target=open_again)
    thread.start()
    try:
        for _ in range(5):
            assert in_child(lambda: [entry.cidr for entry in manager.entries("acct-1")]) == {
                "made": ["1.1.1.1/32", "8.8.8.0/24"]
            }
    finally:
        stop.set()
        thread.join()


def test_every_manager_of_a_process_goes_on_in_a_child(tmp_path: Path) -> None:
    managers = [RuleManager.open(f"sqlite:///{tmp_path}/{number}.db", create=True) for number in range(5)]
    managers += [RuleManager.open("memory://") for _ in range(3)]
    for manager in managers:
        manager.create_account("acct-1")

    def add_to_all() -> list[list[str]]:
        for number, manager in enumerate(managers):
            manager.add("acct-1", f"9.9.{number}.0/24")
        return [manager.matcher.prefixes("acct-1") for manager in managers]

    assert in_child(add_to_all) == {"made": [[f"9.9.{number}.0/24"] for number in range(8)]}
    for number, manager in enumerate(managers):
        # A file is shared, a store in memory was copied.
        expected = [f"9.9.{number}.0/24"] if number < 5 else []
        eventually(lambda manager=manager, expected=expected: manager.matcher.prefixes("acct-1") == expected)  # type: ignore[misc]
        manager.close()


class Outlasting:
    """What a thread does with a store while another thread forks, and for how long."""

    def __init__(self) -> None:
        self.inside, self.leave = threading.Event(), threading.Event()

    def stay(self, *_: object) -> int:
        self.inside.set()
        assert self.leave.wait(60)
        return 7

    def change(self, manager: RuleManager) -> object:
        return manager.with_hooks(before_store=self.stay).add("acct-1", "9.9.9.0/24").version

    def wait_for_another_writer(self, manager: RuleManager) -> object:
        path = manager._store._path  # type: ignore[attr-defined]
        with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
            other.execute("BEGIN IMMEDIATE")
            with ThreadPoolExecutor(1) as threads:
                added = threads.submit(lambda: manager.add("acct-1", "9.9.9.0/24").version)
                eventually(lambda: any(one.sqlite for one in forking._gate._works()))
                self.stay()
                other.execute("ROLLBACK")
                return added.result(60)

    def read_a_part(self, manager: RuleManager) -> object:
        lines: Any = manager.export()
        with closing(lines):
            next(lines)
            self.stay()
            return sum("8.8.8.0/24" in line for line in lines)

    def execute_a_statement(self, manager: RuleManager) -> object:
        with manager._store.read() as transaction:
            transaction.connection.connection.create_function("stay", 0, self.stay)
            return transaction.connection.execute(text("SELECT stay()")).scalar_one()


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("outlasts", "result"),
    [
        (Outlasting.change, 2),
        (Outlasting.wait_for_another_writer, 2),
        (Outlasting.read_a_part, 1),
        (Outlasting.execute_a_statement, 7),
    ],
    ids=lambda one: getattr(one, "__name__", ""),
)
def test_a_fork_breaks_nothing_that_outlasts_its_wait(
    outlasts: Callable[[Outlasting, RuleManager], object], result: object, tmp_path: Path
) -> None:
    """It waits no longer than it says, whatever is done; the child leaves the store to its parent."""
    outlasting = Outlasting()

    def refused() -> bool:
        with pytest.raises(StoreError, match="fork"):
            opened.entries("acct-1")
        return True

    with RuleManager.open(tmp_path / "lists.db", create=True, lock_timeout=60) as opened:
        for number in range(2):
            opened.create_account(f"acct-{number}")
        opened.add("acct-1", "8.8.8.0/24")
        with ThreadPoolExecutor(2) as threads:
            done = threads.submit(outlasts, outlasting, opened)
            assert outlasting.inside.wait(60)
            child = threads.submit(in_child, refused)
            try:
                assert child.result(60) == {"made": True}
                assert [entry.cidr for entry in opened.entries("acct-1")] == ["8.8.8.0/24"]
                assert opened.staleness < 60
            finally:
                outlasting.leave.set()
            assert done.result(60) == result
        opened.add("acct-1", "1.1.1.1/32")
        after = opened.entries("acct-1")
    with RuleManager.open(tmp_path / "lists.db") as again:
        assert again.entries("acct-1") == after
        assert again.allows("acct-1", "9.9.9.9") == (result == 2)


def test_a_fork_breaks_no_transaction_in_which_another_thread_forks(tmp_path: Path) -> None:
    """The thread that forks first closes connections while the other one waits for its turn."""
    gate = forking._gate

    def close_for_a_child() -> None:
        for one in gate._in_order():
            one.before_fork()

    def fork(_: object) -> None:
        me = threading.get_ident()
        gate._forking[me] = forking._Fork()
        try:
            with ThreadPoolExecutor(1) as threads:
                threads.submit(close_for_a_child).result(60)
        finally:
            del gate._forking[me]

    with RuleManager.open(tmp_path / "lists.db", create=True) as opened:
        opened.create_account("acct-1")
        opened.with_hooks(before_store=fork).add("acct-1", "8.8.8.0/24")
        assert opened.allows("acct-1", "8.8.8.8")


@pytest.mark.parametrize("read", ["export", "backup"])
@pytest.mark.parametrize("end", ["continue", "close"])
def test_a_child_that_goes_on_with_an_iterator_of_its_parent_gets_one_error(
    manager: RuleManager, read: str, end: str
) -> None:
    """Nothing else is logged: the transaction continues in the parent."""
    lines = getattr(manager, read)()
    first = next(lines)

    def go_on() -> list[str]:
        logged: SimpleQueue[logging.LogRecord] = SimpleQueue()
        handler = logging.handlers.QueueHandler(logged)
        logging.getLogger().addHandler(handler)
        if end == "close":
            lines.close()
        else:
            with pytest.raises(ForkedError):
                list(lines)
        gc.collect()
        return [logged.get().getMessage() for _ in range(logged.qsize())]

    assert in_child(go_on) == {"made": []}
    rest = list(lines)
    whole = getattr(manager, read)()
    assert [line for line in (first, *rest) if "8.8.8.0/24" in line] == [line for line in whole if "8.8.8.0/24" in line]


ENDS = """
import os, sys, threading
from cidrgate import RuleManager
from cidrgate.process import forking
forking._SQLITE_PATIENCE = 0.05
inside, leave = threading.Event(), threading.Event()
manager = RuleManager.open(sys.argv[1], create=True)
manager.create_account("acct-1")
hold = manager.with_hooks(before_store=lambda _: (inside.set(), leave.wait(60)))
thread = threading.Thread(target=hold.add, args=("acct-1", "8.8.8.0/24"))
thread.start()
inside.wait(60)
child = os.fork()
if child:
    status = os.waitpid(child, 0)[1]
    leave.set()
    thread.join()
    print(status, manager.entries("acct-1")[0].cidr, flush=True)
    os._exit(0)
"""


def test_the_end_of_a_child_releases_no_lock_of_its_parent(tmp_path: Path) -> None:
    """The child ends as programs do, with all that the interpreter closes then."""
    path = tmp_path / "lists.db"
    said = output_of([sys.executable, "-c", ENDS, str(path)], timeout=60)
    assert said.stdout.split() == [b"0", b"8.8.8.0/24"], said.stderr
    with RuleManager.open(path) as manager:
        assert manager.matcher.prefixes("acct-1") == ["8.8.8.0/24"]


@pytest.mark.usefixtures("impatient")
def test_a_child_of_a_process_stuck_in_sqlite_says_so(tmp_path: Path) -> None:
    """The fork goes on after a time; SQLite may wait for ever in the child, and is not called there."""
    url = f"sqlite:///{tmp_path}/lists.db"

    def state() -> object:
        stale = manager.staleness == math.inf
        denied = not manager.allows("acct-1", "8.8.8.8"), not serving.allows("acct-1", "9.9.9.9")
        errors = []
        for use in (
            lambda: manager.entries("acct-1"),
            lambda: manager.add("acct-1", "9.9.9.9/32"),
            lambda: RuleManager.open(url),
            lambda: RuleManager.open("memory://"),
        ):
            try:
                use()
            except StoreError as error:
                errors.append("forked" in str(error))
        manager.close()
        return stale, denied, serving.allows("acct-1", "8.8.8.8"), errors

    with (
        RuleManager.open(url, create=True, max_staleness=3600, on_stale="deny") as manager,
        RuleManager.open(url, max_staleness=3600) as serving,
    ):
        manager.create_account("acct-1")
        manager.add("acct-1", "8.8.8.0/24")
        eventually(lambda: serving.allows("acct-1", "8.8.8.8") and not serving.allows("acct-1", "9.9.9.9"))
        with in_a_thread(lambda: work(sqlite=True)):
            assert in_child(state) == {"made": [True, [True, True], True, [True] * 4]}
        assert in_child(lambda: len(manager.entries("acct-1"))) == {"made": 1}


@pytest.mark.usefixtures("impatient")
def test_a_child_of_a_process_that_waits_for_postgres_connects_anew(postgres_url: str) -> None:
    """Nothing of a wait for a server is left behind: the child is as old as it says until it has looked itself."""
    with RuleManager.open(postgres_url) as manager:
        manager.create_account("acct-1")
        manager.add("acct-1", "8.8.8.0/24")

        def look() -> object:
            eventually(lambda: manager.staleness < math.inf)
            return manager.allows("acct-1", "8.8.8.8"), len(manager.entries("acct-1"))

        with in_a_thread(work), in_a_thread(manager._store.read):
            assert in_child(look) == {"made": [True, 1]}


def test_a_child_does_not_keep_its_parents_turn_to_write_a_snapshot(url: str, tmp_path: Path) -> None:
    snapshot = tmp_path / "lists.snapshot"
    go_on, going = os.pipe()
    parent = RuleManager.open(url, snapshot=snapshot, refresh_snapshot=0.02)
    shared = parent._replica.published.shared
    assert shared is not None
    eventually(lambda: shared.leads)
    child = start_child(lambda: os.read(go_on, 1).decode())
    # The child may have taken the turn by itself by now: it gives it up at its end.
    parent.close()
    os.write(going, b".")
    assert report_of(child) == {"made": "."}
    with RuleManager.open(url, snapshot=snapshot, refresh_snapshot=0.02) as other:
        other.create_account("acct-2")
        taken = other._replica.published.shared
        assert taken is not None
        follower = other._replica.follower
        assert follower is not None

        def leads() -> bool:
            follower.wake()  # by itself it looks every few seconds
            return taken.leads

        eventually(leads)
    os.close(go_on)
    os.close(going)


def test_programs_that_are_started_wait_for_nobody() -> None:
    """What replaces the process at once inherits nothing that could be harmed."""
    before = forking.generation()
    with in_a_thread(lambda: work(sqlite=True)):
        assert subprocess.run([sys.executable, "-c", "print(1)"], capture_output=True, check=True).stdout == b"1\n"
    assert forking.generation() == before


def test_threads_wait_for_a_fork_and_go_on_after_it() -> None:
    """Work goes on in several threads while the process forks again and again; nobody is left outside."""
    stop = threading.Event()
    done = [0] * 4

    def use(number: int) -> None:
        while not stop.is_set():
            with work(sqlite=bool(number % 2)), work():
                done[number] += 1

    threads = [threading.Thread(target=use, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(30):
        assert in_child(lambda: forking.sqlite_is_lost()) == {"made": False}
    before = list(done)
    eventually(lambda: all(now > then for now, then in zip(done, before, strict=True)))
    stop.set()
    for thread in threads:
        thread.join()


@pytest.mark.parametrize("kind", FOREIGN_FORKS)
def test_a_fork_by_native_code_is_no_danger(manager: RuleManager, url: str, kind: str) -> None:
    """Without the hooks of Python, a child leaves its parent's SQLite file alone; of a server it is another client."""

    def look() -> object:
        try:
            return [entry.cidr for entry in manager.entries("acct-1")]
        except StoreError as error:
            return "forked" in str(error), manager.staleness == math.inf, manager.allows("acct-1", "8.8.8.8")

    manager.entries("acct-1")
    refused = kind != "hooks" and not url.startswith("postgresql")
    expected: object = [True, True, True] if refused else ["1.1.1.1/32", "8.8.8.0/24"]
    assert in_child(lambda: [look(), look()], FOREIGN_FORKS[kind]) == {"made": [expected, expected]}
    manager.remove("acct-1", "1.1.1.1/32")
    assert [entry.cidr for entry in manager.entries("acct-1")] == ["8.8.8.0/24"]


@pytest.mark.parametrize("kind", FOREIGN_FORKS)
def test_a_worker_of_native_code_follows_or_is_stale(url: str, kind: str) -> None:
    """It learns of the fork when it is asked for the age of its lists, or when they are too old to answer from."""
    with RuleManager.open(url, max_staleness=0.5, on_stale="deny") as manager:
        manager.create_account("acct-1")
        manager.add("acct-1", "8.8.8.0/24, 1.1.1.1/32")

        def decide() -> object:
            eventually(lambda: not manager.allows("acct-1", "1.1.1.1"))
            if kind == "hooks" or url.startswith("postgresql"):
                eventually(lambda: manager.allows("acct-1", "8.8.8.8"))
                return manager.staleness < math.inf
            return not manager.allows("acct-1", "8.8.8.8") and manager.staleness == math.inf

        child = start_child(decide, FOREIGN_FORKS[kind])
        manager.remove("acct-1", "1.1.1.1/32")
        assert report_of(child) == {"made": True}


@pytest.mark.parametrize("kind", FOREIGN_FORKS)
def test_threads_of_a_worker_of_native_code_wait_until_it_is_prepared(url: str, kind: str) -> None:
    """Several threads use the store at once; the hooks run once."""
    with RuleManager.open(url, follow=False) as manager:
        manager.create_account("acct-1")
        before = forking.generation()

        def look(_: int) -> str:
            try:
                return str(manager.entries("acct-1"))
            except StoreError as error:
                return str(error)

        def in_threads() -> object:
            with ThreadPoolExecutor(8) as pool:
                answers = set(pool.map(look, range(8)))
            return len(answers), forking.generation() - before

        assert in_child(in_threads, FOREIGN_FORKS[kind]) == {"made": [1, 1]}


def test_a_process_that_multiprocessing_forks_follows(manager: RuleManager) -> None:
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()

    def ask() -> None:
        eventually(lambda: not manager.allows("acct-1", "1.1.1.1"))
        answers.put(manager.allows("acct-1", "8.8.8.8"))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        process = context.Process(target=ask)
        process.start()
    manager.remove("acct-1", "1.1.1.1/32")
    process.join(60)
    assert (process.exitcode, answers.get()) == (0, True)


def test_workers_of_uwsgi_follow(manager: RuleManager, url: str, tmp_path: Path) -> None:
    """It loads the application once and forks, with the hooks of Python.

    Without them, a fork of a process with threads may leave a lock of Python itself taken in the child. The forks of
    native code above are therefore made while no other thread runs.
    """
    port = free_port()
    command = [
        program("uwsgi", "pip install pyuwsgi"),
        "--master",
        "--processes",
        "2",
        "--http-socket",
        f"127.0.0.1:{port}",
        "--enable-threads",
        "--py-call-uwsgi-fork-hooks",
    ]
    command += ["--virtualenv", sys.prefix, "--module", "tests.preloaded_service:app"]
    folder = {"PYTHONPATH": str(ROOT), "LISTS": url, "MAX_STALENESS": "0.5"}

    def answers(address: str) -> set[str]:
        path = f"/?account=acct-1&address={address}"
        return {ask(port, path=path).body.decode().split()[1] for _ in range(10)}

    with running(command, tmp_path, port, folder):
        manager.remove("acct-1", "8.8.8.0/24")
        eventually(lambda: answers("8.8.8.8") == {"False"})
        eventually(lambda: answers("1.1.1.1") == {"True"})


def test_workers_of_a_preloaded_service_follow(manager: RuleManager, url: str, tmp_path: Path) -> None:
    program("gunicorn", "pip install gunicorn")
    port = free_port()
    command = [sys.executable, "-m", "gunicorn", "--preload", "--workers", "3", "--bind", f"127.0.0.1:{port}"]
    folder = {"PYTHONPATH": str(ROOT), "LISTS": url}

    def answers(address: str) -> set[str]:
        """What each worker says, as far as they are reached."""
        path = f"/?account=acct-1&address={address}"
        said = [ask(port, path=path).body.decode().split() for _ in range(20)]
        workers.update(pid for pid, _ in said)
        return {allowed for _, allowed in said}

    workers: set[str] = set()
    with running([*command, "tests.preloaded_service:app"], tmp_path, port, folder):
        assert answers("8.8.8.8") == {"True"}
        manager.remove("acct-1", "8.8.8.0/24")
        eventually(lambda: answers("8.8.8.8") == {"False"})
        manager.add("acct-1", "9.9.9.9/32")
        eventually(lambda: answers("9.9.9.9") == {"True"})
        eventually(lambda: bool(answers("1.1.1.1")) and len(workers) == 3)
