"""`TokenChecks`: checks the tokens of requests; one read of the store serves the requests that wait together."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from starlette.concurrency import run_in_threadpool

from cidrgate.errors import StoreBusyError

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
        self._queues: WeakKeyDictionary[asyncio.AbstractEventLoop, _Queue] = WeakKeyDictionary()

    async def check(self, secret: str) -> Token | None:
        """Return the token with this secret, as `Credentials.authenticate` does.

        The store is read after this call, so a token that has been revoked before it is refused.

        Raises:
            StoreBusyError: If the store does not answer in time.
            StoreError: If the store cannot be read.
        """
        queue = self._queue()
        if not queue.turns.locked():
            async with queue.turns:
                return await run_in_threadpool(self._credentials.authenticate, secret)
        if queue.secrets is None:
            queue.secrets = {}
            queue.read = asyncio.create_task(self._read(queue))
            queue.read.add_done_callback(_note_error)
        queue.secrets[secret] = None
        read = queue.read
        try:
            async with asyncio.timeout(self._seconds):
                # Shielded: a request that ends early must not end the check of the others.
                return (await asyncio.shield(read))[secret]
        except TimeoutError:
            raise StoreBusyError("the store did not answer in time; nothing was changed: try again later") from None

    async def _read(self, queue: _Queue) -> dict[str, Token | None]:
        async with queue.turns:
            secrets, queue.secrets = queue.secrets, None  # later requests need a read that begins later
            return await run_in_threadpool(self._credentials.authenticate_all, secrets or ())

    def _queue(self) -> _Queue:
        loop = asyncio.get_running_loop()
        found = self._queues.get(loop)
        if found is None:
            found = self._queues[loop] = _Queue()
        return found


class _Queue:
    """The requests of one event loop that wait for the next read.

    Attributes:
        secrets: Their secrets, in the order in which they came; None if no request waits.
        read: The task that reads for them.
        turns: Limits how many reads run at the same time.
    """

    def __init__(self) -> None:
        self.secrets: dict[str, None] | None = None
        self.read: asyncio.Task[dict[str, Token | None]]
        self.turns = asyncio.Semaphore(_READS)


def _note_error(read: asyncio.Task[dict[str, Token | None]]) -> None:
    """Let asyncio report no error that nobody waits for any more."""
    if not read.cancelled():
        read.exception()
