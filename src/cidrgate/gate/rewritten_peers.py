"""Peers that a server has rewritten: an address out of a header, handed over as if it were the socket's other end.

Servers and middlewares with proxy settings of their own do that, each by rules of its own: uvicorn, hypercorn, granian,
daphne, waitress. Nothing in a request says so, but an address that came out of a header still stands in the header.
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
"""Headers that name the client, in lower case: what a server or a middleware may take for the peer."""

PORT_HEADERS = frozenset([b"x-forwarded-for", b"x-forwarded-port", b"forwarded"])
"""Headers out of which servers take a client's port, in lower case."""

_MOST_NODES = 200
"""Addresses in one header line that are compared; a client that sends more is taken for one that hides something."""

# An address, with a port or without. Brackets, quotes, commas, spaces, `=` and zones are around it.
_NODE = re.compile(rb"[0-9A-Fa-f:.]{2,}")
_SEPARATOR = re.compile(rb"[,;]")


def holds(value: bytes, peer: str) -> bool:
    """Whether an address stands in the value of a header line, in whatever spelling, with a port or without.

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
        # With one colon it is IPv4 and a port; with more, IPv6, whose last group some readers take for a port.
        if _is(text, peer) or (":" in text and _is(text.rpartition(":")[0], peer)):
            return True
    return False


def _is(text: str, peer: str) -> bool:
    try:
        return canonical_address(text) == peer
    except InvalidAddressError:
        return False


def came_with_port(peer: str, port: int, headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether a header names the port of a trusted peer, so that the peer came out of the header too.

    The address alone is no sign there: a proxy may stand in a list that it writes, but not with the port of this very
    connection.

    Args:
        peer: The address as the server says it.
        port: The port as the server says it.
        headers: Header lines, the names in any case.
    """
    own = peer.encode("latin-1", "replace")
    for name, value in headers:
        lower = name.lower()
        if lower == b"x-forwarded-port":
            if any(_number(number) == port for number in value.split(b",")):
                return True
        elif lower in PORT_HEADERS and b":" in value and own in value and _names(value, peer, port):
            return True
    return False


def _names(value: bytes, peer: str, port: int) -> bool:
    """Whether a list names an address with this port, as leniently as a server may read it."""
    address = canonical_address(peer)
    for element in _SEPARATOR.split(value.replace(b"\\", b"")):
        node = element.rpartition(b"=")[2].strip(b' \t"')
        host, _, number = node.rpartition(b":")
        if _number(number) == port and _is(host.strip(b"[] \t").decode("ascii", "replace"), address):
            return True
    return False


def _number(text: bytes) -> int | None:
    """A number as lenient as a server may read it."""
    try:
        return int(text[:20].decode("utf-8"))
    except ValueError:
        return None
