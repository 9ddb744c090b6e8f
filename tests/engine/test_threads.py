"""Readers while somebody publishes: every answer is that of one list or the other, never of a mixture."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from cidrgate import AccountNotFoundError, Matcher, SubaccountError

READERS = 8
SECONDS = 2.0


@pytest.mark.slow
def test_no_reader_sees_a_mixture() -> None:
    # Two disjoint lists of different sizes, the second one large enough for another kind of block.
    lists = [[f"8.8.{n}.0/24" for n in range(40)], [f"9.{n >> 8}.{n & 255}.0/24" for n in range(200)]]
    inside = [[f"8.8.{n}.1" for n in range(40)], [f"9.0.{n}.1" for n in range(40)]]
    numbers = np.array([[8 << 24 | 8 << 16 | n << 8 | 1, 9 << 24 | n << 8 | 1] for n in range(40)], dtype=np.uint32)
    batch = np.tile(numbers.reshape(-1), 500)
    matcher = Matcher()
    matcher.publish("acct-1", lists[0])
    matcher.link("sub-1", parent="acct-1")
    stop = threading.Event()
    mixtures: list[str] = []
    seen: list[set[int]] = [set() for _ in range(READERS)]

    def read(number: int) -> None:
        names = ["acct-1", "sub-1"][number % 2 :: 2]
        rows = np.full(len(batch), matcher.rows(names)[0], dtype=np.int32)
        while not stop.is_set():
            if number % 4 < 2:
                answers = matcher.allows_many(names[0], batch).reshape(-1, 2)
                if not (answers[:, 0] == answers[0, 0]).all() or not (answers[:, 0] != answers[:, 1]).all():
                    mixtures.append("one list is read for a whole array")
                seen[number].add(int(answers[0, 1]))
            elif number % 4 == 2:
                prefixes = matcher.prefixes(names[0])
                if prefixes not in lists:
                    mixtures.append(f"{len(prefixes)} prefixes")
                seen[number].add(lists.index(prefixes))
            else:
                match = [matcher.match(names[0], inside[which][7]) for which in (0, 1)]
                seen[number] |= {which for which in (0, 1) if match[which] == lists[which][7]}
                # By row, the list may change between elements, but each answer is one list's.
                matcher.allows_many(rows, batch)
                if any(match[which] not in (None, lists[which][7]) for which in (0, 1)):
                    mixtures.append(str(match))

    threads = [threading.Thread(target=read, args=(number,)) for number in range(READERS)]
    for thread in threads:
        thread.start()
    end = time.monotonic() + SECONDS
    published = 0
    while time.monotonic() < end:
        published += 1
        matcher.publish("acct-1", lists[published % 2])
        matcher.publish(f"other-{published % 100}", lists[published % 2][: published % 30])
        # An odd number, so that readers that wait for the GIL meet both lists.
        if published % 51 == 0:
            time.sleep(0.001)
    stop.set()
    for thread in threads:
        thread.join()
    assert mixtures == []
    assert all(states == {0, 1} for states in seen), seen
    assert published > 100


def test_rows_are_answered_while_blocks_are_reused() -> None:
    matcher = Matcher()
    accounts = [f"acct-{number}" for number in range(200)]
    # Every list of an account holds its own network, so its answer never changes, whatever else is listed.
    own = np.array([10 << 24 | number << 8 for number in range(200)], dtype=np.uint32)
    for number, account in enumerate(accounts):
        matcher.publish(account, [f"10.0.{number}.0/24"])
    rows = np.tile(matcher.rows(accounts), 200)
    addresses, others = np.tile(own, 200), np.tile(np.roll(own, 1), 200)
    stop = threading.Event()
    wrong: list[int] = []
    rounds = [0, 0]

    def read(number: int) -> None:
        while not stop.is_set():
            allowed, denied = matcher.allows_many(rows, addresses), matcher.allows_many(rows, others)
            if not allowed.all() or denied.any():
                wrong.append(number)
            rounds[number] += 1

    threads = [threading.Thread(target=read, args=(number,)) for number in (0, 1)]
    for thread in threads:
        thread.start()
    end = time.monotonic() + SECONDS
    step = 0
    while time.monotonic() < end:
        step += 1
        number = step * 7 % 200
        more = [f"11.{n >> 8}.{n & 255}.0/24" for n in range(step * 13 % 90)]
        matcher.publish(accounts[number], [f"10.0.{number}.0/24", *more])
        # Growth of the index and of the rows under the readers.
        matcher.publish(f"new-{step % 5_000}", more[:3])
    stop.set()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert min(rounds) > 10


def test_single_questions_and_several_writers() -> None:
    # On a free-threaded Python these really run side by side; with a GIL they interleave.
    writers, accounts_each, rounds = 3, 20, 8_000
    matcher = Matcher()
    names = [[f"acct-{writer}-{n}" for n in range(accounts_each)] for writer in range(writers)]
    for writer in range(writers):
        for n, name in enumerate(names[writer]):
            matcher.publish(name, [f"10.{writer}.{n}.0/24"])
    finished: list[int] = []
    wrong: list[str] = []
    asked = [0, 0]

    def write(writer: int) -> None:
        source = random.Random(writer)
        for step in range(rounds):
            n = source.randrange(accounts_each)
            more = [f"11.{k >> 8}.{k & 255}.0/24" for k in range(source.choice([0, 1, 30, 70, 300]))]
            matcher.publish(names[writer][n], [f"10.{writer}.{n}.0/24", *more])
            # Names all writers change, so that they meet in the index, in the rows and in one parent's kin.
            shared = f"shared-{source.randrange(50)}"
            try:
                (matcher.discard if step % 3 == 0 else matcher.publish)(shared, *([] if step % 3 == 0 else [more[:5]]))
                matcher.link(f"sub-{source.randrange(50)}", source.choice([shared, names[writer][n]]))
            except (SubaccountError, AccountNotFoundError):
                pass
            if step % 4 == 0:
                matcher._publish_moved(f"sub-{source.randrange(50)}", more[:2])
            matcher.publish(f"own-{writer}-{step}", more[:3], when_empty="deny")
            matcher.discard(f"own-{writer}-{step - 5}")
        finished.append(writer)

    def read(number: int) -> None:
        source = random.Random(number)
        while len(finished) < writers:
            writer, n = source.randrange(writers), source.randrange(accounts_each)
            name, inside, outside = names[writer][n], f"10.{writer}.{n}.1", f"10.{writer}.{n + 1}.1"
            asked[number] += 1
            if not matcher.allows(name, inside) or matcher.allows(name, outside) or not matcher.enforced(name):
                wrong.append(name)
            if matcher.match(name, inside) != f"10.{writer}.{n}.0/24" or name not in matcher:
                wrong.append(f"match of {name}")
            if matcher.prefixes(name)[0] != f"10.{writer}.{n}.0/24":
                wrong.append(f"prefixes of {name}")
            shared, subaccount = f"shared-{source.randrange(50)}", f"sub-{source.randrange(50)}"
            if matcher._parent_of(subaccount) == subaccount:
                wrong.append(f"parent of {subaccount}")
            matcher.allows(shared, inside), matcher.match(subaccount, inside), matcher.rows([shared, subaccount, name])
            if asked[number] % 100 == 0:
                assert matcher.nbytes > 0
                assert matcher.note == b""
                assert len(matcher) > 0

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(writers)]
    threads += [threading.Thread(target=read, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert min(asked) > 20
    for writer in range(writers):
        for n, name in enumerate(names[writer]):
            assert matcher.prefixes(name)[0] == f"10.{writer}.{n}.0/24"
        kept = [step for step in range(rounds) if f"own-{writer}-{step}" in matcher]
        assert kept == list(range(rounds - 5, rounds))
    known = [name for name in (f"{kind}-{n}" for kind in ("shared", "sub") for n in range(50)) if name in matcher]
    assert len(matcher) == len(known) + writers * (accounts_each + 5)
    rows = matcher.rows(known).tolist()
    assert len(set(rows)) == len(rows)
    assert min(rows) >= 0


def test_a_forked_child_does_not_wait_for_readers_of_its_parent() -> None:
    command = [sys.executable, "-m", "tests.engine.forked_readers", "5"]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    assert (done.stdout.split(), done.stderr) == (["0"], "")


FORKS_DURING_AN_IMPORT = """
import os, signal, sys, threading, time
from cidrgate import Matcher

