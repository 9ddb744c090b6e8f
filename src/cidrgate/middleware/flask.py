"""The Flask extension; needs Flask."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from flask import Response, request

from cidrgate.gate.account_sources import EXEMPT, FromHeader, FromPath, FromRoute, check_source, required
from cidrgate.gate.denial import STATUS, denial_of
from cidrgate.gate.gate import check_gate
from cidrgate.middleware.wsgi import account_of_environ, decide, is_exempt

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask, Request

    from cidrgate.gate.account_sources import Exempt
    from cidrgate.gate.gate import Gate

    Account: TypeAlias = Callable[[Request], str | Exempt | None]

__all__ = ["Allowlist"]


class Allowlist:
    """Answers 403 before the view of a request that the gate does not admit.

    It runs as a `before_request` function: those registered earlier run earlier, so that an account can come from what
    they have put into `flask.g`.

    Args:
        gate: Decides.
        account: From the request to the account it acts for, None for none, or `EXEMPT`; or a `FromRoute`, `FromHeader`
            or `FromPath`.
        app: The application; else call `init_app`.

    Raises:
        TypeError: If the account comes from what is no source.

    Example:
        >>> from cidrgate import Gate, Matcher
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

    def __init__(
        self, gate: Gate, account: Account | FromHeader | FromRoute | FromPath, app: Flask | None = None
    ) -> None:
        check_gate(gate)
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
        account: str | Exempt | None = None
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


def _account_of_request(account: Account | FromHeader | FromRoute | FromPath) -> Account:
    """What finds the account in a Flask request."""
    if isinstance(account, FromRoute):
        source = account
        return lambda request: (
            EXEMPT if is_exempt(source, request.environ) else required(source.account(request.view_args))
        )
    if isinstance(account, (FromHeader, FromPath)):
        of_environ = account_of_environ(account)
        return lambda request: of_environ(request.environ)
    check_source(account)
    return account
