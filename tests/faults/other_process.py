"""A node in a process of its own, so that a limit or a missing right is that process's alone.

Usage: python -m tests.faults.other_process URL SNAPSHOT [without-locks]

It answers each line of JSON on its input with a line: the prefixes of an account, whether an address is allowed, or
what was logged so far.
"""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cidrgate import RuleManager
from cidrgate.replica import follower as following

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["OtherProcess", "other_process"]

ROOT = Path(__file__).parents[2]


class OtherProcess:
    """Asks a node in another process, as if it were here.

    Args:
        process: It.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self._one_at_a_time = threading.Lock()

    @property
    def matcher(self) -> OtherProcess:
        """What has `prefixes`."""
        return self

    def prefixes(self, account: str) -> list[str]:
        """What the matcher there holds of an account."""
        found: list[str] = self._ask("prefixes", account)
        return found

    def allows(self, account: str, address: str) -> bool:
        """What is answered there."""
        return bool(self._ask("allows", account, address))

    def said(self) -> list[str]:
        """What was logged there."""
        found: list[str] = self._ask("said")
        return found

    def _ask(self, *question: str) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with self._one_at_a_time:
            print(json.dumps(question), file=self.process.stdin, flush=True)
            return json.loads(self.process.stdout.readline())


@contextmanager
def other_process(url: str, snapshot: Path, *options: str, run_as: Sequence[str] = ()) -> Iterator[OtherProcess]:
    """A node that follows a store and writes a snapshot ten times a second.

    Args:
        url: The store.
        snapshot: The file.
        options: More of its arguments.
        run_as: A command that runs it as somebody else.
    """
    command = [*run_as, sys.executable, "-m", "tests.faults.other_process", url, str(snapshot), *options]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "ready\n"
            yield OtherProcess(process)
            assert process.stdin is not None
            process.stdin.close()
            assert process.wait(60) == 0
        finally:
            process.kill()


class Said(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def no_locks(*_: object) -> None:
    """Fail as on a network file system that has none."""
    raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))


def main(url: str, snapshot: str, *options: str) -> None:
    """Answer until the input ends."""
    said = Said()
    logging.getLogger("cidrgate").addHandler(said)
    following._FIRST_RETRY = 0.05
    following._LONGEST_RETRY = 0.2  # less to wait for than a minute
    if "without-locks" in options:
        fcntl.flock = no_locks  # the one module that everybody shares
    with RuleManager.open(url, snapshot=snapshot, refresh_snapshot=0.1) as manager:
        print("ready", flush=True)
        for line in sys.stdin:
            what, *arguments = json.loads(line)
            answer: object
            if what == "said":
                answer = said.lines
            elif what == "allows":
                answer = manager.allows(arguments[0], arguments[1])
            else:
                answer = manager.matcher.prefixes(arguments[0])
            print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
