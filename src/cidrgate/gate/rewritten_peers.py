"""Detects rewritten peers: addresses from a header that a server reports as the socket's other end.

uvicorn, hypercorn, granian, daphne, waitress and some middlewares rewrite the peer according to their own proxy
settings. A request does not say that this happened, but an address that came from a header is still in the header.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from cidrgate._engine import canonical_address
from cidrgate.errors import InvalidAddressError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["CLIENT_HEADERS", "PORT_HEADERS", "came_with_port", "holds"]

CLIENT_HEADERS = frozenset(
    [
        b"x-forwarded-for",
        b"forwarded",
        b"x-real-ip",
        b"cf-connecting-ip",
        b"cf-connecting-ipv6",
        b"client-ip",
        b"fastly-client-ip",
        b"fly-client-ip",
        b"true-client-ip",
        b"x-appengine-user-ip",
        b"x-azure-clientip",
        b"x-client-ip",
        b"x-cluster-client-ip",
        b"x-envoy-external-address",
        b"x-forwarded",
        b"x-original-forwarded-for",
        b"x-remote-ip",
    ]
)
"""Headers that name the client, in lower case. A server or a middleware may replace the peer with their content."""

PORT_HEADERS = frozenset([b"x-forwarded-for", b"x-forwarded-port", b"forwarded"])
"""Headers from which servers read a client's port, in lower case."""

_MOST_NODES = 200
"""The most addresses in one header line that are compared. A line with more addresses is treated as an attack."""

# An address, with or without a port. It may be surrounded by brackets, quotes, commas, spaces, `=` and zones.
_NODE = re.compile(rb"[0-9A-Fa-f:.]{2,}")
_SEPARATOR = re.compile(rb"[,;]")


def holds(value: bytes, peer: str) -> bool:
    """Return whether the value of a header line contains an address, in any spelling, with or without a port.

    Args:
        value: The value of a header that names clients.
        peer: The canonical address.

    Example:
        >>> holds(b'for="[2001:DB8:0::1]:4711"', "2001:db8::1")
        True
        >>> holds(b"198.51.100.7, 203.0.113.90", "203.0.113.9")
        False
    """
    nodes = _NODE.findall(value.replace(b"\\", b""), 0)
    if len(nodes) > _MOST_NODES:
        return True
    for node in nodes:
        text = node.decode("ascii")
        # One colon means IPv4 with a port. More colons mean IPv6; some parsers read its last group as a port.
        if _is(text, peer) or (":" in text and _is(text.rpartition(":")[0], peer)):
            return True
    return False


def _is(text: str, peer: str) -> bool:
    try:
        return canonical_address(text) == peer
    except InvalidAddressError:
        return False


def came_with_port(peer: str, port: int, headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Return whether a header contains a trusted peer with its port, which shows that the peer came from the header.

    The address alone proves nothing: a proxy may list its own address, but not with the port of this connection.

    Args:
        peer: The address as the server reports it.
        port: The port as the server reports it.
        headers: Header lines; names in upper or lower case.
    """
    address: str | None = None
    for name, value in headers:
        lower = name.lower()
        if lower == b"x-forwarded-port":
            if any(_number(number) == port for number in value.split(b",")):
                return True
        elif lower in PORT_HEADERS and b":" in value:
            address = address or canonical_address(peer)
            if _names(value, address, port):
                return True
    return False


def _names(value: bytes, address: str, port: int) -> bool:
    """Return whether a list contains a canonical address with this port, parsed as leniently as servers do."""
    for element in _SEPARATOR.split(value.replace(b"\\", b"")):
        node = element.rpartition(b"=")[2].strip(b' \t"')
        host, _, number = node.rpartition(b":")
        if _number(number) == port and _is(host.strip(b"[] \t").decode("ascii", "replace"), address):
            return True
    return False


def _number(text: bytes) -> int | None:
    """Parse a number as leniently as servers do."""
    try:
        return int(text[:20].decode("utf-8"))
    except ValueError:
        return None
