"""`ClientIPResolver`: finds the client address of a request, as the last trusted hop saw it.

A header counts only as far as trusted proxies wrote it. This module knows no framework; `forwarded` parses the headers,
and `rewritten_peers` detects a peer that a server has rewritten.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from cidrgate._engine import PrefixTrie, _HeaderField, _HeaderNames, canonical_address
from cidrgate.errors import InvalidAddressError
from cidrgate.gate.forwarded import MOST_HOPS, UNIX_SOCKET, HopProblem, UnreadableHopError, hops_of, read_node
from cidrgate.gate.header_names import check_token, has_alias
from cidrgate.gate.rewritten_peers import CLIENT_HEADERS, PORT_HEADERS, came_with_port, holds
from cidrgate.gate.trailers import TRANSFER_ENCODING, may_be_trailer
from cidrgate.gate.trusted_networks import refuse_everybody
from cidrgate.rules.format_hints import format_hint
from cidrgate.values import check_switches, text_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    from cidrgate.values import Address, Prefix

__all__ = ["ClientAddress", "ClientIPResolver", "ClientProblem", "header_lines"]

ClientProblem: TypeAlias = (
    HopProblem
    | Literal[
        "no_address",
        "invalid_peer",
        "rewritten_peer",
        "missing_header",
        "possible_alias",
        "possible_trailer",
        "repeated_header",
        "too_few_hops",
        "too_many_hops",
    ]
)
"""Why a request has no client address; `ClientAddress` describes them. Later versions may add values."""

_Found: TypeAlias = tuple[str | None, str, int | None, ClientProblem | None]

_UNIX_PEERS = (UNIX_SOCKET, "/")
_PACKED_SIZES = (4, 16)
_LISTS = ("x-forwarded-for", "forwarded")
_SAY_HEADERS = 'headers must be pairs of bytes, as in [(b"x-forwarded-for", b"203.0.113.9")]'
_CHUNKED = _HeaderNames([TRANSFER_ENCODING])
_NO_NAME = _HeaderNames([b"\0"])
"""No header has this name, so lines that it may be in have unusual types."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientAddress:
    """The client address of a request, and the source that it comes from.

    Attributes:
        address: Canonical text; None if the client is unknown. An enforced account then denies the request.
        source: `peer` for the address of the socket's other end, `server` for the address that the server resolved, or
            the name of the header that was used.
        hop: The position in that header's list, counted from the right: 1 is the hop that the nearest proxy wrote. None
            if there is no list.
        problem: Why there is no address, or None; later versions may add values:

            - `no_address`: the client is on a Unix socket, or the server does not report a peer
            - `invalid_peer`: the peer that the server reports is not an address; `trusted_hops` does not check the peer
            - `rewritten_peer`: something in the server, such as uvicorn's `--proxy-headers`, has replaced the peer with
              an address from a header, by its own rules. The peer is not a trusted proxy and also stands in a header
              that names clients, or it has a port that no client has: 0, also in Django's `AsyncClient` for tests.
            - `missing_header`: the peer is a trusted proxy that did not send the header, or the server removed it, as
              waitress does by default
            - `possible_alias`: the WSGI server does not drop names such as `X_Forwarded_For`, so the header may be one
              that the client wrote; see `allow_aliases`
            - `possible_trailer`: the header is repeated in a request with `Transfer-Encoding`. The last line may be a
              trailer, which uvicorn with httptools appends to the headers, and which no proxy has checked. A bridge
              from ASGI to WSGI joins the lines of a header, so that there more than one hop counts as repeated. With
              `resolved_by_server` this is so for every header that names clients: the server may have read a trailer.
            - `repeated_header`: a header for a single value is repeated
            - `malformed_hop`: the hop is empty, is not an address, or has a zone or an impossible port
            - `obfuscated_hop`: the hop is `unknown` or a name such as `_hidden`
            - `malformed_header`: `Forwarded` violates RFC 7239, for example by an open quote
            - `header_too_long`: `Forwarded` is longer than `LONGEST_FORWARDED`
            - `too_few_hops`: the header contains fewer hops than `trusted_hops`
            - `too_many_hops`: the header contains more than `MOST_HOPS` trusted hops
    """

    address: str | None
    source: str
    hop: int | None = None
    problem: ClientProblem | None = None


