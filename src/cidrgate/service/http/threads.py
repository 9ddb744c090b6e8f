"""Which threads carry requests out: questions and the checks of health never wait for those that wait for a lock.

FastAPI runs what is no coroutine in the threads of one pool. Changes that wait for the store would fill it, and then
nothing is answered any more; so changes have threads of their own, and one more asks the store whether it answers.
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
from cidrgate.stores.waits import answer_by

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastapi import Response
    from starlette.types import Receive, Scope, Send

    from cidrgate.stores import Store

__all__ = ["ChangingRoute", "StoreProbe", "Threads"]

_CHANGES = 40
"""How many changes are carried out at once; others wait without a thread."""

_CHANGING = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_QUESTIONS = ("/preview", "/check", "/rewrite")
"""How the paths end that change nothing, whatever their method."""

_PROBE_SECONDS = 2.0
"""How long the store may take to answer the simplest question."""


class Threads:
    """The threads of one application that changes are carried out in.

    Args:
        seconds: How long a change waits at most, for a thread and then for the store.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._limits: RunVar[tuple[anyio.CapacityLimiter, anyio.CapacityLimiter]] = RunVar("cidrgate_changes")

    async def change(self, call: Callable[[], Any]) -> Any:
        """Carry a change out.

        Args:
            call: Carries it out.

        Raises:
            StoreBusyError: If so many others wait for the store that there is no thread in time.
        """
        turns, threads = self._limiters()
        deadline = time.monotonic() + self._seconds
        borrower = object()
        with anyio.move_on_after(self._seconds) as waiting:
            await turns.acquire_on_behalf_of(borrower)
        if waiting.cancelled_caught:
            raise StoreBusyError("too many changes wait for the store; nothing was changed: try again later")
        try:
            with answer_by(deadline):
                return await to_thread.run_sync(call, limiter=threads)
        finally:
            turns.release_on_behalf_of(borrower)

    def _limiters(self) -> tuple[anyio.CapacityLimiter, anyio.CapacityLimiter]:
        """Of turns, and of the threads behind them; both belong to the event loop."""
        try:
            return self._limits.get()
        except LookupError:
            made = anyio.CapacityLimiter(_CHANGES), anyio.CapacityLimiter(math.inf)
            self._limits.set(made)
            return made


class ChangingRoute(APIRoute):
    """A route that carries changes out in the threads of the service's `Threads`; questions stay where they were."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **settings: Any) -> None:
        changes = bool(_CHANGING & set(settings.get("methods") or ())) and not path.endswith(_QUESTIONS)
        if changes and not inspect.iscoroutinefunction(endpoint):
            endpoint = _in_threads_of_changes(endpoint)
        super().__init__(path, endpoint, **settings)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, with the service's threads at hand."""
        _threads.set(scope["app"].state.service.threads)
        await super().handle(scope, receive, send)


_threads: ContextVar[Threads] = ContextVar("cidrgate_threads")


def _in_threads_of_changes(endpoint: Callable[..., Response]) -> Callable[..., Any]:
    @functools.wraps(endpoint)
    async def run(*arguments: Any, **named: Any) -> Any:
        return await _threads.get().change(functools.partial(endpoint, *arguments, **named))

    return run


class StoreProbe:
    """Asks a store whether it answers; however many want to know it at once, and however long it takes, in one thread.

    Args:
        store: The store.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._asked: Future[bool] | None = None

    async def answers(self) -> bool:
        """Whether the store answers a question in time."""
        asked = asyncio.wrap_future(self._ask())
        done, _ = await asyncio.wait({asked}, timeout=_PROBE_SECONDS)
        return bool(done) and asked.result()

    def _ask(self) -> Future[bool]:
        with self._lock:
            if self._asked is None or self._asked.done():
                self._asked = Future()
                threading.Thread(target=self._run, args=(self._asked,), name="cidrgate-probe", daemon=True).start()
            return self._asked

    def _run(self, asked: Future[bool]) -> None:
        try:
            with self._store.glance() as transaction:
                transaction.log_start()
        except StoreError:
            asked.set_result(False)
        except BaseException as error:  # noqa: BLE001 - whoever waits shall not wait for ever
            asked.set_exception(error)
        else:
            asked.set_result(True)
