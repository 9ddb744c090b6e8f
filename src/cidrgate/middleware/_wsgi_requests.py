"""How to read WSGI environs, for every edge that gets them: the account, the peer and the verdict."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeAlias

from cidrgate._engine import _lines_of_environ
from cidrgate.gate.account_sources import Exempt
from cidrgate.gate.rewritten_peers import CLIENT_HEADERS
from cidrgate.middleware._request_account import RequestReader, account_finder
from cidrgate.middleware._wsgi_servers import (
    REWRITTEN,
    may_be_alias,
    may_have_trailers,
    refuse_alias,
    refuses_aliases,
    with_possible_trailers,
)

if TYPE_CHECKING:
    from cidrgate.gate.account_sources import FromHeader, FromPath
    from cidrgate.gate.gate import Gate
    from cidrgate.gate.verdict import Verdict

__all__ = [
    "READER",
    "VERDICT",
    "AccountFinder",
    "account_of_environ",
    "account_of_headers",
    "client_header_names",
    "decide",
    "environ_name",
    "header_names",
    "peer_of",
    "raw_path_of",
]

AccountFinder: TypeAlias = Callable[[dict[str, Any]], str | Exempt | None]

VERDICT = "cidrgate.verdict"
"""Where the application finds the verdict in the environ."""


def decide(
    gate: Gate, account: str | Exempt | None, environ: dict[str, Any], failure: Exception | None = None
) -> Verdict:
    """Decide about a request.

    Args:
        gate: Decides.
        account: The account of the request; None for no account, `EXEMPT` if it needs none.
        environ: The request's environ.
        failure: The error that occurred before the account was known.
    """
    peer, port, headers, aliases = None, None, [], True
    try:
        aliases = may_be_alias(environ, by_server=gate.resolver.resolved_by_server)
        headers = _lines_of_environ(environ, header_names(gate))
        if may_have_trailers(environ):
            headers = with_possible_trailers(gate.resolver, headers)
        peer, port = peer_of(environ, gate)
    except Exception as error:  # noqa: BLE001 - whatever broke, the gate decides
        failure = failure or error
    return gate.decide(account, peer, headers, port=port, aliases=aliases, failure=failure)


def peer_of(environ: dict[str, Any], gate: Gate) -> tuple[str | None, int | None]:
    """Return the address and the port of the socket's other end, from before Werkzeug's `ProxyFix` changed them.

    If the gate uses the server's address as it is (`resolved_by_server`), the current values count. The port is None if
    the server does not provide it. Both are None on a Unix socket.
    """
    port = environ.get("REMOTE_PORT")
    number = int(port) if port.__class__ is int or (port.__class__ is str and port.isdecimal()) else None
    peer: str | None
    if REWRITTEN in environ and not gate.resolver.resolved_by_server:
        peer = environ[REWRITTEN]["REMOTE_ADDR"]
    else:
        peer = environ.get("REMOTE_ADDR")
    if peer in _NAMES_OF_UNIX_PEERS and _is_on_unix_socket(environ):
        return None, None
    return peer, number


_NAMES_OF_UNIX_PEERS = frozenset({"localhost", "<local>", "0.0.0.0"})  # noqa: S104 - not an address to listen on
"""What waitress, Werkzeug and uWSGI report as the peer on a Unix socket."""


def _is_on_unix_socket(environ: dict[str, Any]) -> bool:
    """Return whether the request came by a Unix socket: its socket says so, which no client can forge."""
    family = getattr(socket, "AF_UNIX", None)
    if family is None:
        return False
    if "uwsgi.version" in environ:
        with socket.socket(fileno=os.dup(import_module("uwsgi").connection_fd())) as connection:
            return bool(connection.family == family)
    channel = getattr(environ.get("waitress.client_disconnected"), "__self__", None)
    connected = environ.get("werkzeug.socket") or getattr(channel, "socket", None)
    return bool(getattr(connected, "family", None) == family)


def header_names(gate: Gate) -> tuple[tuple[str, bytes], ...]:
    """Return the headers that a gate may read: their names in an environ, and their names as bytes."""
    own = () if gate.request_id_header is None else (named_in_environ(gate.request_id_header),)
    return tuple(dict.fromkeys([*client_header_names(gate), *own]))


def client_header_names(gate: Gate) -> tuple[tuple[str, bytes], ...]:
    """Return the headers among them that describe the client."""
    names = {*(name.decode("latin-1") for name in CLIENT_HEADERS), "x-forwarded-port", gate.resolver.client_header}
    return tuple(named_in_environ(name) for name in sorted(filter(None, names)))


def named_in_environ(header: str) -> tuple[str, bytes]:
    """Return the name of a header in an environ, and the header as bytes."""
    return environ_name(header), header.encode("latin-1")


def environ_name(header: str) -> str:
    """Return the name of a header in an environ."""
    name = header.upper().replace("-", "_")
    return name if name in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{name}"


def account_of_environ(account: AccountFinder | FromHeader | FromPath) -> AccountFinder:
    """Return the function that finds the account in an environ.

    Raises:
        TypeError: If `account` is not a valid account source.
    """
    return account_finder(account, READER)


def account_of_headers(source: FromHeader) -> Callable[[dict[str, Any]], str | None]:
    """Return the function that finds the account in the headers of an environ; it runs for every request."""
    key = environ_name(source.name)
    refuses = refuses_aliases(source)

    def account(environ: dict[str, Any]) -> str | None:
        if key not in environ:
            return None
        if refuses:
            refuse_alias(source, environ)
        return source.of_value(environ[key])

    return account


def path_of(environ: dict[str, Any]) -> str:
    """Return the path that the application routes by; invalid UTF-8 becomes characters that no account name contains.

    `SCRIPT_NAME` is not part of it: a server may let a client choose that value.
    """
    path: str = environ.get("PATH_INFO", "")
    return path.encode("latin-1", "replace").decode("utf-8", "surrogateescape")


def raw_path_of(environ: dict[str, Any]) -> bytes | None:
    """Return the path as it was received, encoded, or None: PEP 3333 does not require servers to provide it."""
    for name in ("RAW_URI", "REQUEST_URI"):
        raw = environ.get(name)
        if isinstance(raw, str):
            return raw.encode("latin-1", "replace")
    return None


READER: RequestReader[dict[str, Any]] = RequestReader(
    method=lambda environ: environ.get("REQUEST_METHOD", ""),
    path=path_of,
    raw_path=raw_path_of,
    of_header=account_of_headers,
)
