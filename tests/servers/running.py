"""Starting real servers for tests: each a child process in a folder of its own, on free ports of the loopback."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.warm_starts import Program

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["free_port", "program", "running"]

_PATIENCE = 30.0
_LOOK = 0.02
_OWN_PORTS = range(20_000, 32_000)
"""Ports below those the system gives to outgoing connections, which could take a free one away."""


def program(name: str, install: str) -> str:
    """The path of a program, or a skip that says how to install it."""
    folders = [str(Path(sys.executable).parent), os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"]
    found = shutil.which(name, path=os.pathsep.join(folders))
    if found is None:
        pytest.skip(f"needs {name}, {install}")
    return found


def free_port() -> int:
    """A port of the loopback that nobody listens on."""
    while True:
        port = random.choice(_OWN_PORTS)
        with socket.socket() as attempt:
            try:
                attempt.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


@contextmanager
def running(
    command: list[str],
    folder: Path,
    port: int | Path,
    environment: Mapping[str, str] | None = None,
    *,
    errors: Path | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """A server while the block runs.

    Args:
        command: What starts it; it must stay in the foreground.
        folder: Its working directory, where its output goes to `NAME.log`.
        port: Where it listens when it is ready: a port of 127.0.0.1, or the path of a Unix socket.
        environment: Variables besides those of this process.
        errors: Where its standard error goes; None for where its output goes.

    Yields:
        The process.
    """
    log = folder / f"{command[0].rpartition('/')[2]}-{port if isinstance(port, int) else port.name}.log"
    with log.open("wb") as output, (errors or log).open("ab") as standard_error:
        process = Program(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=standard_error,
            env={**os.environ, **(environment or {})},
            # A group of its own, so that its workers end with it whatever becomes of it.
            start_new_session=True,
        )
    try:
        _wait_until_listening(process, port, log)
        yield process
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(10)
        _kill_group(process)
        process.wait()


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _wait_until_listening(process: subprocess.Popen[bytes], port: int | Path, log: Path) -> None:
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args!r} ended with {process.returncode}: {log.read_text()}")
        family = socket.AF_INET if isinstance(port, int) else socket.AF_UNIX
        with socket.socket(family) as attempt:
            try:
                attempt.connect(("127.0.0.1", port) if isinstance(port, int) else str(port))
            except OSError:
                time.sleep(_LOOK)
            else:
                return
    raise RuntimeError(f"{process.args!r} does not listen on {port}: {log.read_text()}")
