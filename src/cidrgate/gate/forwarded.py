"""Parsers for the hops in `X-Forwarded-For` lists and RFC 7239 `Forwarded`.

They return one node for each hop, the nearest proxy first. They trust nothing: `cidrgate.gate.client_ip` decides which
hop is the client. Only the engine's parser decides what is an address.
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
"""The name of a peer on a Unix socket, as nginx writes it and as it is written in `trusted_proxies`."""

LONGEST_FORWARDED = 16_384
"""The longest `Forwarded` that is parsed, in bytes. Quotes can only be parsed from the left, so the whole value must be
parsed. By default, no server accepts more than this."""

MOST_HOPS = 100
"""The most hops that are read. A header with more trusted hops is treated as an attack."""

_LONGEST_NODE = 64
"""The longest element of a plain list, in bytes."""

_HIGHEST_PORT = 65_535
# RFC 7239 section 6: a node is a name and an optional port; each of them may be an obfuscated identifier.
_IDENTIFIER = r"_[A-Za-z0-9._-]+"
_NODE = re.compile(rf"(?:([0-9.]+)|\[([0-9A-Fa-f:.]+)\])(?::(?:([0-9]{{1,5}})|({_IDENTIFIER})))?", re.ASCII)
_OBFUSCATED = re.compile(rf"(?:(?i:unknown)|{_IDENTIFIER})(?::(?:[0-9]{{1,5}}|{_IDENTIFIER}))?", re.ASCII)

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]++"
_QUOTED = rb'"((?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*+)"'
# One parameter of one element, and the separator after it. All quantifiers are possessive, so matching takes linear
# time for every input.
_PAIR = re.compile(
    rb"[ \t]*+(?:(" + _TOKEN + rb")=(?:(" + _TOKEN + rb")|" + _QUOTED + rb"))?+[ \t]*+([;,]|\Z)",
)
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)


class UnreadableHopError(ValueError):
    """A hop, or the header as a whole, contains no valid address."""

    def __init__(self, problem: HopProblem) -> None:
        super().__init__(problem)
        self.problem = problem


def hops_of(header: str, values: Sequence[bytes]) -> Iterator[str]:
    """Iterate over the nodes of a list header from the right: the nearest proxy wrote the last one.

    Several header lines form one list, in order (RFC 9110 section 5.3). In `X-Forwarded-For`, the hops to the left of
    the hop where the caller stops are never parsed. `Forwarded` must be well-formed as a whole: otherwise a quote that
    a client leaves open could include the hops that proxies append.

    Args:
        header: `forwarded`, or the name of a header that is a plain list.
        values: The value of each header line, in order.

    Returns:
        Canonical addresses, or `UNIX_SOCKET`. Of a plain list, at most the last `MOST_HOPS + 1` elements.

    Raises:
        UnreadableHopError: If the header is not well-formed, or when the iteration reaches a hop without a valid
            address.

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


def has_several_elements(header: str, value: bytes) -> bool:
    """Return whether the value of a header is a list of more than one element; False if `Forwarded` is not well-formed.

    Args:
        header: As in `hops_of`.
        value: The value of one header line.

    Example:
        >>> has_several_elements("forwarded", b'for=203.0.113.9;host="a,b"'), has_several_elements("x-real-ip", b"a,b")
        (False, True)
    """
    if header != "forwarded":
        return b"," in value
    try:
        return len(_forwarded_nodes(value)) > 1
    except UnreadableHopError:
        return False


def _read_forwarded(node: bytes | None) -> str:
    """Return the address of an element of `Forwarded`."""
    if node is None:
        raise UnreadableHopError("malformed_hop")
    return read_node(node, plain=False)


def _forwarded_nodes(value: bytes) -> list[bytes | None]:
    """Return the `for` parameter of each element of `Forwarded`, from the left; None if an element has none."""
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
    """Return the address of one hop, without its port.

    Args:
        node: `192.0.2.1`, `192.0.2.1:4711`, `[2001:db8::1]`, `[2001:db8::1]:4711`, `unix:`, or an obfuscated
            identifier. In `Forwarded`, the port may also be an obfuscated identifier.
        plain: Whether the node is an element of a plain list, as in `X-Forwarded-For`. In a plain list, surrounding
            spaces and tabs are ignored, and IPv6 may be written without brackets, but then without a port.

    Returns:
        The canonical address, or `UNIX_SOCKET`.

    Raises:
        UnreadableHopError: If the node contains no valid address.

    Example:
        >>> read_node(b"[::ffff:203.0.113.9]:4711")
        '203.0.113.9'
    """
    if plain:
        node = node.strip(b" \t")
        if len(node) > _LONGEST_NODE:
            raise UnreadableHopError("malformed_hop")
    # Bytes that are not ASCII become a character that no address contains.
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
