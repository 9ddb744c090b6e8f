"""`MetricsReaders`: lets whoever read the metrics lately read them while the store does not answer."""

from __future__ import annotations

import asyncio
import hashlib
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cidrgate.errors import StoreError

if TYPE_CHECKING:
    from cidrgate.service.auth.token_checks import TokenChecks
    from cidrgate.service.auth.values import Token

__all__ = ["MetricsReaders"]

_LATELY = 3600.0
"""Seconds for which a token is remembered after the store confirmed it."""
_PATIENCE = 2.0
"""Seconds that a remembered token waits for the store: a scrape of Prometheus ends after ten."""
_MOST = 16
"""How many tokens are remembered: the last ones."""


class MetricsReaders:
    """Checks the tokens of requests for the metrics.

    A lost store shows in the metrics, so these must not depend on it. While it does not answer, a token that it
    confirmed in the last hour still reads the metrics, and nothing else; a token that has expired meanwhile does not.

    Args:
        checks: Checks tokens in the store.
    """

    def __init__(self, checks: TokenChecks) -> None:
        self._checks = checks
        self._known: dict[bytes, tuple[float, Token]] = {}

    async def check(self, secret: str) -> Token | None:
        """Return the token with this secret, if the store or the memory knows it.

        Raises:
            StoreError: If the store cannot be read or does not answer, and the token is not remembered.
        """
        key = hashlib.blake2b(secret.encode("utf-8", "surrogatepass")).digest()
        known = self._recalled(key)
        read = asyncio.ensure_future(self._checks.check(secret))
        try:
            # Shielded: the check also serves other requests.
            async with asyncio.timeout(None if known is None else _PATIENCE):
                token = await asyncio.shield(read)
        except (StoreError, TimeoutError):
            if known is None:
                raise
            read.add_done_callback(_note_error)
            return known
        self._known.pop(key, None)
        if token is not None and any(scope.kind in ("metrics", "admin") for scope in token.scopes):
            self._known[key] = time.monotonic(), token
            while len(self._known) > _MOST:
                self._known.pop(next(iter(self._known)), None)
        return token

    def _recalled(self, key: bytes) -> Token | None:
        at, token = self._known.get(key, (0.0, None))
        if token is None or time.monotonic() - at > _LATELY or not token.usable(datetime.now(UTC)):
            return None
        return token


def _note_error(read: asyncio.Future[Token | None]) -> None:
    """Let asyncio report no error that nobody waits for any more."""
    if not read.cancelled():
        read.exception()
