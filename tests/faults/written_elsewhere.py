"""Writers in processes of their own, and what they say in a ledger."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests.faults.invariants import ACCOUNTS
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tests.faults.invariants import Ledger

__all__ = ["Writer", "command_of", "writer_process"]

PROGRAM = Path(__file__).with_name("embedded_writer.py")


class Writer:
    """A process that writes.

    Args:
        process: It.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.served: dict[str, list[str]] = {}

    def rest(self) -> None:
        """Let it change nothing any more, and wait until that is so."""
        self._ask()
        eventually(lambda: bool(self.served))

    def serves(self, lists: dict[str, list[str]]) -> bool:
        """Whether it serves these, the last time it said so; asks it again if not. It rests from then on."""
        if self.served != lists:
            self._ask()
        return self.served == lists

    def _ask(self) -> None:
        assert self.process.stdin is not None
        print(file=self.process.stdin, flush=True)

    def note(self, output: Iterable[str], ledger: Ledger) -> None:
        """Note what it says, until it ends. What it never told the end of is unknown."""
        begun: set[str] = set()
        noted = {"?": begun, "+": ledger.acknowledged, "-": ledger.refused, "~": ledger.unknown}
        for line in output:
            sign, text = line[0], line[1:].rstrip("\n")
            if sign == "=":
                self.served = json.loads(text)
            else:
                noted[sign].add(text)
        ledger.unknown |= begun - ledger.acknowledged - ledger.refused


def command_of(url: str, name: str, revision: str | None = None) -> list[str]:
    """What starts one."""
    return [sys.executable, str(PROGRAM), url, name, ",".join(ACCOUNTS), *([] if revision is None else [revision])]


@contextmanager
def writer_process(url: str, ledger: Ledger, name: str, *, revision: str | None = None) -> Iterator[Writer]:
    """A process that changes lists, once one of its changes is stored; killed at the end of the block.

    What several of them have stored does not show that each has begun.

    Args:
        url: The store.
        ledger: Where outcomes are noted.
        name: What labels begin with; another one for each process.
        revision: The schema it was made for, if an older one.
    """
    command = command_of(url, name, revision)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        writer = Writer(process)
        noting = threading.Thread(target=writer.note, args=(process.stdout, ledger))
        noting.start()
        try:
            eventually(lambda: any(label.startswith(f"{name}-") for label in tuple(ledger.acknowledged)))
            yield writer
        finally:
            process.kill()
            process.wait()
            noting.join()
