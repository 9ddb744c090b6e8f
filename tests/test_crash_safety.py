"""A writer killed at any moment leaves whole changes behind, and every change it acknowledged."""

from __future__ import annotations

import json
import random
import sqlite3
import subprocess
import sys
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests.change_log import Replay, assert_consistent
from tests.change_stream import MAX_ENTRIES, open_manager
from tests.length import length
from tests.warm_starts import Program

if TYPE_CHECKING:
    from collections.abc import Iterator

ROUNDS = length(40, 200)
NEW_FILES = length(15, 30)
ROUNDS_BETWEEN_INTEGRITY_CHECKS = 20


class Crasher:
    """Runs writers on a store and kills them."""

    def __init__(self, server: subprocess.Popen[str], acknowledgements: Path) -> None:
        self._server = server
        self._acknowledgements = acknowledgements
        self._read = 0

    def crash(self, name: str, seed: int, changes: int, milliseconds: float) -> list[tuple[str, str, list[str]]]:
        """Run a writer for so many changes and that much longer; what it acknowledged: actor, account, its list."""
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        print(name, seed, changes, milliseconds, file=self._server.stdin, flush=True)
        assert self._server.stdout.readline() == "killed\n"
        with self._acknowledgements.open() as lines:
            lines.seek(self._read)
            new = lines.read()
            self._read = lines.tell()
        # What stands after the last newline is a line the writer was killed in the middle of.
        whole, _, _ = new.rpartition("\n")
        return [(actor, account, listed) for actor, account, listed in map(json.loads, whole.splitlines())]


@contextmanager
def crasher(url: str, directory: Path) -> Iterator[Crasher]:
    acknowledgements = directory / "acknowledged"
    acknowledgements.touch()
    command = [sys.executable, "-m", "tests.crash_server", url, str(acknowledgements)]
    root = Path(__file__).parents[1]
    with Program(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"
        yield Crasher(server, acknowledgements)
        assert server.stdin is not None
        server.stdin.close()


def test_a_killed_writer_leaves_whole_changes_and_all_it_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "lists.db"
    url = f"sqlite:///{path}"
    rng = random.Random(20_250_601)
    replay = Replay(MAX_ENTRIES)
    acknowledged_changes = 0
    with crasher(url, tmp_path) as crashes:
        for number in range(ROUNDS):
            acknowledged = crashes.crash(f"round-{number}", rng.randrange(2**32), rng.randrange(5), rng.uniform(0, 20))
            with open_manager(url) as manager:
                assert_consistent(manager, replay)
            for actor, account, listed in acknowledged:
                assert replay.left_behind[actor, account] == set(listed)
            acknowledged_changes += len(acknowledged)
            if number % ROUNDS_BETWEEN_INTEGRITY_CHECKS == 0:
                with closing(sqlite3.connect(path)) as connection:
                    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert acknowledged_changes > ROUNDS


def test_a_kill_while_the_store_is_created_leaves_one_that_opens(tmp_path: Path) -> None:
    rng = random.Random(7)
    path = tmp_path / "lists.db"
    url = f"sqlite:///{path}"
    with crasher(url, tmp_path) as crashes:
        for number in range(NEW_FILES):
            for file in tmp_path.glob("lists.db*"):
                file.unlink()
            crashes.crash(f"new-{number}", number, 0, rng.uniform(0, 25))
            with open_manager(url) as manager:
                assert_consistent(manager, Replay(MAX_ENTRIES))
