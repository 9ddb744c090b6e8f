"""WSGI middleware around any application (PEP 3333).

A WSGI server hands over headers by a name in which `-` and `_` are the same, so that a client's `X_Forwarded_For` may
look like the proxy's `X-Forwarded-For`. Servers and proxies worth running drop such names (gunicorn, waitress, nginx).
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeAlias

from cidrgate.account_sources import FromHeader, FromPath
from cidrgate.denial import STATUS, denial_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from wsgiref.types import StartResponse, WSGIApplication

    from cidrgate.gate import Gate, Verdict

    Account: TypeAlias = Callable[[dict[str, Any]], str | None]

__all__ = ["AllowlistMiddleware", "account_of_environ", "decide"]

_REWRITTEN = "werkzeug.proxy_fix.orig"
_STATUS_LINE = f"{STATUS} {HTTPStatus(STATUS).phrase}"


class AllowlistMiddleware:
    """Lets requests through that the gate admits, and answers 403 for the others.

    Args:
        app: The application.
        gate: Decides.
        account: From the environ to the account the request acts for, or None for none; or a `FromHeader` or
            `FromPath`.

    Example:
        >>> from cidrgate import Gate, Matcher
        >>> matcher = Matcher()
        >>> matcher.publish("acct-1", ["203.0.113.0/24"])
        >>> def app(environ, start_response):
        ...     return [b"the application runs"]
        >>> guarded = AllowlistMiddleware(app, Gate(matcher, log="none"), FromHeader("x-account"))
        >>> environ = {"HTTP_X_ACCOUNT": "acct-1", "REMOTE_ADDR": "8.8.8.8"}
        >>> body = guarded(environ, lambda status, headers: print(status))
        403 Forbidden
        >>> guarded(environ | {"REMOTE_ADDR": "203.0.113.9"}, None)
        [b'the application runs']
    """

    def __init__(self, app: WSGIApplication, gate: Gate, account: Account | FromHeader | FromPath) -> None:
        self.app = app
        self._gate = gate
        self._allows_peer = gate.allows_peer
        self._admits = gate.admits
        self._names = header_names(gate)
        self._account = account_of_environ(account)

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Ask the gate; run the application or deny."""
        account = failure = None
        admitted = False
        try:
            account = self._account(environ)
        except Exception as error:  # noqa: BLE001 - whatever broke, the gate decides
            failure = error
        else:
            if account is not None:
                try:
                    peer = peer_of(environ)
                    if self._allows_peer is None:
                        admitted = self._admits(account, peer, headers_of(environ, self._names))
                    elif peer is not None:
                        admitted = self._allows_peer(account, peer)
                except Exception:  # noqa: BLE001, S110 - `decide` finds out what it was
                    pass
        if not admitted:
            verdict = decide(self._gate, account, environ, failure)
            if not verdict.admitted:
                denial = denial_of(verdict, environ.get("HTTP_ACCEPT", ""))
                start_response(_STATUS_LINE, list(denial.headers))
                return [] if environ.get("REQUEST_METHOD") == "HEAD" else [denial.body]
        return self.app(environ, start_response)


def decide(gate: Gate, account: str | None, environ: dict[str, Any], failure: Exception | None = None) -> Verdict:
    """Decide about a request.

    Args:
        gate: Decides.
        account: The account it acts for; None for none.
        environ: The request's environ.
        failure: What broke before the account was known.
    """
    return gate.decide(account, peer_of(environ), headers_of(environ, header_names(gate)), failure=failure)


def peer_of(environ: dict[str, Any]) -> str | None:
    """The address of the socket's other end, as it was before Werkzeug's `ProxyFix` put another in its place."""
    if _REWRITTEN in environ:
        peer: str | None = environ[_REWRITTEN]["REMOTE_ADDR"]
        return peer
    return environ.get("REMOTE_ADDR")


def header_names(gate: Gate) -> tuple[tuple[str, bytes], ...]:
    """The headers a gate may ask for: their names in an environ, and as they are."""
    names = (gate.resolver.header, gate.request_id_header)
    return tuple((environ_name(name), name.encode("latin-1")) for name in names if name is not None)


def environ_name(header: str) -> str:
    """The name of a header in an environ."""
    return f"HTTP_{header.upper().replace('-', '_')}"


def headers_of(environ: dict[str, Any], names: tuple[tuple[str, bytes], ...]) -> list[tuple[bytes, bytes]]:
    """Those headers of a request that the gate asks for, one line each: the server has joined them."""
    return [(name, environ[key].encode("latin-1")) for key, name in names if key in environ]


def account_of_environ(account: Account | FromHeader | FromPath) -> Account:
    """What finds the account in an environ."""
    if isinstance(account, FromHeader):
        source, key = account, environ_name(account.name)
        return lambda environ: source.of_value(environ[key]) if key in environ else None
    if isinstance(account, FromPath):
        path_source = account
        return lambda environ: path_source.account(_path(environ))
    return account


def _path(environ: dict[str, Any]) -> str:
    """The path as the client asked for it; octets that are no UTF-8 become characters that no account has."""
    path: str = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
    return path.encode("latin-1").decode("utf-8", "surrogateescape")
