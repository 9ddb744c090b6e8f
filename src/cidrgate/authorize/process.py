"""How a server's process ends: when its terminal hangs up, as when it is told to, and when its supervisor is gone.

Used by every server of the package, and nothing in it knows what they serve.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NoReturn

from uvicorn.supervisors import Multiprocess

from cidrgate.event_log import log_event

if TYPE_CHECKING:
    from collections.abc import Iterator
    from socket import socket
    from types import FrameType

    import uvicorn

__all__ = ["GRACE", "end_with_supervisor", "hang_up_ends_workers", "run"]

GRACE = 5
"""Seconds that requests have to be answered once a server was told to stop."""

_HANG_UP = getattr(signal, "SIGHUP", None)


def run(server: uvicorn.Server, sockets: list[socket] | None = None) -> None:
    """Run a server until it is told to stop, by SIGINT, SIGTERM or SIGHUP; to be asked to stop is no error.

    Args:
        server: It gets some seconds to answer what is under way, see its `timeout_graceful_shutdown`.
        sockets: What it listens on; None for what its configuration says.

    Raises:
        SystemExit: When it was told to stop by a signal other than SIGINT.
    """
    with _handled(signal.SIGTERM, _stopped), suppress(KeyboardInterrupt):
        # Once it has stopped, uvicorn raises the signal again.
        if _HANG_UP is None or _is_ignored(_HANG_UP):
            server.run(sockets)
            return

        def hang_up(_number: int, frame: FrameType | None) -> None:
            server.handle_exit(signal.SIGTERM, frame)

        with _handled(_HANG_UP, hang_up):
            server.run(sockets)


def hang_up_ends_workers() -> None:
    """Let SIGHUP end uvicorn's supervisor and its workers, which it would start anew; unless it is ignored."""
    if _HANG_UP is None:
        return
    ignored = _is_ignored(_HANG_UP)

    def handle_hup(supervisor: Multiprocess) -> None:
        if not ignored:
            supervisor.handle_term()

    Multiprocess.handle_hup = handle_hup  # type: ignore[method-assign,assignment]


def end_with_supervisor() -> None:
    """End this worker when the process that started it is gone, however that ended: nobody else would end it."""
    if _HANG_UP is not None and multiprocessing.parent_process() is not None:
        signal.signal(_HANG_UP, signal.SIG_IGN)  # the supervisor hears it too, and says what to do
    threading.Thread(target=_wait_for_supervisor, name="cidrgate-supervisor", daemon=True).start()


def _wait_for_supervisor() -> None:
    supervisor = multiprocessing.parent_process()
    if supervisor is None:
        return
    supervisor.join()
    with suppress(Exception):  # whoever read what is logged may be gone too
        log_event(logging.ERROR, "parent_lost", "the process that supervises this worker is gone: the worker ends too")
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE + 1)
    os._exit(1)


def _is_ignored(number: int) -> bool:
    """Whether whoever started the process wants a signal to do nothing, as `nohup` does."""
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
