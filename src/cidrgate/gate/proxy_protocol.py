"""The PROXY protocol, versions 1 and 2: a TCP proxy starts a connection with a header that names the client.

Parse the header only if the peer is a trusted proxy: a client that connects directly can write any address. This module
is for servers that terminate the protocol themselves. The specification is HAProxy's `proxy-protocol.txt`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING, Literal

from cidrgate._engine import canonical_address
from cidrgate.errors import InvalidAddressError, ProxyProtocolError
from cidrgate.values import check_type, whole_number

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["LONGEST_HEADER", "ProxyHeader", "parse_proxy_header"]

LONGEST_HEADER = 4_096
"""The default limit for a version 2 header with its extensions, in bytes."""

_V1_START = b"PROXY "
_V1_LONGEST = 107
_PORT = rb"(0|[1-9][0-9]{0,4})"
_V1_LINE = re.compile(rb"PROXY (TCP[46]) ([0-9.]+|[0-9A-Fa-f:.]+) ([0-9.]+|[0-9A-Fa-f:.]+) " + _PORT + rb" " + _PORT)
_V1_UNKNOWN = b"PROXY UNKNOWN"
_V1_FIELDS = ("address", "address", "port", "port")
_LEAST_IPV4, _LEAST_IPV6 = b"0.0.0.0", b"::"
# The text that may complete the beginning of an address, shortest first.
_OPEN_IPV4 = (b"", b"0", b".0", b"0.0", b".0.0", b"0.0.0", b".0.0.0", b"0.0.0.0")
_OPEN_IPV6 = (b"", b":", b"0", b"::", b":0", *_OPEN_IPV4[2:7])
_HIGHEST_PORT = 65_535

# Version 2:  12 bytes signature | version, command | family, transport | length of the rest, 16 bits | rest
#     rest :  source address | destination address | source port | destination port | extensions (TLVs)
_V2_START = b"\r\n\r\n\0\r\nQUIT\n"
_V2_FIXED, _V2_FAMILY_END = 16, 14
_V2_LOCAL, _V2_PROXY = 0x20, 0x21
_V2_UNSPECIFIED = 0x00
_V2_ADDRESS_SIZES = {0x11: 4, 0x12: 4, 0x21: 16, 0x22: 16}
_V2_UNIX = {0x31: 216, 0x32: 216}


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyHeader:
    """The content of a PROXY protocol header.

    Attributes:
        size: How many bytes of the input the header takes; the data of the connection follows it.
        version: 1 or 2.
        source: The client's canonical address; pass it to `ClientIPResolver.resolve` as the peer. None if the header
            names no client (`LOCAL`, `UNKNOWN`, unspecified, Unix sockets).
        source_port: The client's port, or None.
        destination: The address that the client connected to, or None.
        destination_port: The port that the client connected to, or None.
        local: Whether the proxy itself is the client (`LOCAL`, a health check): use the peer as the client then.
    """

    size: int
    version: Literal[1, 2]
    source: str | None = None
    source_port: int | None = None
    destination: str | None = None
    destination_port: int | None = None
    local: bool = False


def parse_proxy_header(data: bytes, *, longest: int = LONGEST_HEADER) -> ProxyHeader | None:
    r"""Parse the header at the start of a connection. Call it only if the peer is a trusted proxy.

    Args:
        data: The first bytes of the connection: at least a whole header, if that much has been received.
        longest: The limit for a version 2 header in bytes, at least 16.

    Returns:
        The header, or None if it is not complete yet: call again when more bytes have been received.

    Raises:
        ProxyProtocolError: If the bytes are not the beginning of a valid header, or if the header is too long. The
            error is raised as early as possible.
        TypeError: If the data are not bytes, or `longest` is no whole number.
        ValueError: If `longest` is too small for a version 2 header.

    Example:
        >>> header = parse_proxy_header(b"PROXY TCP4 203.0.113.9 192.0.2.1 56324 443\r\nGET / HTTP/1.1\r\n")
        >>> header.source, header.destination_port, header.size
        ('203.0.113.9', 443, 44)
        >>> parse_proxy_header(b"PROXY TCP4 203.0") is None
        True
    """
    if isinstance(data, bytearray | memoryview):
        data = bytes(data)
    check_type(data, bytes, "data")
    whole_number(longest, "longest", least=_V2_FIXED)
    if data.startswith(_V2_START):
        return _version_2(data, longest)
    if data.startswith(_V1_START):
        return _version_1(data)
    if _V2_START.startswith(data) or _V1_START.startswith(data):
        return None
    raise ProxyProtocolError(f"the connection starts with {data[:12]!r}, which is not a PROXY protocol header")


def _version_1(data: bytes) -> ProxyHeader | None:
    """Parse a version 1 header, a line of text."""
    end = data.find(b"\r\n", 0, _V1_LONGEST)
    if end >= 0:
        return _v1_line(data[:end])
    if len(data) >= _V1_LONGEST:
        raise ProxyProtocolError(f"a PROXY line must end within {_V1_LONGEST} bytes")
    if not any(_v1_ends(data + rest) for rest in _v1_endings(data)):
        raise ProxyProtocolError(f"{data!r} is not the beginning of a PROXY line")
    return None


def _v1_line(line: bytes) -> ProxyHeader:
    """Parse a line without its line ending."""
    size = len(line) + 2
    if line == _V1_UNKNOWN or line.startswith(_V1_UNKNOWN + b" "):
        return ProxyHeader(size=size, version=1)
    parts = _V1_LINE.fullmatch(line)
    if parts is None:
        raise ProxyProtocolError(f"{line!r} is not a PROXY line")
    kind, source, destination, source_port, destination_port = parts.groups()
    for address in (source, destination):
        if (b":" in address) != (kind == b"TCP6"):
            raise ProxyProtocolError(f"{line!r}: an address does not belong to the named family")
    if max(int(source_port), int(destination_port)) > _HIGHEST_PORT:
        raise ProxyProtocolError(f"{line!r}: a port must be at most {_HIGHEST_PORT}")
    try:
        return ProxyHeader(
            size=size,
            version=1,
            source=canonical_address(source.decode("ascii")),
            source_port=int(source_port),
            destination=canonical_address(destination.decode("ascii")),
            destination_port=int(destination_port),
        )
    except InvalidAddressError as error:
        raise ProxyProtocolError(f"{line!r}: {error}") from error


def _v1_ends(line: bytes) -> bool:
    """Return whether the bytes are a whole PROXY line with its line ending and within the length limit."""
    if len(line) > _V1_LONGEST or not line.endswith(b"\r\n"):
        return False
    try:
        return _v1_line(line[:-2]).size == len(line)
    except ProxyProtocolError:
        return False


def _v1_endings(data: bytes) -> Iterator[bytes]:
    """Iterate over the shortest texts that may complete a line. If none of them makes a valid line, no text does.

    Each text completes the last field, which may already be complete, and adds the missing fields in their shortest
    form.
    """
    for whole in (b"PROXY UNKNOWN\r\n", b"PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n", b"PROXY TCP6 :: :: 0 0\r\n"):
        if whole.startswith(data):
            yield whole[len(data) :]
    if data.endswith(b"\r"):
        yield b"\n"
    if data.startswith(_V1_UNKNOWN + b" "):
        yield b"\r\n"
    kind, *fields = data.split(b" ")[1:]
    others = {b"TCP4": (_LEAST_IPV4, _OPEN_IPV4), b"TCP6": (_LEAST_IPV6, _OPEN_IPV6)}.get(kind)
    if others is None or not 1 <= len(fields) <= len(_V1_FIELDS):
        return
    least, lacking = others
    missing = _V1_FIELDS[len(fields) :]
    rest = b"".join(b" " + (least if field == "address" else b"0") for field in missing) + b"\r\n"
    for lacks in lacking if _V1_FIELDS[len(fields) - 1] == "address" else (b"", b"0"):
        yield lacks + rest


def _version_2(data: bytes, longest: int) -> ProxyHeader | None:
    """Parse a version 2 header, which is binary; its extensions are skipped."""
    if len(data) > 12 and data[12] not in (_V2_LOCAL, _V2_PROXY):
        raise ProxyProtocolError(f"version and command are {data[12]:#04x}, not {_V2_LOCAL:#x} or {_V2_PROXY:#x}")
    if len(data) < _V2_FAMILY_END:
        return None
    command, family = data[12], data[13]
    address_size = _V2_ADDRESS_SIZES.get(family, 0)
    needed = 0
    if command == _V2_PROXY:
        needed = _V2_UNIX.get(family, 2 * address_size + 4 if address_size else 0)
        if not needed and family != _V2_UNSPECIFIED:
            raise ProxyProtocolError(f"family and transport are {family:#04x}, which is not assigned")
    # The bytes of the length field received so far give a lower and an upper bound of the length.
    least, most = (int.from_bytes(data[14:16].ljust(2, filler), "big") for filler in (b"\0", b"\xff"))
    if most < needed:
        raise ProxyProtocolError(f"{most} bytes are too few for addresses of family {family:#04x}")
    if _V2_FIXED + max(least, needed) > longest:
        raise ProxyProtocolError(f"the header takes more than {longest} bytes")
    size = _V2_FIXED + least
    if len(data) < _V2_FIXED or len(data) < size:
        return None
    if command == _V2_LOCAL:
        return ProxyHeader(size=size, version=2, local=True)
    if not address_size:
        return ProxyHeader(size=size, version=2)
    addresses = data[_V2_FIXED : _V2_FIXED + 2 * address_size]
    ports = data[_V2_FIXED + 2 * address_size :]
    return ProxyHeader(
        size=size,
        version=2,
        source=_packed(addresses[:address_size]),
        source_port=int.from_bytes(ports[:2], "big"),
        destination=_packed(addresses[address_size:]),
        destination_port=int.from_bytes(ports[2:4], "big"),
    )


def _packed(address: bytes) -> str:
    return canonical_address(str(ip_address(address)))
