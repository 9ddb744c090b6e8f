"""WSGI middleware around any application (PEP 3333).

A WSGI server passes headers by names in which `-` and `_` are the same, so a client's `X_Forwarded_For` may look
like the proxy's `X-Forwarded-For`. Use a server or a proxy that drops such names: gunicorn, waitress and nginx do.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeAlias

from cidrgate._engine import _lines_of_environ
from cidrgate.gate.account_sources import FromRoute
from cidrgate.gate.denial import STATUS, denial_of
from cidrgate.gate.gate import check_gate
from cidrgate.gate.rewritten_peers import CLIENT_HEADERS
from cidrgate.middleware._request_account import RequestReader, account_finder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from wsgiref.types import StartResponse, WSGIApplication

    from cidrgate.gate.account_sources import Exempt, FromHeader, FromPath
    from cidrgate.gate.gate import Gate
    from cidrgate.gate.verdict import Verdict

    Account: TypeAlias = Callable[[dict[str, Any]], str | Exempt | None]

__all__ = ["READER", "AllowlistMiddleware", "account_of_environ", "account_of_headers", "decide", "raw_path_of"]

_REWRITTEN = "werkzeug.proxy_fix.orig"
_NO_PORT = ("0", 0)
_STATUS_LINE = f"{STATUS} {HTTPStatus(STATUS).phrase}"


class AllowlistMiddleware:
    """Runs the application for requests that the gate allows, and answers 403 to the others.

    It protects nothing if a client can choose the account freely: the gate trusts the account that `account` returns.
    It trusts forwarded headers only if the server or the proxy drops names with `_`, such as `X_Forwarded_For`: a
    client can forge the headers otherwise.

    Args:
        app: The application.
        gate: Decides about each request.
        account: A callable from the environ to the account of the request, None for no account, or `EXEMPT`; or a
            `FromHeader` or `FromPath`. `FromRoute` does not work here, because the route of the application is not
            known yet: use it in the edge of the framework.

    Raises:
        TypeError: If this edge does not support the account source.

    Example:
        >>> from cidrgate import FromHeader, Gate, Matcher
        >>> matcher = Matcher()
        >>> matcher.publish("acct-1", ["203.0.113.0/24"])
        >>> def app(environ, start_response):
        ...     return [b"the application runs"]
        >>> gate = Gate(matcher, unlisted="deny_unknown", log="none")
        >>> guarded = AllowlistMiddleware(app, gate, FromHeader("x-account"))
        >>> environ = {"HTTP_X_ACCOUNT": "acct-1", "REMOTE_ADDR": "8.8.8.8"}
        >>> body = guarded(environ, lambda status, headers: print(status))
        403 Forbidden
        >>> guarded(environ | {"REMOTE_ADDR": "203.0.113.9"}, None)
        [b'the application runs']
    """

    def __init__(self, app: WSGIApplication, gate: Gate, account: Account | FromHeader | FromPath) -> None:
        if isinstance(account, FromRoute):
            raise TypeError(
                "the route of a WSGI application is not known around it: use FromRoute in cidrgate.middleware.flask or "
                "cidrgate.middleware.django, or FromPath here"
            )
        check_gate(gate)
        self.app = app
        self._gate = gate
        self._allows_peer = gate.allows_peer
        self._allows = gate.allows
        self._names = () if gate.resolver.resolved_by_server else client_header_names(gate)
        self._account = account_of_environ(account)

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Ask the gate, then run the application or deny."""
        account = failure = None
        allowed = False
        # The same as `find_account`, inline to save the time of a call.
        try:
            account = self._account(environ)
        except Exception as error:  # noqa: BLE001 - the gate decides
            failure = error
        else:
            if account.__class__ is str:
                try:
                    headers = _lines_of_environ(environ, self._names)
                    if headers or self._allows_peer is None:
                        peer, port = peer_of(environ, self._gate)
                        allowed = self._allows(account, peer, headers, port)
                    elif _REWRITTEN not in environ and environ.get("REMOTE_PORT") not in _NO_PORT:
                        allowed = self._allows_peer(account, environ["REMOTE_ADDR"])
                except Exception:  # noqa: BLE001, S110 - `decide` finds out what it was
                    pass
        if not allowed:
            verdict = decide(self._gate, account, environ, failure)
            if not verdict.allowed:
                denial = denial_of(verdict, environ.get("HTTP_ACCEPT", ""))
                start_response(_STATUS_LINE, list(denial.headers))
                return [] if environ.get("REQUEST_METHOD") == "HEAD" else [denial.body]
        return self.app(environ, start_response)


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
    peer, port, headers = None, None, []
    try:
        headers = _lines_of_environ(environ, header_names(gate))
        peer, port = peer_of(environ, gate)
    except Exception as error:  # noqa: BLE001 - whatever broke, the gate decides
        failure = failure or error
    return gate.decide(account, peer, headers, port=port, failure=failure)


def peer_of(environ: dict[str, Any], gate: Gate) -> tuple[str | None, int | None]:
    """Return the address and the port of the socket's other end, from before Werkzeug's `ProxyFix` changed them.

    If the gate uses the server's address as it is (`resolved_by_server`), the current values count. The port is None if
    the server does not provide it.
    """
    port = environ.get("REMOTE_PORT")
    number = int(port) if port.__class__ is int or (port.__class__ is str and port.isdecimal()) else None
    if _REWRITTEN in environ and not gate.resolver.resolved_by_server:
        peer: str | None = environ[_REWRITTEN]["REMOTE_ADDR"]
        return peer, number
    return environ.get("REMOTE_ADDR"), number


def header_names(gate: Gate) -> tuple[tuple[str, bytes], ...]:
    """Return the headers that a gate may read: their names in an environ, and their names as bytes."""
    own = () if gate.request_id_header is None else (named_in_environ(gate.request_id_header),)
    return tuple(dict.fromkeys([*client_header_names(gate), *own]))


def client_header_names(gate: Gate) -> tuple[tuple[str, bytes], ...]:
    """Return the headers among them that describe the client."""
    names = {*(name.decode("latin-1") for name in CLIENT_HEADERS), "x-forwarded-port", gate.resolver.header}
    return tuple(named_in_environ(name) for name in sorted(filter(None, names)))


def named_in_environ(header: str) -> tuple[str, bytes]:
    """Return the name of a header in an environ, and the header as bytes."""
    return environ_name(header), header.encode("latin-1")


def environ_name(header: str) -> str:
    """Return the name of a header in an environ."""
    name = header.upper().replace("-", "_")
    return name if name in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{name}"


def account_of_environ(account: Account | FromHeader | FromPath) -> Account:
    """Return the function that finds the account in an environ.

    Raises:
        TypeError: If `account` is not a valid account source.
    """
    return account_finder(account, READER)


def account_of_headers(source: FromHeader) -> Callable[[dict[str, Any]], str | None]:
    """Return the function that finds the account in the headers of an environ; it runs for every request."""
    key = environ_name(source.name)
    return lambda environ: source.of_value(environ[key]) if key in environ else None


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
