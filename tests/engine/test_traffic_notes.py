"""Notes of checks in the engine: every check of a known account, once, and never under another account's name."""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections import Counter
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from cidrgate import Matcher
from cidrgate.traffic.notes import _NOTE, ALLOWED, IPV6
from tests.forks import in_child
from tests.length import length

if TYPE_CHECKING:
    from collections.abc import Callable

NAMES = ["acct-1", "acct-2", "sub-1", "sub-2", "new", "unknown"]
ADDRESSES = [
    "8.8.8.8",
    "8.8.8.9",
    "9.9.9.9",
    "0.0.0.0",
    "255.255.255.255",
    "2606:4700::1",
    "::1:2",
    "::",
    "::ffff:8.8.8.8",
]
CHECKS = ["allows", "allows_known", "_sure_known", "_sure_enforced", "_would_allow", "_would_allow_known"]

Seen = tuple[str | None, str, bool]


def new_matcher(capacity: int | None = 1024) -> Matcher:
    matcher = Matcher()
    matcher.publish("acct-1", ["8.8.8.0/24", "2606:4700::/32"])
    matcher.publish("acct-2", [])
    for name in ("sub-1", "sub-2"):
        matcher.link(name, parent="acct-1")
    if capacity is not None:
        matcher._record_traffic(capacity)
    return matcher


def collected(matcher: Matcher) -> tuple[list[Seen], int]:
    """What was noted since the last call, and how many notes were lost."""
    raw, lost, lists = matcher._collect_traffic()
    notes = np.frombuffer(raw, _NOTE)
    names = matcher._names_of_rows(notes["row"].copy(), lists)
    seen = []
    for name, (hi, lo, _, flags) in zip(names, notes.tolist(), strict=True):
        address = ip_address((hi << 64 | lo).to_bytes(16, "big") if flags & IPV6 else (hi >> 32).to_bytes(4, "big"))
        seen.append((name, str(address), bool(flags & ALLOWED)))
    return seen, lost


@settings(max_examples=length(60, 500))
@given(st.lists(st.tuples(st.sampled_from(CHECKS), st.sampled_from(NAMES), st.sampled_from(ADDRESSES)), max_size=40))
def test_every_check_of_a_known_account_is_noted_once_with_its_answer(asked: list[tuple[str, str, str]]) -> None:
    matcher = new_matcher()
    expected: list[Seen] = []
    for how, name, address in asked:
        if name == "new" and name not in matcher:
            matcher.publish("new", ["9.9.9.0/24"])
        answer = getattr(matcher, how)(name, address)
        noted = answer if how.startswith("_sure") else not how.startswith("_would")
        if name != "unknown" and noted:
            expected.append((name, str(ip_address(address.removeprefix("::ffff:"))), answer))
    assert collected(matcher) == (expected, 0)
    assert collected(matcher) == ([], 0)


def test_nothing_is_noted_without_being_asked_for_and_after_the_end() -> None:
    matcher = new_matcher(None)
    matcher.allows("acct-1", "8.8.8.8")
    matcher._note("acct-1", "8.8.8.8", allowed=True)
    assert collected(matcher) == ([], 0)
    matcher._record_traffic(4)
    matcher.allows("acct-1", "8.8.8.8")
    matcher._end_traffic()
    matcher.allows("acct-1", "8.8.8.8")
    assert collected(matcher) == ([("acct-1", "8.8.8.8", True)], 0)
    for wrong in (0, 3):
        with pytest.raises(ValueError, match="power of two"):
            matcher._record_traffic(wrong)


def test_a_full_ring_loses_the_newest_notes_and_counts_them() -> None:
    matcher = new_matcher(4)
    for last in range(10):
        matcher._note("acct-1", f"8.8.8.{last}", allowed=True)
        matcher._note("unknown", "8.8.8.8", allowed=True)
    seen, lost = collected(matcher)
    assert ([address for _, address, _ in seen], lost) == ([f"8.8.8.{last}" for last in range(4)], 6)
    for _ in range(100):  # the positions go around
        for last in range(3):
            matcher._note("acct-1", f"8.8.8.{last}", allowed=False)
        assert collected(matcher) == ([("acct-1", f"8.8.8.{last}", False) for last in range(3)], 0)


