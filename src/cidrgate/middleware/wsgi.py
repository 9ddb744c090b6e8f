"""WSGI middleware around any application (PEP 3333).

A WSGI server passes headers by names in which `-` and `_` are the same, so a client's `X_Forwarded_For` may look
like the proxy's `X-Forwarded-For`. Use a server that drops such names, as gunicorn and waitress do. Under other servers
the header of a proxy does not count, unless `allow_aliases` says that the proxy drops them.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeAlias

from cidrgate._engine import _is_plain, _lines_of_environ
from cidrgate.gate.account_sources import FromHeader, FromPath, FromRoute
from cidrgate.gate.denial import STATUS, denial_of
from cidrgate.gate.gate import check_gate
from cidrgate.gate.late_verdict import LateVerdict
from cidrgate.gate.verdict import mode_headers
from cidrgate.middleware._wsgi_requests import (
    VERDICT,
    AccountFinder,
    account_of_environ,
    client_header_names,
    decide,
    environ_name,
    header_names,
    peer_of,
)
from cidrgate.middleware._wsgi_servers import (
    REWRITTEN,
    drops_aliases,
    may_have_trailers,
    may_pass_alias,
    may_read_alias,
    refuses_aliases,
)
from cidrgate.values import check_callable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from wsgiref.types import StartResponse, WSGIApplication

    from cidrgate.gate.gate import Gate
    from cidrgate.gate.verdict import Verdict

__all__ = ["AccountSource", "AllowlistMiddleware"]

AccountSource: TypeAlias = AccountFinder | FromHeader | FromPath
"""What names the account of a request: a callable from the environ, or a source."""

_NO_PORT = ("0", 0)
_new = object.__new__
_STATUS_LINE = f"{STATUS} {HTTPStatus(STATUS).phrase}"


class AllowlistMiddleware:
    """Runs the application for requests that the gate allows, and answers 403 to the others.

    It protects nothing if a client can choose the account freely: the gate trusts the account that `account` returns.
    A client address that comes from a header is unknown if the server does not drop names such as `X_Forwarded_For`,
    with which a client could forge it, unless `ClientIPResolver(allow_aliases=True)` says that the proxies drop them.

    The application finds the verdict in `environ["cidrgate.verdict"]`.

    Args:
        app: The application.
        gate: Decides about each request.
        account: A callable from the environ to the account of the request, None for no account, or `EXEMPT`; or a
            `FromHeader` or `FromPath`. `FromRoute` does not work here, because the route of the application is not
            known yet: use it in the edge of the framework.

    Raises:
        TypeError: If an argument is of another type, or this edge does not support the account source.

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

    def __init__(self, app: WSGIApplication, gate: Gate, account: AccountSource) -> None:
        if isinstance(account, FromRoute):
            raise TypeError(
                "the route of a WSGI application is not known around it: use FromRoute in cidrgate.middleware.flask or "
                "cidrgate.middleware.django, or FromPath here"
            )
        check_callable(app, "app")
        check_gate(gate)
        self.app = app
        self._gate = gate
        self._allows_peer = gate.allows_peer
        self._allows = gate.allows
        self._names = () if gate.resolver.resolved_by_server else client_header_names(gate)
        self._has_id = gate.request_id_header is not None
        self._all_names = header_names(gate)
        self._account = account_of_environ(account)
        # The account of most requests is in a plain header, which needs no further call.
        self._key: str | None = None
        self._lookup: Callable[[str], str | None] | None = None
        self._clear: set[str] | None = None
        self._refuses_aliases = gate.resolver.refuses_aliases
        self._by_server = gate.resolver.resolved_by_server
        if isinstance(account, FromHeader) and account.scheme is None and not account.exempt:
            self._key = environ_name(account.name)
            self._lookup = account.lookup
            self._clear = set() if refuses_aliases(account) else None

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Ask the gate, then run the application or deny."""
        account = failure = None
        allowed = False
        # The same as `find_account`, inline to save the time of a call.
        try:
            if (
                self._key in environ
                and (self._clear is None or environ.get("SERVER_SOFTWARE") in self._clear or self._is_clear(environ))
                and _is_plain(text := environ[self._key])
            ):
                account = text if self._lookup is None else self._lookup(text)
            else:
                account = self._account(environ)
        except Exception as error:  # noqa: BLE001 - the gate decides
            failure = error
        else:
            if account.__class__ is str:
                try:
                    headers = _lines_of_environ(environ, self._names)
                    if headers or self._allows_peer is None:
                        if (not self._refuses_aliases or drops_aliases(environ)) and not may_have_trailers(environ):
                            peer, port = peer_of(environ, self._gate)
                            allowed = self._allows(account, peer, headers, port)
                    elif (
                        REWRITTEN not in environ
                        and environ.get("REMOTE_PORT") not in _NO_PORT
                        and not (self._by_server and (may_have_trailers(environ) or may_read_alias(environ)))
                    ):
                        peer, port = environ["REMOTE_ADDR"], None
                        allowed = self._allows_peer(account, peer)
                except Exception:  # noqa: BLE001, S110 - `decide` finds out what it was
                    pass
        verdict: Verdict
        if allowed:
            if self._has_id:
                headers = _lines_of_environ(environ, self._all_names)
            verdict = _new(LateVerdict)
            verdict._late = (self._gate, account, peer, headers, port)
        else:
            verdict = decide(self._gate, account, environ, failure)
        environ[VERDICT] = verdict
        if allowed:
            return self.app(environ, start_response)
        if verdict.allowed:
            return self.app(environ, _starting_with_mode(start_response, verdict))
        denial = denial_of(verdict, environ.get("HTTP_ACCEPT", ""))
        start_response(_STATUS_LINE, list(denial.headers))
        return [] if environ.get("REQUEST_METHOD") == "HEAD" else [denial.body]

    def _is_clear(self, environ: dict[str, Any]) -> bool:
        """Return whether the header with the account is no alias, and remember the server if it has a name."""
        if may_pass_alias(environ):
            return False
        if self._clear is not None and "SERVER_SOFTWARE" in environ:
            self._clear.add(environ["SERVER_SOFTWARE"])
        return True


def _starting_with_mode(start_response: StartResponse, verdict: Verdict) -> StartResponse:
    """Return a `start_response` that adds the mode to the headers, if only it allows the request."""
    headers = mode_headers(verdict)
    if not headers:
        return start_response

    def start(status: str, given: list[tuple[str, str]], *error: Any) -> Any:
        return start_response(status, [*given, *headers], *error)

    return start
