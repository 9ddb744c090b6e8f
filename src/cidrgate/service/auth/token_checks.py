"""`TokenChecks`: checks the tokens of requests; one read of the store serves the requests that wait together."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool

from cidrgate.errors import StoreError

if TYPE_CHECKING:
    from cidrgate.service.auth.credentials import Credentials
    from cidrgate.service.auth.values import Token

__all__ = ["TokenChecks"]

_READS = 2
"""The most reads at the same time. With more of them, each would serve fewer requests."""


class TokenChecks:
    """Checks tokens in other threads, for the requests of an event loop. Event loops may share an instance.

    Args:
        credentials: The credentials of the store.
        seconds: How long a request may wait for its check if others are being made: as long as a read may take.
    """

    def __init__(self, credentials: Credentials, seconds: float) -> None:
        self._credentials = credentials
        self._seconds = seconds
        self._queues: dict[asyncio.AbstractEventLoop, _Queue] = {}

    async def check(self, secret: str) -> Token | None:
        """Return the token with this secret, as `Credentials.authenticate` does.

        The store is read after this call, so a token that has been revoked before it is refused.

        Raises:
            StoreError: If the store cannot be read, or does not answer in time.
        """
        loop = asyncio.get_running_loop()
        queue = self._queues.get(loop)
        if queue is None:
            queue = self._queues[loop] = _Queue()
        queue.users += 1
        try:
            return await self._check(queue, secret)
        finally:
            queue.users -= 1
            if not queue.users:  # it would keep the event loop alive after its end
                del self._queues[loop]

    async def _check(self, queue: _Queue, secret: str) -> Token | None:
        if not queue.turns.locked():
            async with queue.turns:
                return await run_in_threadpool(self._credentials.authenticate, secret)
        batch = queue.next
        if batch is None or batch.read.done():
            batch = queue.next = _Batch()
            batch.read = asyncio.create_task(self._read(queue, batch))
            batch.read.add_done_callback(_note_error)
        batch.secrets[secret] = None
        try:
            async with asyncio.timeout(self._seconds):
                # Shielded: a request that ends early must not end the check of the others.
                found = (await asyncio.shield(batch.read))[secret]
        except TimeoutError:
            raise StoreError("the store did not answer in time") from None
        if isinstance(found, Exception):
            raise found
        return found

    async def _read(self, queue: _Queue, batch: _Batch) -> dict[str, Token | Exception | None]:
        async with queue.turns:
            queue.next = None  # later requests need a read that begins later
            return await run_in_threadpool(self._credentials.authenticate_all, batch.secrets)


class _Batch:
    """The requests that wait for the same read.

    Attributes:
        secrets: Their secrets, in the order in which they came.
        read: The task that reads for them.
    """

    def __init__(self) -> None:
        self.secrets: dict[str, None] = {}
        self.read: asyncio.Task[dict[str, Token | Exception | None]]


class _Queue:
    """The checks of one event loop.

    Attributes:
        next: The requests that wait for the next read; None if no request waits.
        turns: Limits how many reads run at the same time.
        users: How many checks have not ended.
    """

    def __init__(self) -> None:
        self.next: _Batch | None = None
        self.turns = asyncio.Semaphore(_READS)
        self.users = 0


def _note_error(read: asyncio.Task[dict[str, Token | Exception | None]]) -> None:
    """Let asyncio report no error that nobody waits for any more."""
    if not read.cancelled():
        read.exception()