def test_a_row_never_gets_the_name_of_another_account() -> None:
    matcher = new_matcher()
    for name in ("sub-1", "acct-2", "acct-1"):
        matcher.allows(name, "8.8.8.8")
    matcher.discard("sub-1")
    matcher.discard("acct-2")
    matcher.publish("acct-3", ["8.8.8.0/24"])
    matcher.publish("acct-2", ["8.8.8.0/24"])
    assert [name for name, _, _ in collected(matcher)[0]] == [None, None, "acct-1"]
    matcher.allows("acct-1", "8.8.8.8")
    raw, _, lists = matcher._collect_traffic()
    rows = np.frombuffer(raw, _NOTE)["row"].copy()
    matcher.allows("acct-1", "8.8.8.8")
    other = Matcher()
    other.publish("another", ["8.8.8.0/24"])
    matcher.adopt(other)
    assert matcher._names_of_rows(rows, lists) == [None]
    matcher.allows("another", "8.8.8.8")
    assert collected(matcher) == ([("another", "8.8.8.8", True)], 1)
    outside = np.array([-1, 2**31 - 1, 0, 1000], np.int32)
    assert matcher._names_of_rows(outside, matcher._collect_traffic()[2]) == [None] * 4


def test_subaccounts_are_found_by_their_rows_among_many() -> None:
    matcher = new_matcher()
    names = [f"sub-of-{number % 7}-{number}" for number in range(500)]
    for parent in range(7):
        matcher.publish(f"parent-{parent}", ["8.8.8.0/24"])
    for number, name in enumerate(names):
        matcher.link(name, parent=f"parent-{number % 7}")
    for name in names:
        assert matcher.allows(name, "8.8.8.8")
    assert collected(matcher) == ([(name, "8.8.8.8", True) for name in names], 0)


def in_threads(*targets: Callable[[], object]) -> None:
    failed: list[BaseException] = []

    def run(target: Callable[[], object]) -> None:
        try:
            target()
        except BaseException as error:  # noqa: BLE001
            failed.append(error)

    threads = [threading.Thread(target=run, args=(target,)) for target in targets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failed == []


def test_threads_lose_no_note_that_is_not_counted() -> None:
    matcher, rounds = new_matcher(256), length(4_000, 100_000)
    expected = Counter({(f"acct-{1 + place % 2}", f"8.8.{place}.8"): rounds for place in range(4)})
    found: Counter[tuple[str | None, str]] = Counter()
    lost = 0
    working = threading.Semaphore(0)

    def check(place: int) -> None:
        for _ in range(rounds):
            matcher.allows(f"acct-{1 + place % 2}", f"8.8.{place}.8")
        working.release()

    def collect() -> None:
        nonlocal lost
        done = 0
        while done < 4:
            done += working.acquire(timeout=0.0005)
            seen, more = collected(matcher)
            found.update((name, address) for name, address, _ in seen)
            lost += more

    in_threads(*(lambda place=place: check(place) for place in range(4)), collect)
    seen, more = collected(matcher)
    found.update((name, address) for name, address, _ in seen)
    assert found <= expected
    assert found.total() + lost + more == expected.total()


def test_a_forked_child_begins_with_empty_rings() -> None:
    matcher = new_matcher(8)
    for _ in range(9):
        matcher.allows("acct-1", "8.8.8.8")

    def check() -> object:
        first = collected(matcher)
        matcher.allows("sub-1", "8.8.8.9")
        return [*first, *collected(matcher)]

    assert in_child(check) == {"made": [[], 0, [["sub-1", "8.8.8.9", True]], 0]}
    assert collected(matcher) == ([("acct-1", "8.8.8.8", True)] * 8, 1)


def test_the_rings_of_a_build_without_a_gil_tear_and_double_no_note(tmp_path: Path) -> None:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler: apt-get install gcc")
    source, program = Path(__file__).with_name("traffic_rings.c"), tmp_path / "rings"
    flags = ["-O2", "-Wall", "-Werror", f"-I{Path(__file__).parents[2] / 'ext'}"]
    subprocess.run([compiler, *flags, str(source), "-o", str(program), "-lpthread"], check=True, timeout=60)
    done = subprocess.run([str(program)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout
    found, _ = map(int, done.stdout.split())
    assert found > 10_000
