"""What a record of traffic costs, how exact it is, and what memory it takes: `python -m benchmarks.traffic [--smoke]`.

Writes `benchmarks/results/traffic.md`. Off and on are measured in turns, by processor time, so that a machine with
other work to do is as unfair to one as to the other. The thread that collects is stopped here, and what it does is
timed by itself: the sum of both is what a request costs.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from ipaddress import ip_network
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from benchmarks.edge_apps import CLIENT, asgi_on_the_way, wsgi_on_the_way
from benchmarks.edges import HEADERS, REQUESTS, time_wsgi
from benchmarks.memory import resident
from benchmarks.report import machine
from cidrgate import ClientIPResolver, Gate, Matcher, RuleManager
from cidrgate.authorize import AuthorizeApp
from cidrgate.traffic import Traffic, recorder as recording
from cidrgate.traffic.notes import network_text, sums_of
from cidrgate.traffic.sums import Sums

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["main"]

SMOKE = "--smoke" in sys.argv[1:]
PAGE = Path(__file__).parent / "results" / "traffic.md"
CHECKS, TURNS = (2_000, 3) if SMOKE else (50_000, 31)
MOST_OF_A_CHECK, MOST_OF_A_REQUEST = 10.0, 200.0
"""Nanoseconds that a record may cost."""
ACCOUNTS = 10_000 if SMOKE else 1_000_000
MOST_MEMORY = 100.0
"""Megabytes that a record may take, however many accounts there are."""
PROXY = "10.0.0.1"


def met(holds: bool) -> str:
    """How a bar was met."""
    return "met" if holds else "falls short"


def a_manager(traffic: Traffic | None) -> RuleManager:
    """Lists in memory, whose record nobody collects but this benchmark."""
    manager = RuleManager.open("memory://", follow=False, traffic=traffic)
    if manager._recorder is not None:
        recorder = manager._recorder
        end_threads(recorder)
    manager.create_account("acct-1")
    manager.policy = type(manager.policy)(allow_special=True)
    manager.add("acct-1", [f"{CLIENT}/32", *(f"8.8.8.{8 + 4 * number}/30" for number in range(49))])
    return manager


def of_checks(ask: Callable[[str, str], object]) -> float:
    """Nanoseconds of processor time a check."""
    start = time.thread_time()
    for _ in range(CHECKS):
        ask("acct-1", CLIENT)
    return (time.thread_time() - start) / CHECKS * 1e9


def of_asgi(app: Any) -> float:
    """Nanoseconds of processor time a request to an ASGI application."""
    headers = [(b"host", b"api.example"), (b"accept", b"*/*"), (b"x-account", b"acct-1")]
    return _of_asgi(app, {"path": "/", "headers": headers, "client": (CLIENT, 4711)})


def of_authorize(app: Any) -> float:
    """Nanoseconds of processor time a request to the authorize endpoint, behind a proxy."""
    headers = [(b"host", b"api.example"), (b"x-forwarded-for", CLIENT.encode()), (b"x-account", b"acct-1")]
    return _of_asgi(app, {"path": "/v1/authorize", "headers": headers, "client": (PROXY, 4711)})


def _of_asgi(app: Any, more: dict[str, Any]) -> float:
    import asyncio

    scope = {"type": "http", "method": "GET", "query_string": b"", **more}

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start" and message["status"] != 200:
            raise SystemExit(f"a request was answered with {message['status']}")

    async def ask() -> float:
        start = time.thread_time()
        for _ in range(REQUESTS):
            await app(scope, receive, send)
        return (time.thread_time() - start) / REQUESTS * 1e9

    return asyncio.run(ask())


def of_wsgi(app: Any) -> float:
    """Nanoseconds of processor time a request to a WSGI application."""
    return time_wsgi(app, HEADERS) * 1e3


def cost() -> Iterator[str]:
    """The table of what a record costs."""
    managers = [a_manager(None), a_manager(Traffic())]
    gates = [Gate(manager, unlisted="deny_unknown") for manager in managers]
    behind = ClientIPResolver(trusted_proxies=[f"{PROXY}/32"])
    proxied = [Gate(manager, unlisted="deny_unknown", resolver=behind) for manager in managers]
    asgi, wsgi = ([way("guarded", gate) for gate in gates] for way in (asgi_on_the_way, wsgi_on_the_way))
    cases: list[tuple[str, float, Callable[[Any], float], list[Any]]] = [
        ("`matcher.allows`", MOST_OF_A_CHECK, of_checks, [one.matcher.allows for one in managers]),
        ("`gate.allows_peer`", MOST_OF_A_CHECK, of_checks, [one.allows_peer for one in gates]),
        ("`manager.allows`", MOST_OF_A_CHECK, of_checks, [one.allows for one in managers]),
        ("`gate.decide`", MOST_OF_A_REQUEST, of_checks, [one.decide for one in gates]),
        ("ASGI middleware", MOST_OF_A_REQUEST, of_asgi, asgi),
        ("WSGI middleware", MOST_OF_A_REQUEST, of_wsgi, wsgi),
        ("authorize endpoint, behind a proxy", MOST_OF_A_REQUEST, of_authorize, [AuthorizeApp(one) for one in proxied]),
    ]
    yield "## Cost"
    yield ""
    yield (
        f"Processor time of the thread that asks, medians of {TURNS} turns: of {CHECKS:,} checks, or of {REQUESTS:,} "
        "requests. Added is the median of the differences."
    )
    yield ""
    yield "| | off, ns | on, ns | added, ns | bar |"
    yield "|---|---|---|---|---|"
    recorder = managers[1]._recorder
    assert recorder is not None
    for name, most, timed, (off, on) in cases:
        turns = []
        for number in range(TURNS):
            if number % 2:
                turns.append((timed(off), timed(on)))
            else:
                turns.append((timed(on), timed(off))[::-1])
            recorder._matcher._collect_traffic()  # a full ring would make it cheaper
        without, with_record = (statistics.median(column) for column in zip(*turns, strict=True))
        added = statistics.median(two - one for one, two in turns)
        yield f"| {name} | {without:.0f} | {with_record:.0f} | {added:.1f} | ≤ {most:g}: {met(added <= most)} |"
    yield ""
    yield from collecting()
    for manager in managers:
        manager.close()


def end_threads(recorder: recording.Recorder) -> None:
    """End the threads of a recorder, which is used by this benchmark only from now on."""
    recorder._ended.set()
    recorder._collector.join()
    recorder._storer.join()


def collecting() -> Iterator[str]:
    """What the thread that collects spends on a note."""
    matcher, random = Matcher(), Random(5)
    for number in range(1_000):
        matcher.publish(f"acct-{number}", ["8.0.0.0/8"])
    matcher._record_traffic(recording._CAPACITY)
    asked = [(f"acct-{random.randrange(1_000)}", f"8.8.{random.randrange(20)}.8") for _ in range(CHECKS)]
    settings, spent, rounds = Traffic(), 0.0, 5 if SMOKE else 20
    sums = Sums(settings)
    for _ in range(rounds):
        for account, address in asked:
            matcher.allows(account, address)
        start = time.thread_time()
        notes, _, _ = matcher._collect_traffic()
        sums.add(sums_of(notes, 0, settings))
        spent += time.thread_time() - start
    start = time.thread_time()
    taken = sums.take()
    spent += time.thread_time() - start
    yield (
        f"The thread that collects spends {spent / rounds / CHECKS * 1e9:.0f} ns on a note: of {rounds} collections of "
        f"{CHECKS:,} notes, about 1,000 accounts with 20 addresses each, summed up to {len(taken.sums):,} observations."
    )
    yield from storing()


def storing() -> Iterator[str]:
    """What it takes to store an observation."""
    with tempfile.TemporaryDirectory() as folder:
        manager = RuleManager.open(f"{folder}/lists.db", create=True, follow=False, traffic=Traffic())
        recorder = manager._recorder
        if recorder is None:
            raise SystemExit("no traffic is recorded")
        end_threads(recorder)
        manager.import_accounts({f"acct-{number}": ["8.0.0.0/8"] for number in range(1_000)})
        times = []
        for _ in range(3):
            for number in range(1_000):
                for last in range(20):
                    manager.allows(f"acct-{number}", f"8.8.8.{last}")
            start = time.thread_time()
            recorder.store()
            times.append((time.thread_time() - start) / 20_000 * 1e6)
        first, *again = times
        manager.close()
    yield (
        f"To store one in SQLite takes {first:.0f} µs the first time on a day, and {min(again):.0f} µs to add to it, "
        "once a minute."
    )


def accuracy() -> Iterator[str]:
    """The table of exact counts and observations."""
    yield "## Accuracy"
    yield ""
    yield (
        "One account with many networks, skewed by Zipf's law, in one interval, with `most_allowed` = 1,000. Exact "
        "counts are a `Counter` of the same requests. Beside it, 1,000 accounts with 20 networks each."
    )
    yield ""
    yield (
        "| networks | requests | kept networks | of the requests | largest error | stated error | the 100 busiest kept "
        "| accounts beside it |"
    )
    yield "|---|---|---|---|---|---|---|---|"
    from datasketches import frequent_strings_sketch

    for networks, skew in [(1_000, 1.0), (20_000, 1.2), (20_000, 1.0), (20_000, 0.0)]:
        random, settings, number = Random(7), Traffic(), 20_000 if SMOKE else 200_000
        matcher = Matcher()
        matcher.publish("busy", ["8.0.0.0/8"])
        for each in range(1_000):
            matcher.publish(f"acct-{each}", ["8.0.0.0/8"])
        matcher._record_traffic(recording._CAPACITY)
        texts = [f"8.{one >> 16}.{one >> 8 & 255}.{one & 255}" for one in range(networks)]
        weights = [1 / (1 + place) ** skew for place in range(networks)]
        exact: Counter[tuple[str, str]] = Counter()
        sums, lists = Sums(settings), 0
        for _ in range(0, number, 20_000):
            some = [("busy", one) for one in random.choices(texts, weights, k=19_000)]
            some += [(f"acct-{random.randrange(1_000)}", f"8.8.8.{random.randrange(20)}") for _ in range(1_000)]
            exact.update(some)
            for account, address in some:
                matcher.allows(account, address)
            notes, lost, lists = matcher._collect_traffic()
            assert lost == 0
            sums.add(sums_of(notes, 0, settings))
        taken = sums.take().sums
        names = matcher._names_of_rows(taken["row"].copy(), lists)
        found: dict[tuple[str, str], int] = {}
        for name, (hi, lo, _, flags, requests, *_) in zip(names, taken.tolist(), strict=True):
            found[str(name), str(ip_network(network_text(hi, lo, flags, settings)).network_address)] = requests
        busy = {key: one for key, one in exact.items() if key[0] == "busy"}
        kept = {key: one for key, one in found.items() if key[0] == "busy"}
        error = max(busy[key] - one for key, one in kept.items())
        assert min(busy[key] - one for key, one in kept.items()) >= 0
        stated = 0.0
        if len(busy) > settings.most_allowed:
            stated = frequent_strings_sketch.get_epsilon_for_lg_size(11) * sum(busy.values())
        top = sorted(busy, key=lambda key: -busy[key])[:100]
        beside = all(found.get(key) == one for key, one in exact.items() if key[0] != "busy")
        yield (
            f"| {networks:,}, exponent {skew:g} | {sum(busy.values()):,} | {len(kept):,} "
            f"| {sum(kept.values()) / sum(busy.values()):.1%} | {error:,} | {stated:,.0f}: {met(error <= stated)} "
            f"| {sum(key in kept for key in top)} | {'exact' if beside else 'not exact'} |"
        )


def memory() -> Iterator[str]:
    """The table of what a record takes in memory, each row a process of its own."""
    yield "## Memory"
    yield ""
    yield (
        f"Growth of a process with {ACCOUNTS:,} accounts of which all act, from many addresses, until all bounds are "
        "reached; the store does not answer."
    )
    yield ""
    yield "| accounts | requests | growth at its highest, MB | a bar | kept in memory, observations | lost |"
    yield "|---|---|---|---|---|---|"
    for accounts in sorted({1_000, ACCOUNTS}):
        command = [sys.executable, "-m", "benchmarks.traffic", "grow", str(accounts), *(["--smoke"] * SMOKE)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        row = json.loads(done.stdout)
        grown = row["grown"] / 1e6
        yield (
            f"| {accounts:,} | {row['noted']:,} | {grown:.0f} | ≤ {MOST_MEMORY:g}: {met(grown <= MOST_MEMORY)} "
            f"| {row['kept']:,} | {row['lost'] / row['noted']:.0%} |"
        )


def grow(accounts: int) -> None:
    """Let all accounts of a matcher act while nothing can be stored, and print by how much this process grows."""
    matcher, random = Matcher(), Random(3)
    for number in range(accounts):
        matcher.publish(f"acct-{number}", ["8.0.0.0/8"])
    owner = _Failing()
    before = resident()
    recorder = recording.Recorder(matcher, owner.write, owner.log_end, Traffic())
    end_threads(recorder)
    highest = 0
    for part in range(4 if SMOKE else 40):
        for _ in range(50_000):
            number = random.randrange(accounts) if part % 2 else random.randrange(20)
            matcher.allows(f"acct-{number}", f"8.{random.randrange(256)}.{random.randrange(256)}.1")
        recorder.collect()
        if recorder._sums.full:
            recorder.name_rows()
        highest = max(highest, resident())
    counts = recorder.counts
    kept = sum(len(one.sums) for one in recorder._parts)
    json.dump({"grown": highest - before, "noted": counts.noted, "lost": counts.lost, "kept": kept}, sys.stdout)


class _Failing:
    """The owner of a store that does not answer."""

    def write(self, make: object) -> int:
        """Store nothing."""
        raise SystemExit("nothing is stored here")

    def log_end(self) -> int:
        """Return the end of an empty change log."""
        return 0


def main() -> None:
    """Measure, print, and write the page unless this is only a smoke run."""
    if "grow" in sys.argv[1:]:
        grow(int(sys.argv[sys.argv.index("grow") + 1]))
        return
    lines = ["# What a record of traffic costs", "", "Written by `python -m benchmarks.traffic`.", ""]
    lines += [f"- {name}: {value}" for name, value in machine(["cidrgate", "numpy", "datasketches"]).items()]
    lines.append(f"- load average when it began: {os.getloadavg()[0]:.1f}")
    for part in (cost(), accuracy(), memory()):
        lines.append("")
        for line in part:
            lines.append(line)
            print(line, flush=True)
    if not SMOKE:
        PAGE.write_text("\n".join([*lines, ""]), encoding="utf-8")


if __name__ == "__main__":
    main()
