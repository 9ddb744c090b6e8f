"""Denials that repeat one another: the first is written at once, the others are counted, and no flood fills a disk."""

from __future__ import annotations

import gc
import json
import logging
import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from cidrgate import Gate, Matcher
from cidrgate.errors import MissingAccountError
from cidrgate.gate.repeated_denials import MOST_LINES, MOST_PAIRS
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator


class Heard(logging.Handler):
    """The text of every line of the decision log, read as JSON."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[dict[str, Any]] = []

    def emit(self, record: logging.LogRecord) -> None:
        line = json.loads(record.getMessage())
        if not (line.get("account") or "log-").startswith("log-"):  # of a gate of another test
            return
        # A decision is a record for formatters, and a number of them is none.
        decision = getattr(record, "decision", None)
        assert (decision is None) == (line["event"] == "cidrgate.decisions_suppressed")
        assert decision is None or decision.items() <= line.items()
        self.lines.append(line)

    @property
    def counted(self) -> list[dict[str, Any]]:
        return [line for line in self.lines if line["event"] == "cidrgate.decisions_suppressed"]

    @property
    def denials(self) -> int:
        """How many there were, by what was written."""
        return sum(line.get("repeated", 1) for line in self.lines)


@pytest.fixture
def heard() -> Iterator[Heard]:
    gc.collect()  # gates of other tests complete their logs first
    logger, handler = logging.getLogger("cidrgate.decisions"), Heard()
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


def gate_of(**settings: Any) -> Gate:
    matcher = Matcher()
    matcher.publish("log-1", ["8.8.8.0/24"])
    matcher.publish("log-2", ["8.8.8.0/24"])
    return Gate(matcher, unlisted="deny", **settings)


def test_the_first_is_written_at_once_and_the_others_are_counted(heard: Heard) -> None:
    gate = gate_of()
    for account in ("log-1", "log-2"):
        for address in ("9.9.9.9", "1.1.1.1"):
            for _ in range(5):
                gate.decide(account, address)
    assert len(heard.lines) == 4
    assert gate.denials_suppressed == 16
    gate.flush_log()
    assert [(line["account"], line["address"], line["repeated"]) for line in heard.counted] == [
        (account, address, 4) for account in ("log-1", "log-2") for address in ("9.9.9.9", "1.1.1.1")
    ]
    assert {line["window_seconds"] for line in heard.counted} == {60.0}
    gate.flush_log()
    assert heard.denials == 20


def test_nothing_waits_for_the_next_denial(heard: Heard) -> None:
    gate = gate_of(log_every=0.05)
    gate.decide("log-1", "9.9.9.9")
    gate.decide("log-1", "9.9.9.9")
    eventually(lambda: heard.denials == 2)
    # The thread that wrote it is gone with it.
    eventually(lambda: gate._log._counted._writer is None)
    gate.decide("log-1", "9.9.9.9")
    gate.decide("log-1", "9.9.9.9")
    eventually(lambda: heard.denials == 4)


def test_a_gate_that_is_no_longer_used_completes_its_log(heard: Heard) -> None:
    gate = gate_of()
    for _ in range(3):
        gate.decide("log-1", "9.9.9.9")
    del gate
    gc.collect()
    assert heard.denials == 3


def test_a_process_that_ends_completes_its_log() -> None:
    code = (
        "import logging; logging.basicConfig(format='%(message)s'); from cidrgate import Gate, Matcher; "
        "gate = Gate(Matcher(), unlisted='deny'); [gate.decide('a', '9.9.9.9') for _ in range(7)]"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    first, counted = map(json.loads, done.stderr.splitlines())
    assert (first["event"], counted["event"]) == ("cidrgate.decision", "cidrgate.decisions_suppressed")
    assert counted["repeated"] == 6


def test_zero_writes_each(heard: Heard) -> None:
    gate = gate_of(log_every=0)
    for _ in range(5):
        gate.decide("log-1", "9.9.9.9")
    assert (len(heard.lines), heard.counted, gate.denials_suppressed) == (5, [], 0)


def test_what_would_be_denied_is_counted_alike(heard: Heard) -> None:
    gate = gate_of(report_only=True)
    for _ in range(5):
        assert gate.decide("log-1", "9.9.9.9").allowed
    gate.flush_log()
    assert [line["result"] for line in heard.lines] == ["would_deny", "would_deny"]
    assert heard.denials == 5


def test_what_is_allowed_is_written_each_time(heard: Heard) -> None:
    logging.getLogger("cidrgate.decisions").setLevel(logging.INFO)
    try:
        gate = gate_of(log="all")
        for _ in range(3):
            assert gate.decide("log-1", "8.8.8.8").allowed
    finally:
        logging.getLogger("cidrgate.decisions").setLevel(logging.NOTSET)
    assert len(heard.lines) == 3


def test_what_nobody_listens_to_is_not_counted() -> None:
    logger = logging.getLogger("cidrgate.decisions")
    logger.setLevel(logging.CRITICAL)
    try:
        gate = gate_of()
        for _ in range(3):
            gate.decide("log-1", "9.9.9.9")
        assert gate.denials_suppressed == 0
    finally:
        logger.setLevel(logging.NOTSET)


@pytest.mark.parametrize("flood", ["addresses", "accounts", "no address"])
def test_a_flood_makes_a_bounded_number_of_lines(flood: str, heard: Heard) -> None:
    """And every denial is in one of them."""
    gate = gate_of()
    for number in range(20_000):
        account = f"log-{number}" if flood == "accounts" else "log-1"
        peer = f"2001:db8::{number:x}" if flood == "addresses" else "nonsense" if flood == "no address" else "9.9.9.9"
        gate.decide(account, peer)
        gate.decide(account, peer)
    gate.flush_log()
    assert len(heard.lines) <= MOST_LINES + MOST_PAIRS + 1
    assert heard.denials == 40_000
    assert gate.denials_suppressed == 40_000 - sum(line["event"] == "cidrgate.decision" for line in heard.lines)


TOO_LONG = ("x" * 256, "é" * 60_000, "acct-1" + " " * 60_000, "\x01" * 60_000)
NO_NAMES = (*TOO_LONG, "acct-1\n", " acct-1", "a\u200bb", "", "\ud800")


@pytest.mark.parametrize("named", ["unlisted", "failure", "hook"])
def test_no_name_makes_a_long_line(named: str) -> None:
    lines: list[str] = []

    class Lengths(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage() + str(record.__dict__["cidrgate"]))

    logger, handler = logging.getLogger("cidrgate.decisions"), Lengths()
    logger.addHandler(handler)
    try:
        gate = gate_of(hooks=[lambda verdict: 1 / 0] if named == "hook" else [])
        for name in NO_NAMES:
            failure = LookupError("no key") if named == "failure" else None
            verdict = gate.decide(name, "8.8.8.8", failure=failure)
            assert not verdict.allowed
            assert verdict.account == (None if len(name) > 255 else name)
        gate.flush_log()
    finally:
        logger.removeHandler(handler)
    assert max(map(len, lines)) < 2_000


def test_names_that_no_account_can_have_are_one_line(heard: Heard) -> None:
    gate = gate_of()
    for number in range(300):
        assert gate.decide(f"log-{number}\n", "8.8.8.8").reason == "unclear_account"
        gate.decide(f"log-{number}" * 1_000, "8.8.8.8")
    gate.decide(None, "8.8.8.8", failure=MissingAccountError("none"))
    gate.flush_log()
    assert [(line["reason"], line.get("repeated")) for line in heard.lines] == [
        ("unclear_account", None),
        ("no_account", None),
        ("unclear_account", 599),
    ]


def test_threads_lose_no_denial(heard: Heard) -> None:
    gate = gate_of(log_every=0.01)

    def deny(number: int) -> None:
        for step in range(500):
            gate.decide("log-1", f"9.9.{number}.{step % 7}")

    threads = [threading.Thread(target=deny, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    gate.flush_log()
    eventually(lambda: heard.denials == 2000)


def test_a_forked_child_counts_its_own_denials_alone(heard: Heard) -> None:
    gate = gate_of()
    for _ in range(3):
        gate.decide("log-1", "9.9.9.9")
    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        try:
            heard.lines.clear()
            gate.decide("log-1", "9.9.9.9")
            gate.decide("log-1", "9.9.9.9")
            gate.flush_log()
            os.write(writer, json.dumps([heard.denials, len(heard.lines)]).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert json.loads(os.read(reader, 1000)) == [2, 2]
    os.close(reader)
    os.close(writer)
    gate.flush_log()
    assert heard.denials == 3


@pytest.mark.parametrize("log_every", [-1, float("inf"), float("nan")])
def test_no_number_of_seconds_is_refused(log_every: float) -> None:
    with pytest.raises(ValueError, match="log_every must be a number of seconds"):
        gate_of(log_every=log_every)


@pytest.mark.parametrize("log_every", ["60", None, True])
def test_what_is_no_number_is_refused(log_every: object) -> None:
    with pytest.raises(TypeError, match="log_every must be a number of seconds"):
        gate_of(log_every=log_every)


def test_a_hook_may_count_what_was_not_written() -> None:
    class Hook:
        counted = 0

        def __call__(self, _: object) -> None: ...

        def count_allowed(self, account: str, reason: str, seconds: float) -> None: ...

        def count_suppressed(self) -> None:
            self.counted += 1

    hook = Hook()
    gate = gate_of(hooks=[hook])
    for _ in range(5):
        gate.decide("log-1", "9.9.9.9")
    assert hook.counted == gate.denials_suppressed == 4
