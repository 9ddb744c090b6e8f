"""The Flask extension; needs Flask."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from flask import Blueprint, Flask, Request, Response, g, request

from cidrgate.gate.account_sources import Exempt, FromHeader, FromPath, FromRoute
from cidrgate.gate.denial import STATUS, denial_of
from cidrgate.gate.gate import check_gate
from cidrgate.gate.verdict import mode_headers
from cidrgate.middleware import _wsgi_requests as wsgi
from cidrgate.middleware._request_account import RequestReader, account_finder, find_account

if TYPE_CHECKING:
    from cidrgate.gate.gate import Gate
    from cidrgate.gate.verdict import Verdict

__all__ = ["AccountSource", "Allowlist"]

AccountSource: TypeAlias = Callable[[Request], str | Exempt | None] | FromHeader | FromRoute | FromPath
"""What names the account of a request: a callable from the request, or a source."""


class Allowlist:
    """Answers 403 to requests that the gate denies, before their view runs.

    It protects nothing if a client can choose the account freely: the gate trusts the account that `account` returns.
    It runs as a `before_request` function. Functions that were registered earlier run earlier: a response of theirs is
    not protected, and the account can come from what they have stored in `flask.g`.

    The view finds the verdict in `flask.g.cidrgate`.

    Args:
        gate: Decides about each request.
        account: A callable from the request to its account, None for no account, or `EXEMPT`; or a `FromRoute`,
            `FromHeader` or `FromPath`.
        app: The application, or a blueprint; without it, call `init_app` later.

    Raises:
        TypeError: If `account` is not a valid account source, or `app` is something else.

    Example:
        >>> from cidrgate import FromRoute, Gate, Matcher
        >>> from flask import Flask
        >>> matcher = Matcher()
        >>> matcher.publish("acct-1", ["203.0.113.0/24"])
        >>> app = Flask("example")
        >>> @app.get("/v1/accounts/<account>/calls")
        ... def calls(account):
        ...     return "the view runs"
        >>> gate = Gate(matcher, unlisted="deny_unknown", log="none")
        >>> allowlist = Allowlist(gate, FromRoute("account"), app)
        >>> client = app.test_client()
        >>> client.get("/v1/accounts/acct-1/calls", environ_base={"REMOTE_ADDR": "8.8.8.8"}).status
        '403 FORBIDDEN'
        >>> client.get("/v1/accounts/acct-1/calls", environ_base={"REMOTE_ADDR": "203.0.113.9"}).text
        'the view runs'
    """

    def __init__(self, gate: Gate, account: AccountSource, app: Flask | Blueprint | None = None) -> None:
        check_gate(gate)
        self._gate = gate
        self._account = account_finder(account, _READER)
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask | Blueprint) -> None:
        """Protect every request of an application, also requests that no view answers.

        Args:
            app: The application; or a blueprint that is not registered yet, to protect its views and those of the
                blueprints inside it. A request that no view answers belongs to no blueprint.

        Raises:
            TypeError: If it is something else, such as a WSGI application around one of Flask.
        """
        if not isinstance(app, Flask | Blueprint):
            raise TypeError(f"app must be a Flask application or a blueprint, not {type(app).__name__}")
        app.before_request(self._before_request)
        app.after_request(_add_mode)
        if isinstance(app, Flask):
            app.extensions["cidrgate"] = self

    def _before_request(self) -> Response | None:
        """Return the response to a denied request, or None if the request is allowed."""
        account, failure = find_account(self._account, request)
        verdict = wsgi.decide(self._gate, account, request.environ, failure)
        g.cidrgate = verdict
        if verdict.allowed:
            return None
        denial = denial_of(verdict, request.headers.get("Accept", ""))
        return Response(denial.body, STATUS, list(denial.headers))


def _add_mode(response: Response) -> Response:
    """Add the mode to the response, if only it allows the request; a function that ran earlier may have answered."""
    verdict: Verdict | None = g.get("cidrgate")
    if verdict is not None and verdict.allowed:
        response.headers.update(mode_headers(verdict))
    return response


def _account_of_headers(source: FromHeader) -> Callable[[Request], str | None]:
    of_environ = wsgi.account_of_headers(source)
    return lambda request: of_environ(request.environ)


# Flask routes by the path in the environ.
_READER: RequestReader[Request] = RequestReader(
    method=lambda request: wsgi.READER.method(request.environ),
    path=lambda request: wsgi.READER.path(request.environ),
    raw_path=lambda request: wsgi.READER.raw_path(request.environ),
    of_header=_account_of_headers,
    route_parameters=lambda request: request.view_args,
)
