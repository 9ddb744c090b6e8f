"""The end of a server process: by a signal, when its terminal closes, and when its supervisor has ended.

Every server of the package uses this module. It does not know what they serve.
"""

from __future__ import annotations

import functools
import inspect
import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from typing import TYPE_CHECKING, Any, NoReturn

import uvicorn
from uvicorn.supervisors import Multiprocess
from uvicorn.supervisors.multiprocess import Process

from cidrgate.event_log import log_event

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from socket import socket
    from types import FrameType

__all__ = ["GRACE", "LAST_WORK", "end_with_supervisor", "ends_cleanly", "run", "supervise"]

GRACE = 5
"""Seconds that a stopping server has to finish its requests."""

LAST_WORK = GRACE + 15.0
"""Seconds that a stopping worker has to finish its requests, store last matches and traffic, and close the store."""

_KILLED = 5.0
"""Seconds until a killed process has ended, at most; only one that the kernel cannot end takes longer."""

_HANG_UP = getattr(signal, "SIGHUP", None)


@contextmanager
def ends_cleanly() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end the block by a `SystemExit`, while a server starts: it removes its temporary files.

    SIGHUP stays ignored if it is.
    """
    with _handled(signal.SIGTERM, _stopped):
        if _HANG_UP is None or _is_ignored(_HANG_UP):
            yield
        else:
            with _handled(_HANG_UP, _stopped):
                yield


def run(server: uvicorn.Server, sockets: list[socket] | None = None) -> None:
    """Run a server until SIGINT, SIGTERM or SIGHUP stops it. Stopping is not an error.

    Args:
        server: The server. Its `timeout_graceful_shutdown` limits the time to finish its requests.
        sockets: The sockets to listen on; None for those of its configuration.

    Raises:
        SystemExit: If a signal other than SIGINT stopped the server.
    """
    with _handled(signal.SIGTERM, _stopped), suppress(KeyboardInterrupt):
        # uvicorn raises the signal again after it has stopped.
        if _HANG_UP is None or _is_ignored(_HANG_UP):
            server.run(sockets)
            return

        def hang_up(_number: int, frame: FrameType | None) -> None:
            server.handle_exit(signal.SIGTERM, frame)

        with _handled(_HANG_UP, hang_up):
            server.run(sockets)


def supervise(config: uvicorn.Config, listener: socket) -> None:
    """Run the workers of a server until a signal ends them. Stopping is not an error.

    Args:
        config: The settings of the server, with the number of workers.
        listener: The socket on which all workers listen.
    """
    more: dict[str, Any] = {}
    if "target" in inspect.signature(Multiprocess).parameters:  # until uvicorn 0.4x
        more["target"] = uvicorn.Server(config).run
    _hold_interrupts_of_starting_workers()
    supervisor = _Supervisor(config, sockets=[listener], **more)
    try:
        with suppress(KeyboardInterrupt):
            supervisor.run()
    finally:
        # After an error too, such as one of a start: Python would wait for the workers, and nobody would end them.
        supervisor.terminate_all()
        supervisor.join_all()
        if config.uds is not None:
            with suppress(OSError):
                os.unlink(config.uds)  # noqa: PTH108 - as uvicorn does


class _Supervisor(Multiprocess):
    """Uvicorn's supervisor, which SIGHUP ends, and which waits for no worker for ever."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        self._ignores_hang_up = _HANG_UP is None or _is_ignored(_HANG_UP)
        super().__init__(*arguments, **named)

    def handle_hup(self) -> None:
        """End, unless SIGHUP is ignored. Uvicorn would restart the workers."""
        if not self._ignores_hang_up:
            self.handle_term()

    def handle_ttou(self) -> None:
        """End one worker."""
        if self.processes_num > 1:
            self.processes_num -= 1
            worker = self.processes.pop()
            worker.terminate()
            _join([worker])

    def join_all(self) -> None:
        """Wait until all workers have ended."""
        _join(self.processes)


def _join(workers: Sequence[Process]) -> None:
    """Wait until workers that were told to end have ended, and kill those that do not end, as a stopped one."""
    end = time.monotonic() + LAST_WORK
    for worker in workers:
        worker.process.join(max(0.0, end - time.monotonic()))
        if worker.process.exitcode is None:
            message = f"a worker (process {worker.pid}) did not end within {LAST_WORK:g} seconds, and is killed"
            log_event(logging.ERROR, "worker_failed", message)
            worker.kill()
            worker.process.join(_KILLED)


def _hold_interrupts_of_starting_workers() -> None:
    """Let workers start with SIGINT blocked. Ctrl-C reaches them too, and would print a traceback while they import.

    `end_with_supervisor` unblocks it, when uvicorn handles it.
    """
    start = Process.start
    resource_tracker.ensure_running()  # its start unblocks SIGINT

    @functools.wraps(start)
    def start_blocked(process: Process) -> None:
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            start(process)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    Process.start = start_blocked  # type: ignore[method-assign,assignment]


def end_with_supervisor() -> None:
    """End this worker when its supervisor has ended for any reason: no other process would end the worker."""
    if _HANG_UP is not None and multiprocessing.parent_process() is not None:
        signal.signal(_HANG_UP, signal.SIG_IGN)  # the supervisor receives the signal too and ends its workers
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    threading.Thread(target=_wait_for_supervisor, name="cidrgate-supervisor", daemon=True).start()


def _wait_for_supervisor() -> None:
    supervisor = multiprocessing.parent_process()
    if supervisor is None:
        return
    supervisor.join()
    with suppress(Exception):  # the process that reads the log may have ended too
        log_event(logging.ERROR, "parent_lost", "the supervisor of this worker has ended: the worker ends too")
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(LAST_WORK)
    with suppress(Exception):
        message = f"this worker (process {os.getpid()}) did not end within {LAST_WORK:g} seconds, and ends now"
        log_event(logging.ERROR, "worker_failed", message)
    os._exit(1)


def _is_ignored(number: int) -> bool:
    """Return whether the process was started with a signal ignored, as `nohup` does."""
    return signal.getsignal(number) == signal.SIG_IGN


@contextmanager
def _handled(number: int, handler: object) -> Iterator[None]:
    before = signal.signal(number, handler)  # type: ignore[arg-type]
    try:
        yield
    finally:
        signal.signal(number, before)


def _stopped(_number: int, _frame: object) -> NoReturn:
    sys.exit(0)
