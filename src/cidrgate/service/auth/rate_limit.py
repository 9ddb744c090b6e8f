"""How often a client has sent wrong credentials lately.

A guess at 256 bits is hopeless anyway; what the limit ends is the noise, and the guessing at anything weaker that
somebody may have put before the service.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from ipaddress import IPv6Address, ip_address, ip_network

from cidrgate.process.forking import join_forks

__all__ = ["FailedLogins"]

_MINUTE = 60.0
_MOST_CLIENTS = 10_000
_V6_CLIENT = 64
"""The length of the network one IPv6 client usually has."""


class FailedLogins:
    """Counts failures by client, a minute at a time. Safe to share between threads.

    Args:
        limit: How many failures a client may have a minute.

    Example:
        >>> failures = FailedLogins(2)
        >>> failures.add("198.51.100.7")
        >>> failures.wait("198.51.100.7")
        0
        >>> failures.add("198.51.100.7")
        >>> failures.wait("198.51.100.7") > 0, failures.wait("198.51.100.8")
        (True, 0)
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        # client -> (when its minute began, failures since); the one that began first is first.
        self._clients: OrderedDict[str, tuple[float, int]] = OrderedDict()
        self.after_fork(certain=True)
        join_forks(self, stage=2)

    def before_fork(self) -> None:
        """Nothing is to be closed."""

    def after_fork(self, *, certain: bool) -> None:
        """Go on in a forked child, where no other thread counts."""
        self._lock = threading.Lock()

    def add(self, address: str | None) -> None:
        """Count a failure.

        Args:
            address: The client's; None for those that cannot be told apart.
        """
        client = _client(address)
        now = time.monotonic()
        with self._lock:
            began, count = self._clients.get(client, (now, 0))
            if now - began >= _MINUTE:
                began, count = now, 0
                self._clients.pop(client, None)
            self._clients[client] = (began, count + 1)
            if len(self._clients) > _MOST_CLIENTS:
                self._clients.popitem(last=False)

    def wait(self, address: str | None) -> int:
        """How many seconds a client has to wait before another attempt; 0 for not at all."""
        now = time.monotonic()
        with self._lock:
            began, count = self._clients.get(_client(address), (now, 0))
        left = began + _MINUTE - now
        return int(left) + 1 if count >= self._limit and left > 0 else 0


def _client(address: str | None) -> str:
    """What the failures are counted for: an IPv4 address, or an IPv6 client's network."""
    if address is None:
        return ""
    parsed = ip_address(address)
    return str(ip_network((parsed, _V6_CLIENT), strict=False)) if isinstance(parsed, IPv6Address) else address