class ClientIPResolver:
    """Finds the client address of a request. Do not use it behind a server that also rewrites the peer.

    Only one of the two, the server or this class, may read the forwarded headers. A rewritten peer can be recognised by
    the traces it leaves in the request; such a request has no client address, so an enforced account denies it.
    Instances are immutable and can be shared between threads.

    Without arguments, the client is the socket's peer, and no header counts. Behind proxies, name either the proxies or
    their number, not both:

    - `trusted_proxies`: the header counts only if the peer is a trusted proxy. The client is then the rightmost hop
      that is not a trusted proxy, or the leftmost hop if all are.
    - `trusted_hops`: the header always counts, and the client is that many hops from the right. Use it only if no one
      but the proxy can reach the server.

    Args:
        trusted_proxies: Networks of the proxies, such as `10.0.0.10/32`, and `unix:` for every peer on a Unix socket.
            Name only the proxies, and no network that they share with others: anyone with one of these addresses can
            claim any client address, also through a proxy.
        trusted_hops: How many proxies there are between the client and this server; at least 1.
        client_header: The header that the proxies write: `x-forwarded-for` (the default), `forwarded` (RFC 7239), or a
            header with a single address, such as `cf-connecting-ip`, `x-real-ip` or `fly-client-ip`. A header with a
            single address needs `trusted_proxies`.
        trust_everybody: Whether the trusted proxies may cover the whole public address space. Anyone who can reach the
            server can then claim any client address.
        allow_aliases: Whether to use the header under WSGI servers that do not drop names such as `X_Forwarded_For`.
            There a client's header of this name looks like the proxy's `X-Forwarded-For`. Use it only if the proxies
            drop such names. Other servers need no argument: names can be told apart under ASGI and aiohttp; and
            gunicorn (22 or later), waitress and Werkzeug (3 or later) drop them. Servers for development and the test
            clients of Flask, Werkzeug, Django and WebTest, in front of which is no proxy, need none either, nor does
            `Forwarded`, whose name has no alias.
        resolved_by_server: Whether to use the server's peer address as it is. Use it only if the server is configured
            to read forwarded headers from its own proxies only. Excludes all other arguments but `allow_aliases`, which
            it needs behind Werkzeug's `ProxyFix` and granian's `wrap_wsgi_with_proxy_headers` under the same servers.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If the arguments contradict each other, if the header is not a token (RFC 9110 section 5.6.2), if a
            trusted proxy in public space is wider than /8 (IPv4) or /16 (IPv6), or if the trusted proxies together
            cover a quarter of the public space.
        InvalidAddressError: If a trusted proxy is not a network.

    Example:
        >>> resolver = ClientIPResolver(trusted_proxies=["10.0.0.10/32"])
        >>> spoofed = [(b"x-forwarded-for", b"8.8.8.8, 203.0.113.9")]
        >>> resolver.resolve("10.0.0.10", spoofed)
        ClientAddress(address='203.0.113.9', source='x-forwarded-for', hop=1, problem=None)
        >>> resolver.resolve("198.51.100.7", spoofed)
        ClientAddress(address='198.51.100.7', source='peer', hop=None, problem=None)
    """

    __slots__ = (
        *("_claims", "_field", "_hops", "_only", "_other_ports", "_proxies", "_trusts_everybody", "_unix"),
        *("allow_aliases", "client_header", "refuses_aliases", "resolved_by_server"),
    )

    allow_aliases: bool
    """Whether the header counts under WSGI servers that do not drop names such as `X_Forwarded_For`."""

    refuses_aliases: bool
    """Whether a header counts that has aliases, here or for the server, and `allow_aliases` is not set."""

    client_header: str | None
    """The header that may count, in lower case; None if only the peer counts."""

    resolved_by_server: bool
    """Whether the server's peer address is used as it is."""

    def __init__(
        self,
        *,
        trusted_proxies: Iterable[Prefix] | None = None,
        trusted_hops: int | None = None,
        client_header: str | None = None,
        trust_everybody: bool = False,
        allow_aliases: bool = False,
        resolved_by_server: bool = False,
    ) -> None:
        check_switches(
            trust_everybody=trust_everybody, allow_aliases=allow_aliases, resolved_by_server=resolved_by_server
        )
        if resolved_by_server and not (trusted_proxies is None and trusted_hops is None and client_header is None):
            raise ValueError(
                "resolved_by_server uses the server's peer address: do not combine it with trusted_proxies, "
                "trusted_hops or client_header"
            )
        if trusted_proxies is not None and trusted_hops is not None:
            raise ValueError("name trusted_proxies or trusted_hops, not both")
        if allow_aliases and trusted_proxies is None and trusted_hops is None and not resolved_by_server:
            raise ValueError(
                "allow_aliases is about the header of a proxy: name trusted_proxies or trusted_hops, or set "
                "resolved_by_server"
            )
        if client_header is not None:
            check_token(client_header, "the header with the client's address")
        if trusted_proxies is None and trusted_hops is None and client_header is not None:
            raise ValueError(f"{client_header} can only be trusted from a proxy: name trusted_proxies or trusted_hops")
        if trusted_hops is not None and (
            isinstance(trusted_hops, bool) or not isinstance(trusted_hops, int) or not 0 < trusted_hops < MOST_HOPS
        ):
            raise ValueError(
                f"trusted_hops must be the number of proxies, at least 1 and below {MOST_HOPS}, not {trusted_hops!r}"
            )
        name = "x-forwarded-for" if client_header is None else client_header.lower()
        if trusted_hops is not None and name not in _LISTS:
            raise ValueError(f"{client_header} contains no list of hops: name the trusted_proxies that may send it")
        if isinstance(trusted_proxies, str):
            raise TypeError("trusted_proxies must be an iterable of networks, not one str: write [network]")
        named = [] if trusted_proxies is None else list(trusted_proxies)
        self._unix = UNIX_SOCKET in named
        self._proxies = _networks(network for network in named if network != UNIX_SOCKET)
        if trust_everybody and not named:
            raise ValueError("trust_everybody needs trusted_proxies: name them")
        if not trust_everybody:
            refuse_everybody(self._proxies)
        self._trusts_everybody = trust_everybody
        self._hops = trusted_hops
        self.client_header = name if named or trusted_hops is not None else None
        self.allow_aliases = allow_aliases
        reads_alias = resolved_by_server or (self.client_header is not None and has_alias(name))
        self.refuses_aliases = reads_alias and not allow_aliases
        self._field = name.encode("latin-1")
        self._only = _HeaderField(self._field)
        self._claims = _HeaderNames(CLIENT_HEADERS | {self._field})
        self._other_ports = _HeaderNames(PORT_HEADERS - {self._field})
        self.resolved_by_server = resolved_by_server

    def __repr__(self) -> str:
        """Return the call that makes an equal resolver."""
        return f"ClientIPResolver({', '.join(f'{name}={value!r}' for name, value in self._given().items())})"

    def __reduce__(self) -> tuple[partial[Self], tuple[()]]:
        """Return how to make an equal resolver, also in another process."""
        return partial(type(self), **self._given()), ()

    def _given(self) -> dict[str, Any]:
        """Return the arguments that differ from the defaults."""
        given: dict[str, Any] = {}
        if self._hops is not None:
            given["trusted_hops"] = self._hops
        elif self.client_header is not None or (self.allow_aliases and not self.resolved_by_server):
            given["trusted_proxies"] = [*self._proxies, *([UNIX_SOCKET] if self._unix else [])]
        if self.client_header not in (None, "x-forwarded-for"):
            given["client_header"] = self.client_header
        if self._trusts_everybody:
            given["trust_everybody"] = True
        if self.allow_aliases:
            given["allow_aliases"] = True
        if self.resolved_by_server:
            given["resolved_by_server"] = True
        return given

    def resolve(
        self, peer: Address | None, headers: Iterable[tuple[bytes, bytes]], *, port: int | None = None
    ) -> ClientAddress:
        """Return the client of a request.

        Args:
            peer: The address of the socket's other end, as the server reports it; None, empty, `unix:` or a path for a
                Unix socket.
            headers: Every header line as it was received, in order: pairs of bytes, names in upper or lower case.
            port: The port of the socket's other end, as the server reports it, or None if it does not. The port helps
                to detect a server that has replaced the peer with an address from a header.

        Raises:
            TypeError: If the peer is no address or the port no int, or if the headers are not pairs of bytes: a dict
                would lose repeated lines.
        """
        address, source, hop, problem = self._find(peer, header_lines(headers), port)
        return ClientAddress(address=address, source=source, hop=hop, problem=problem)

    def address(
        self, peer: Address | None, headers: Sequence[tuple[bytes, bytes]], port: int | None = None
    ) -> str | None:
        """Return only the `address` of the client; this is faster than `resolve`.

        Args:
            peer: As in `resolve`.
            headers: As in `resolve`; it is read more than once.
            port: As in `resolve`.

        Raises:
            TypeError: As in `resolve`; of the headers, if one is read.
        """
        return self._find(peer, headers, port)[0]

    def _find(self, peer: Address | None, headers: Sequence[tuple[bytes, bytes]], port: int | None) -> _Found:
        """Return the attributes of a `ClientAddress`."""
        header = self.client_header
        if port is not None and (isinstance(port, bool) or not isinstance(port, int)):
            raise TypeError(f"port must be an int or None, not {type(port).__name__}")
        if peer is not None and not isinstance(peer, str):
            peer = _peer_text(peer)
        try:
            if not peer or peer.startswith(_UNIX_PEERS):
                node, trusted = UNIX_SOCKET, self._unix
            elif header is not None and self._hops is None and self._proxies.lookup(peer):
                # The canonical text is not needed here.
                node, trusted = peer, True
            else:
                node, trusted = canonical_address(peer), False
        except InvalidAddressError:
            if self._hops is None:
                return None, "peer", None, "invalid_peer"
            node, trusted = "", False
        if self.resolved_by_server:
            if headers and _CHUNKED.may_be_in(headers):
                lines = header_lines(headers)
                if any(may_be_trailer(name, lines) for name in CLIENT_HEADERS):
                    return None, "server", None, "possible_trailer"
            return _found(node, "server", None)
        if port == 0 and node != UNIX_SOCKET:
            return None, "peer", None, "rewritten_peer"
        if header is None or not (trusted or self._hops):
            claims = self._claims
            if node == UNIX_SOCKET:
                return None, "peer", None, "no_address"
            if headers and claims.may_be_in(headers):
                header_lines(headers)
                for name, value in headers:
                    if name.lower() in claims and holds(value, node):
                        return None, "peer", None, "rewritten_peer"
            return node, "peer", None, None
        only = self._only.value(headers)
        if only is None:
            header_lines(headers)
        values = [only] if only is not None else [value for name, value in headers if name.lower() == self._field]
        named = b":" in (only or b",".join(values)) or self._other_ports.may_be_in(headers)
        if named and port and trusted and node != UNIX_SOCKET and came_with_port(node, port, headers):
            return None, "peer", None, "rewritten_peer"
        if not values:
            return None, header, None, "missing_header"
        if len(values) > 1 and may_be_trailer(self._field, headers):
            return None, header, None, "possible_trailer"
        if header in _LISTS:
            return self._in_list(header, values)
        if len(values) > 1:
            return None, header, None, "repeated_header"
        try:
            return _found(read_node(values[0]), header, None)
        except UnreadableHopError as error:
            return None, header, None, error.problem

    def _trusts(self, node: str) -> bool:
        return self._unix if node == UNIX_SOCKET else self._proxies.lookup(node) is not None

    def _in_list(self, header: str, values: Sequence[bytes]) -> _Found:
        """Return the client from the hops of a list header that a trusted proxy sent."""
        hop = 0
        node = UNIX_SOCKET
        try:
            for node in hops_of(header, values):
                hop += 1
                if hop == self._hops or (self._hops is None and not self._trusts(node)):
                    return _found(node, header, hop)
                if hop == MOST_HOPS:
                    return None, header, hop, "too_many_hops"
        except UnreadableHopError as error:
            return None, header, hop + 1, error.problem
        if self._hops is not None:
            return None, header, hop, "too_few_hops"
        return _found(node, header, hop)


