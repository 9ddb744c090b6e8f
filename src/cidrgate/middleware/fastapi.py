"""The FastAPI dependency, for HTTP and WebSocket routes; needs FastAPI."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from fastapi import Depends, HTTPException, Response, WebSocketException
from fastapi.requests import HTTPConnection  # noqa: TC002 - FastAPI reads the annotations
from fastapi.routing import APIRoute, APIWebSocketRoute

from cidrgate.errors import UnclearAccountError
from cidrgate.gate.account_sources import FromHeader, FromPath, FromRoute, check_source
from cidrgate.gate.denial import STATUS, denial_of, problem_of
from cidrgate.gate.gate import check_gate
from cidrgate.middleware._request_account import find_account
from cidrgate.middleware.asgi import account_of_scope, decide

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from fastapi import FastAPI, Request
    from fastapi._compat import ModelField
    from fastapi.dependencies.models import Dependant

    from cidrgate.gate.gate import Gate
    from cidrgate.gate.verdict import Verdict
    from cidrgate.middleware.asgi import Scope

__all__ = ["AddressDeniedError", "allowlist", "install"]

_POLICY_VIOLATION = 1008


class AddressDeniedError(HTTPException):
    """The gate denied a request; `install` makes the application answer with problem details.

    Attributes:
        verdict: The decision, with its reason.
    """

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(STATUS, detail=problem_of(verdict))
        self.verdict = verdict


def allowlist(
    gate: Gate, account: Callable[..., Any] | FromHeader | FromRoute | FromPath
) -> Callable[..., Awaitable[Verdict]]:
    """Return a dependency that raises an error for requests that the gate denies, and otherwise returns the verdict.

    It protects nothing if a client can choose the account freely: the gate trusts the account that `account` returns.
    It protects only the routes and routers that depend on it.

    Args:
        gate: Decides about each request.
        account: A dependency that returns the account of the request, None for no account, or `EXEMPT`; or a
            `FromRoute`, `FromHeader` or `FromPath`. If the dependency raises an error, that error is the response.

    Raises:
        TypeError: If `account` is not a valid account source.
        AddressDeniedError: The dependency raises it if it denies an HTTP request.
        WebSocketException: The dependency raises it if it denies a WebSocket.

    Example:
        >>> from cidrgate import Gate, Matcher
        >>> from fastapi import FastAPI
        >>> matcher = Matcher()
        >>> matcher.publish("acct-1", ["203.0.113.0/24"])
        >>> app = FastAPI()
        >>> install(app)
        >>> listed = allowlist(Gate(matcher, unlisted="deny_unknown"), FromRoute("account"))
        >>> @app.get("/v1/accounts/{account}/calls", dependencies=[Depends(listed)])
        ... def calls(account: str) -> str:
        ...     return "the route runs"
    """
    check_gate(gate)
    if isinstance(account, (FromHeader, FromRoute, FromPath)):
        of_scope = account_of_scope(account)

        def finder(scope: Scope) -> Any:
            found = of_scope(scope)
            if isinstance(account, FromRoute):
                _refuse_converted(scope, account.parameter, found)
            return found

        async def from_source(connection: HTTPConnection) -> Verdict:
            found, failure = find_account(finder, connection.scope)
            return _allowed_verdict(decide(gate, found, connection.scope, failure), connection)

        return from_source

    check_source(account)

    async def listed(connection: HTTPConnection, account: Any = Depends(account)) -> Verdict:  # noqa: B008
        return _allowed_verdict(decide(gate, account, connection.scope), connection)

    return listed


def _refuse_converted(scope: Scope, parameter: str, account: object) -> None:
    """Reject an account that the route converts to a value other than the text in its path, such as `07` to 7.

    Raises:
        UnclearAccountError: If the endpoint would act for an account other than the one that is checked.
    """
    route = scope.get("route")
    if not isinstance(account, str) or not isinstance(route, APIRoute | APIWebSocketRoute):
        return
    for field in _path_fields(route.dependant):
        if field.alias == parameter:
            value, errors = field.validate(account, {}, loc=("path", parameter))
            if errors or not isinstance(value, str | int | UUID) or str(value) != account:
                raise UnclearAccountError(f"the route converts {parameter}: the text in the path is not the account")


def _path_fields(dependant: Dependant) -> Iterator[ModelField]:
    yield from dependant.path_params
    for inner in dependant.dependencies:
        yield from _path_fields(inner)


def _allowed_verdict(verdict: Verdict, connection: HTTPConnection) -> Verdict:
    """Return the verdict, or raise an error if it is a denial."""
    if verdict.allowed:
        return verdict
    if connection.scope["type"] == "websocket":
        raise WebSocketException(_POLICY_VIOLATION, "address not allowed")
    raise AddressDeniedError(verdict)


def install(app: FastAPI) -> None:
    """Make an application answer denials with problem details, or with a page if a browser asks.

    Args:
        app: The application, or any Starlette application that contains it as a mount.
    """
    app.add_exception_handler(AddressDeniedError, _respond)


def _respond(request: Request, error: Exception) -> Response:
    """Return the response to a denied request."""
    if not isinstance(error, AddressDeniedError):
        raise error
    denial = denial_of(error.verdict, request.headers.get("accept", ""))
    return Response(denial.body, STATUS, dict(denial.headers))
