"""`cidrgate serve` as a process of its own, on a free port."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from tests.warm_starts import Program

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Server", "a_server"]


@dataclass(frozen=True)
class Server:
    """A service that answers.

    Attributes:
        url: Where.
        console: The one-time link it printed, or None.
        process: Its process.
    """

    url: str
    console: str | None
    process: subprocess.Popen[str]


@contextmanager
def a_server(database: str, *arguments: str, files: int | None = None, log: IO[str] | None = None) -> Iterator[Server]:
    """A service of a database; it is stopped at the end of the block, unless it is already.

    Args:
        database: Its URL or path.
        arguments: More of the command line.
        files: How many files it may open; None for what this process may.
        log: Where its errors go; None for this process's.
    """
    command = [sys.executable, "-m", "cidrgate", "serve", "-d", database, "--port", "0", "--json", *arguments]
    if files is not None:
        command = ["prlimit", f"--nofile={files}:{files}", *command]
    with Program(command, stdout=subprocess.PIPE, stderr=log, text=True) as process:
        try:
            assert process.stdout is not None
            told = json.loads(process.stdout.readline())
            yield Server(told["url"], told["console"], process)
        finally:
            process.terminate()
            process.wait(20)
