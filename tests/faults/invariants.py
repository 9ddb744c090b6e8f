"""What must hold after every fault, and the notes it is checked by."""

from __future__ import annotations

import os
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from cidrgate import OutcomeUnknownError, RuleManager, StoreError
from tests.change_log import Replay, assert_consistent
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from cidrgate import Change

__all__ = [
    "ACCOUNTS",
    "ROUNDS",
    "SECONDS",
    "Ledger",
    "Node",
    "beside",
    "check",
    "no_stranger",
    "prepare",
    "report",
    "writers",
]

SECONDS = float(os.environ.get("CIDRGATE_FAULT_SECONDS", "1"))
"""How long a fault lasts; a minute in `make faults`."""

ROUNDS = max(2, round(SECONDS / 4))
"""How often what lasts a moment is done in that time."""

ACCOUNTS = tuple(f"acct-{number}" for number in range(6))

STRANGER = "203.0.114.9"
"""An address that no list of these tests ever holds."""


class Lists(Protocol):
    """What a node serves."""

    def prefixes(self, account: str, /) -> list[str]: ...


class Node(Protocol):
    """A process that answers: a manager here, or what asks another process."""

    @property
    def matcher(self) -> Lists: ...

    def allows(self, account: str, address: str, /) -> bool: ...


@dataclass
class Ledger:
    """What was asked for, and what was answered. Each change is told from every other by the label of its entry.

    Attributes:
        acknowledged: Labels of the changes that were said to be stored.
        refused: Of those after which nothing was said to be changed.
        unknown: Of those of which nobody knew.
        unreached: Of those that nobody was there to take.
        seconds: How long each took.
        strangers: When, and by whom, an address was allowed that is on no list.
        errors: What the refusals said, by how often.
    """

    acknowledged: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)
    unknown: set[str] = field(default_factory=set)
    unreached: set[str] = field(default_factory=set)
    seconds: list[float] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)
    errors: dict[str, int] = field(default_factory=dict)

    def wait_for_more(self, number: int = 5) -> None:
        """Wait until so many more changes are acknowledged."""
        before = len(self.acknowledged)
        eventually(lambda: len(self.acknowledged) >= before + number)

    def note(self, error: str) -> None:
        """Count an error."""
        self.errors[error] = self.errors.get(error, 0) + 1


def prepare(url: str) -> None:
    """Create the accounts, each enforced."""
    with RuleManager.open(url, create=True, follow=False) as manager:
        for account in ACCOUNTS:
            manager.create_account(account)
            manager.add(account, "8.8.8.8/32")


def check(url: str, ledger: Ledger, followers: Iterable[Node] = (), *, read: Sequence[Change] = ()) -> None:
    """No acknowledged change is lost, no list invalid, each matcher equal to the store, and no stranger was allowed.

    Args:
        url: The store, as it is once the fault is over.
        ledger: What happened.
        followers: Nodes that lived through it.
        read: What was read of the log before it was pruned.
    """
    with RuleManager.open(url, follow=False) as store:
        replay = Replay()
        known = {change.sequence: change for change in [*read, *store.history()]}
        changes = [known[sequence] for sequence in sorted(known)]
        replay.feed(changes)
        logged = {entry.label for change in changes for entry in change.after}
        assert ledger.acknowledged - logged == set(), "acknowledged changes are lost"
        assert ledger.unreached & logged == set()
        assert ledger.refused & logged == set(), "changes are stored after it was said that nothing was changed"
        assert_consistent(store, replay)  # every list of the log is valid, and a matcher that starts now equals it
        lists = {account.name: [entry.cidr for entry in store.entries(account.name)] for account in store.accounts()}
    for follower in followers:
        eventually(lambda follower=follower: {n: follower.matcher.prefixes(n) for n in lists} == lists)  # type: ignore[misc]
    assert ledger.strangers == []


@contextmanager
def no_stranger(ledger: Ledger, *nodes: Node) -> Iterator[None]:
    """Ask all the while whether a stranger is allowed."""
    ended = threading.Event()

    def ask() -> None:
        while not ended.wait(0.002):
            for node in nodes:
                for account in ACCOUNTS:
                    if node.allows(account, STRANGER):
                        ledger.strangers.append(f"{time.time()} {account}")

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        yield
    finally:
        ended.set()
        asking.join()


@contextmanager
def beside(work: Callable[[int], object], threads: int, ended: threading.Event) -> Iterator[None]:
    """Do something in several threads, each told its number, until `ended` is set at the end of the block."""
    running = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    for thread in running:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        for thread in running:
            thread.join()


@contextmanager
def writers(
    ledger: Ledger, managers: Sequence[RuleManager], *, accounts: Sequence[str] = ACCOUNTS, threads: int = 4
) -> Iterator[None]:
    """Change lists all the while, and note what each change came to."""
    ended = threading.Event()

    def write(number: int) -> None:
        step = 0
        while not ended.is_set():
            step += 1
            label = f"w{number}-{step}"
            cidr = f"9.{number}.{step >> 8 & 255}.{step & 255}/32"
            manager, account = managers[step % len(managers)], accounts[(number + step) % len(accounts)]
            attempt(ledger, label, lambda: manager.replace(account, [cidr, "8.8.8.8/32"], label=label))  # noqa: B023
            if label not in ledger.acknowledged:
                ended.wait(0.02)

    with beside(write, threads, ended):
        yield


def attempt(ledger: Ledger, label: str, change: Callable[[], object]) -> None:
    """Make a change, and note what it came to."""
    began = time.monotonic()
    try:
        change()
    except OutcomeUnknownError as error:
        ledger.unknown.add(label)
        ledger.note(type(error).__name__)
    except StoreError as error:
        ledger.refused.add(label)
        ledger.note(type(error).__name__)
    else:
        ledger.acknowledged.add(label)
    ledger.seconds.append(time.monotonic() - began)


def report(fault: str, ledger: Ledger, **figures: object) -> None:
    """Print a line of what happened, for `make faults`."""
    known = {
        "acknowledged": len(ledger.acknowledged),
        "refused": len(ledger.refused),
        "unknown": len(ledger.unknown),
        **({"slowest": f"{max(ledger.seconds):.2f} s"} if ledger.seconds else {}),
        **figures,
    }
    print(f"\n{fault}: " + ", ".join(f"{name} {value}" for name, value in known.items()), dict(ledger.errors))
