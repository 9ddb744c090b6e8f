"""The rate limit of failed logins.

No one can guess a secret of 256 bits. The limit reduces noise, and it slows down guesses at weaker credentials of a
proxy in front of the service.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from ipaddress import IPv6Address, ip_address, ip_network

from cidrgate.process.forking import join_forks

__all__ = ["LoginRateLimit", "client_of"]

_MINUTE = 60.0
_MOST_CLIENTS = 10_000
_V6_CLIENT = 64
"""The prefix length of the network that one IPv6 client usually has."""


class LoginRateLimit:
    """Counts the failures of each client in a window of one minute. Threads may share an instance.

    Args:
        limit: How many failures a client may have per minute.

    Example:
        >>> failures = LoginRateLimit(2)
        >>> failures.add("198.51.100.7")
        >>> failures.wait("198.51.100.7")
        0
        >>> failures.add("198.51.100.7")
        >>> failures.wait("198.51.100.7") > 0, failures.wait("198.51.100.8")
        (True, 0)
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        # client -> (start of its minute, failures since then), ordered by the start.
        self._clients: OrderedDict[str, tuple[float, int]] = OrderedDict()
        self.after_fork(certain=True)
        join_forks(self, stage=2)

    def before_fork(self) -> None:
        """Do nothing: there is nothing to close."""

    def after_fork(self, *, certain: bool) -> None:
        """Replace the lock in a forked child, where no other thread runs."""
        self._lock = threading.Lock()

    def add(self, address: str | None) -> None:
        """Count a failure.

        Args:
            address: The client address; None for all clients without a known address.
        """
        client = client_of(address)
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
        """Return the seconds that a client has to wait before another attempt; 0 if it need not wait."""
        now = time.monotonic()
        with self._lock:
            began, count = self._clients.get(client_of(address), (now, 0))
        left = began + _MINUTE - now
        return int(left) + 1 if count >= self._limit and left > 0 else 0


def client_of(address: str | None) -> str:
    """Return the key that failures are counted by: an IPv4 address, or the network of an IPv6 address."""
    if address is None:
        return ""
    parsed = ip_address(address)
    return str(ip_network((parsed, _V6_CLIENT), strict=False)) if isinstance(parsed, IPv6Address) else address
