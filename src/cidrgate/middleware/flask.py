"""The Flask extension; needs Flask."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from flask import Response, request

from cidrgate.account_sources import FromHeader, FromPath
from cidrgate.denial import STATUS, denial_of
from cidrgate.middleware.wsgi import account_of_environ, decide

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask, Request

    from cidrgate.gate import Gate

    Account: TypeAlias = Callable[[Request], str | None]

__all__ = ["Allowlist"]


class Allowlist:
    """Answers 403 before the view of a request that the gate does not admit.

    It runs as a `before_request` function: those registered earlier run earlier, so that an account can come from what
    they have put into `flask.g`.

    Args:
        gate: Decides.
        account: From the request to the account it acts for, or None for none; or a `FromHeader` or `FromPath`.
        app: The application; else call `init_app`.

    Example:
        >>> from cidrgate import Gate, Matcher
        >>> from flask import Flask
        >>> matcher = Matcher()
        >>> matcher.publish("acct-1", ["203.0.113.0/24"])
        >>> app = Flask("example")
        >>> @app.get("/v1/accounts/<account>/calls")
        ... def calls(account):
        ...     return "the view runs"
        >>> def account_of(request):
        ...     return (request.view_args or {}).get("account")
        >>> allowlist = Allowlist(Gate(matcher, log="none"), account_of, app)
        >>> client = app.test_client()
        >>> client.get("/v1/accounts/acct-1/calls", environ_base={"REMOTE_ADDR": "8.8.8.8"}).status
        '403 FORBIDDEN'
        >>> client.get("/v1/accounts/acct-1/calls", environ_base={"REMOTE_ADDR": "203.0.113.9"}).text
        'the view runs'
    """

    def __init__(self, gate: Gate, account: Account | FromHeader | FromPath, app: Flask | None = None) -> None:
        self._gate = gate
        self._account = _account_of_request(account)
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Guard every request of an application, those that no view answers among them."""
        app.before_request(self._before_request)
        app.extensions["cidrgate"] = self

    def _before_request(self) -> Response | None:
        """The response to a request that is denied."""
        account: str | None = None
        failure: Exception | None = None
        try:
            account = self._account(request)
        except Exception as error:  # noqa: BLE001 - whatever broke, the gate decides
            failure = error
        verdict = decide(self._gate, account, request.environ, failure)
        if verdict.admitted:
            return None
        denial = denial_of(verdict, request.headers.get("Accept", ""))
        return Response(denial.body, STATUS, list(denial.headers))


def _account_of_request(account: Account | FromHeader | FromPath) -> Account:
    """What finds the account in a Flask request."""
    if isinstance(account, (FromHeader, FromPath)):
        of_environ = account_of_environ(account)
        return lambda request: of_environ(request.environ)
    return account