def header_lines(headers: object) -> tuple[tuple[bytes, bytes], ...]:
    """Return header lines as a tuple, after a check of their types: a name of another type would not be found.

    Raises:
        TypeError: If they are not pairs of bytes.

    Example:
        >>> header_lines({"X-Forwarded-For": "203.0.113.9"})
        Traceback (most recent call last):
        ...
        TypeError: headers must be pairs of bytes, as in [(b"x-forwarded-for", b"203.0.113.9")], not a dict
    """
    if isinstance(headers, (Mapping, str, bytes, bytearray)) or not isinstance(headers, Iterable):
        raise TypeError(f"{_SAY_HEADERS}, not a {type(headers).__name__}")
    lines = tuple(headers)
    if _NO_NAME.may_be_in(lines):
        for line in lines:
            if not isinstance(line, (tuple, list)) or [isinstance(part, bytes) for part in line] != [True, True]:
                kinds = ", ".join(type(part).__name__ for part in line) if isinstance(line, (tuple, list)) else ""
                raise TypeError(f"{_SAY_HEADERS}, not a {type(line).__name__}{kinds and f' of {kinds}'}")
    return lines


def _peer_text(peer: bytes | IPv4Address | IPv6Address) -> str:
    """Return the text of a peer that is given in another form; bytes of another length become text of no address.

    Raises:
        TypeError: If it has no form of an address.
    """
    if isinstance(peer, bytes):
        return str(ip_address(peer)) if len(peer) in _PACKED_SIZES else repr(peer)
    if not isinstance(peer, (IPv4Address, IPv6Address)):
        raise TypeError(
            f"peer must be a str, packed bytes (4 or 16), an ipaddress object or None, not {type(peer).__name__}"
        )
    # An address with a network is the address.
    return str(getattr(peer, "ip", peer))


def _found(node: str, source: str, hop: int | None) -> _Found:
    if node == UNIX_SOCKET:
        return None, source, hop, "no_address"
    return node, source, hop, None


def _networks(networks: Iterable[Prefix]) -> PrefixTrie[bool]:
    """Return the trusted proxies as a trie, to be asked with `lookup`, which refuses text that is a network.

    The error for an invalid network contains a hint.
    """
    named = list(networks)
    for network in named:
        try:
            PrefixTrie([network])
        except InvalidAddressError as error:
            raise InvalidAddressError(f"trusted proxy {network!r}: {format_hint(text_of(network))}") from error
    return PrefixTrie(dict.fromkeys(named, True))