class Slow:
    def find_spec(self, name, path=None, target=None):
        if name == "numpy.linalg":
            begun.set()
            time.sleep(0.5)

begun = threading.Event()
sys.meta_path.insert(0, Slow())
matcher = Matcher()
matcher.publish("acct-1", ["8.8.8.0/24"])
assert "numpy" not in sys.modules
thread = threading.Thread(target=matcher.allows_many, args=["acct-1", ["8.8.8.8"]])
thread.start()
begun.wait()
child = os.fork()
if child == 0:
    signal.alarm(60)
    os._exit(0 if matcher.allows_many("acct-1", ["8.8.8.8", "9.9.9.9"]).tolist() == [True, False] else 1)
thread.join()
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), matcher.allows_many("acct-1", ["8.8.8.8"]).tolist())
"""


def test_a_fork_waits_for_an_import_of_numpy_by_another_thread() -> None:
    """The lock of a module that is being imported would never be free in the child."""
    done = subprocess.run([sys.executable, "-c", FORKS_DURING_AN_IMPORT], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("0 [True]", "")


def test_readers_find_no_other_account_in_a_slot_that_is_reused() -> None:
    # All names take turns in a small index, and each list has addresses that no other has.
    matcher = Matcher()
    names = [f"acct-{number}" for number in range(40)]
    asked = pa.array([name for name in names for _ in range(50)])
    inside = [f"10.{number}.0.1" for number in range(len(names)) for _ in range(50)]
    wrong: list[str] = []
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            # A name is unknown, and allowed, or has its own list.
            if not matcher.allows_many(asked, inside).all():
                wrong.append("many")
            for number, name in enumerate(names):
                one = [f"10.{number}.0.1"]
                if not (matcher.allows(name, one[0]) and matcher.allows_many(name, one).all()):
                    wrong.append(name)

    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    source = random.Random(3)
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        number = source.randrange(len(names))
        matcher.publish(names[number], [f"10.{number}.0.0/16"])
        matcher.discard(source.choice(names))
    stop.set()
    for thread in threads:
        thread.join()
    assert wrong == []
