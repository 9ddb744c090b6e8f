"""What proxies write about the hops before them: `X-Forwarded-For` lists and RFC 7239 `Forwarded`.

Text in, one node a hop out, nearest proxy first. Which hop is to be believed is decided in `cidrgate.gate.client_ip`;
what is an address is decided by the engine's parser alone.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal, TypeAlias

from cidrgate._engine import canonical_address
from cidrgate.errors import InvalidAddressError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["LONGEST_FORWARDED", "MOST_HOPS", "UNIX_SOCKET", "HopProblem", "UnreadableHopError", "hops_of", "read_node"]

HopProblem: TypeAlias = Literal["malformed_hop", "malformed_header", "obfuscated_hop", "header_too_long"]

UNIX_SOCKET = "unix:"
"""How nginx writes a peer on a Unix socket, and how one is named among trusted proxies."""

LONGEST_FORWARDED = 16_384
"""Bytes of `Forwarded` that are read. Quoting is only known from the left, so the whole of it has to be parsed; no
server lets through more than this by default."""

MOST_HOPS = 100
"""Hops that are followed before a header is taken for an attack."""

_LONGEST_NODE = 64
"""Bytes of an element of a plain list that are read."""

_HIGHEST_PORT = 65_535
# RFC 7239 section 6: a node is a name and perhaps a port; each may be an obfuscated identifier in place of itself.
_IDENTIFIER = r"_[A-Za-z0-9._-]+"
_NODE = re.compile(rf"(?:([0-9.]+)|\[([0-9A-Fa-f:.]+)\])(?::(?:([0-9]{{1,5}})|({_IDENTIFIER})))?", re.ASCII)
_OBFUSCATED = re.compile(rf"(?:(?i:unknown)|{_IDENTIFIER})(?::(?:[0-9]{{1,5}}|{_IDENTIFIER}))?", re.ASCII)

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]++"
_QUOTED = rb'"((?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*+)"'
# One parameter of one element, and the separator behind it. Possessive throughout: linear whatever a client sends.
_PAIR = re.compile(
    rb"[ \t]*+(?:(" + _TOKEN + rb")=(?:(" + _TOKEN + rb")|" + _QUOTED + rb"))?+[ \t]*+([;,]|\Z)",
)
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)


class UnreadableHopError(ValueError):
    """A hop, or the header as a whole, does not say an address."""

    def __init__(self, problem: HopProblem) -> None:
        super().__init__(problem)
        self.problem = problem


def hops_of(header: str, values: Sequence[bytes]) -> Iterator[str]:
    """The nodes of a list header, from the right: the last was written by the nearest proxy.

    Several header lines are one list, in order (RFC 9110 section 5.3). What stands left of the hop that the caller
    stops at is never interpreted in `X-Forwarded-For`; `Forwarded` has to be well-formed as a whole, since a quote that
    a client left open would reach into what proxies append.

    Args:
        header: `forwarded`, or the name of a header that is a plain list.
        values: The value of each header line, in order.

    Returns:
        Canonical addresses, or `UNIX_SOCKET`; of a plain list the last `MOST_HOPS` and one more.

    Raises:
        UnreadableHopError: If the header is not well-formed, and when it comes to a hop that does not say an address.

    Example:
        >>> list(hops_of("x-forwarded-for", [b"2001:DB8::1, 203.0.113.9", b"10.0.0.1:4711"]))
        ['10.0.0.1', '203.0.113.9', '2001:db8::1']
        >>> list(hops_of("forwarded", [b'for="[2001:db8::1]:80";proto=https, For=203.0.113.9']))
        ['203.0.113.9', '2001:db8::1']
    """
    joined = b",".join(values)
    if header == "forwarded":
        return map(_read_forwarded, reversed(_forwarded_nodes(joined)))
    return map(read_node, reversed(joined.rsplit(b",", MOST_HOPS)))


def _read_forwarded(node: bytes | None) -> str:
    """The address of an element of `Forwarded`."""
    if node is None:
        raise UnreadableHopError("malformed_hop")
    return read_node(node, plain=False)


def _forwarded_nodes(value: bytes) -> list[bytes | None]:
    """The `for` parameter of each element of `Forwarded` from the left; None where an element has none."""
    if len(value) > LONGEST_FORWARDED:
        raise UnreadableHopError("header_too_long")
    nodes: list[bytes | None] = []
    names: set[bytes] = set()
    node = None
    at = 0
    while True:
        pair = _PAIR.match(value, at)
        if pair is None:
            raise UnreadableHopError("malformed_header")
        name, token, quoted, separator = pair.groups()
        if name is not None:
            name = name.lower()
            if name in names:
                raise UnreadableHopError("malformed_header")
            names.add(name)
            if name == b"for":
                node = token if token is not None else _ESCAPED.sub(rb"\1", quoted)
        if separator != b";":
            nodes.append(node)
            names.clear()
            node = None
        if not separator:
            return nodes
        at = pair.end()


def read_node(node: bytes, *, plain: bool = True) -> str:
    """The address of one hop, with the port that may stand behind it left out.

    Args:
        node: `192.0.2.1`, `192.0.2.1:4711`, `[2001:db8::1]`, `[2001:db8::1]:4711`, `unix:`, or an obfuscated
            identifier. In `Forwarded` the port may be an obfuscated identifier too.
        plain: Whether it is an element of a plain list, as in `X-Forwarded-For`: spaces and tabs around it do not
            count, and IPv6 without brackets is an address too, which no port can follow.

    Returns:
        The canonical address, or `UNIX_SOCKET`.

    Raises:
        UnreadableHopError: If the node does not say an address.

    Example:
        >>> read_node(b"[::ffff:203.0.113.9]:4711")
        '203.0.113.9'
    """
    if plain:
        node = node.strip(b" \t")
        if len(node) > _LONGEST_NODE:
            raise UnreadableHopError("malformed_hop")
    # What is not ASCII becomes a character that no address holds.
    text = node.decode("ascii", "replace")
    if plain or ":" not in text:
        try:
            return canonical_address(text)
        except InvalidAddressError:
            pass
    if text == UNIX_SOCKET:
        return UNIX_SOCKET
    if _OBFUSCATED.fullmatch(text):
        raise UnreadableHopError("obfuscated_hop")
    parts = _NODE.fullmatch(text)
    if (
        parts is None
        or int(parts[3] or 0) > _HIGHEST_PORT
        or (parts[2] and ":" not in parts[2])
        or (plain and parts[4] is not None)
    ):
        raise UnreadableHopError("malformed_hop")
    try:
        return canonical_address(parts[1] or parts[2])
    except InvalidAddressError:
        raise UnreadableHopError("malformed_hop") from None
