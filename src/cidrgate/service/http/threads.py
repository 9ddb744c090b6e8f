"""The threads that handle requests: reads and health checks never wait for changes that wait for a lock.

FastAPI runs plain functions in one thread pool. What waits for other writers of the store could fill this pool, and the
service would then handle no requests. Therefore changes have a separate pool, and so have streams of changes until they
have found their place in the log. A separate thread probes the store.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import math
import threading
import time
from concurrent.futures import Future
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import anyio
from anyio import to_thread
from anyio.lowlevel import RunVar
from fastapi.routing import APIRoute

from cidrgate.errors import StoreBusyError, StoreError
from cidrgate.process.forking import join_forks
from cidrgate.stores.waits import answer_by

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastapi import Response
    from starlette.types import Receive, Scope, Send

    from cidrgate.stores import Store

__all__ = ["ChangingRoute", "StoreProbe", "Threads"]

_CHANGING = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_QUESTIONS = ("/preview", "/check", "/rewrite")
"""The endings of paths that change nothing, whatever their method."""

_PROBE_SECONDS = 2.0
"""How long the store may take to answer a probe."""


class Threads:
    """The threads in which an application carries out one kind of request.

    Args:
        kind: The kind in the plural, for the message that too many of them wait.
        most: The most that run at the same time; others wait without a thread.
        seconds: How long a request may wait in all, for a thread and then for the store.
    """

    def __init__(self, kind: str, most: int, seconds: float) -> None:
        self._kind = kind
        self._most = most
        self._seconds = seconds
        self._limits: RunVar[tuple[anyio.CapacityLimiter, anyio.CapacityLimiter]] = RunVar(f"cidrgate_{kind}")

    async def run(self, call: Callable[[], Any]) -> Any:
        """Carry out a request in a thread.

        Args:
            call: A function that carries out the request.

        Raises:
            StoreBusyError: If no thread becomes free in time, because too many other requests wait for the store.
        """
        turns, threads = self._limiters()
        deadline = time.monotonic() + self._seconds
        borrower = object()
        try:
            turns.acquire_on_behalf_of_nowait(borrower)  # another round of the event loop only for who has to wait
        except anyio.WouldBlock:
            with anyio.move_on_after(self._seconds) as waiting:
                await turns.acquire_on_behalf_of(borrower)
            if waiting.cancelled_caught:
                message = f"too many {self._kind} are waiting for the store; nothing was changed: try again later"
                raise StoreBusyError(message) from None
        try:
            with answer_by(deadline):
                return await to_thread.run_sync(call, limiter=threads)
        finally:
            turns.release_on_behalf_of(borrower)

    def _limiters(self) -> tuple[anyio.CapacityLimiter, anyio.CapacityLimiter]:
        """Return the limiters of turns and of threads. Both belong to the event loop."""
        try:
            return self._limits.get()
        except LookupError:
            made = anyio.CapacityLimiter(self._most), anyio.CapacityLimiter(math.inf)
            self._limits.set(made)
            return made


class ChangingRoute(APIRoute):
    """A route that carries out changes in the service's `Threads`. Reads stay in FastAPI's pool."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **settings: Any) -> None:
        changes = bool(_CHANGING & set(settings.get("methods") or ())) and not path.endswith(_QUESTIONS)
        if changes and not inspect.iscoroutinefunction(endpoint):
            endpoint = _in_threads_of_changes(endpoint)
        super().__init__(path, endpoint, **settings)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request, with the service's threads available."""
        _threads.set(scope["app"].state.service.threads)
        await super().handle(scope, receive, send)


_threads: ContextVar[Threads] = ContextVar("cidrgate_threads")


def _in_threads_of_changes(endpoint: Callable[..., Response]) -> Callable[..., Any]:
    @functools.wraps(endpoint)
    async def run(*arguments: Any, **named: Any) -> Any:
        return await _threads.get().run(functools.partial(endpoint, *arguments, **named))

    return run


class StoreProbe:
    """Checks whether a store answers. All concurrent callers share one thread, however long the check takes.

    Args:
        store: The store.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self.after_fork(certain=True)
        join_forks(self, stage=2)

    def before_fork(self) -> None:
        """Do nothing: there is nothing to close."""

    def after_fork(self, *, certain: bool) -> None:
        """Begin anew in a forked child, which has no thread that would answer."""
        self._lock = threading.Lock()
        self._asked: Future[bool] | None = None

    async def answers(self) -> bool:
        """Return whether the store answers in time."""
        asked = asyncio.wrap_future(self._ask())
        done, _ = await asyncio.wait({asked}, timeout=_PROBE_SECONDS)
        return bool(done) and asked.result()

    def _ask(self) -> Future[bool]:
        with self._lock:
            if self._asked is None or self._asked.done():
                asked: Future[bool] = Future()
                try:
                    threading.Thread(target=self._run, args=(asked,), name="cidrgate-probe", daemon=True).start()
                except RuntimeError:  # no thread is left: the next caller tries again
                    asked.set_result(False)
                self._asked = asked
            return self._asked

    def _run(self, asked: Future[bool]) -> None:
        try:
            with self._store.read_autocommit() as transaction:
                transaction.log_start()
        except StoreError:
            asked.set_result(False)
        except BaseException as error:  # noqa: BLE001 - no caller may wait for ever
            asked.set_exception(error)
        else:
            asked.set_result(True)
