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
    """A request that may not act for its account; `install` makes problem details of it.

    Attributes:
        verdict: Why.
    """

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(STATUS, detail=problem_of(verdict))
        self.verdict = verdict


def allowlist(
    gate: Gate, account: Callable[..., Any] | FromHeader | FromRoute | FromPath
) -> Callable[..., Awaitable[Verdict]]:
    """A dependency that raises for requests the gate does not admit, and else returns the verdict.

    Args:
        gate: Decides.
        account: A dependency of its own that returns the account the request acts for, None for none, or `EXEMPT`; or
            a `FromRoute`, `FromHeader` or `FromPath`. What a dependency raises is the answer.

    Raises:
        TypeError: If the account comes from what is no source.
        AddressDeniedError: (the dependency) for an HTTP request.
        WebSocketException: (the dependency) for a WebSocket.

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
            return _admitted(decide(gate, found, connection.scope, failure), connection)

        return from_source

    check_source(account)

    async def listed(connection: HTTPConnection, account: Any = Depends(account)) -> Verdict:  # noqa: B008
        return _admitted(decide(gate, account, connection.scope), connection)

    return listed


def _refuse_converted(scope: Scope, parameter: str, account: object) -> None:
    """Refuse an account that the route converts to something else than what stands in its path, such as `07` to 7.

    Raises:
        UnclearAccountError: If the endpoint would act for another account than the one that is checked.
    """
    route = scope.get("route")
    if not isinstance(account, str) or not isinstance(route, APIRoute | APIWebSocketRoute):
        return
    for field in _path_fields(route.dependant):
        if field.alias == parameter:
            value, errors = field.validate(account, {}, loc=("path", parameter))
            if errors or not isinstance(value, str | int | UUID) or str(value) != account:
                raise UnclearAccountError(f"the route converts {parameter}: its text is not the account")


def _path_fields(dependant: Dependant) -> Iterator[ModelField]:
    yield from dependant.path_params
    for inner in dependant.dependencies:
        yield from _path_fields(inner)


def _admitted(verdict: Verdict, connection: HTTPConnection) -> Verdict:
    """The verdict, unless it is a denial."""
    if verdict.admitted:
        return verdict
    if connection.scope["type"] == "websocket":
        raise WebSocketException(_POLICY_VIOLATION, "address not allowed")
    raise AddressDeniedError(verdict)


def install(app: FastAPI) -> None:
    """Let an application answer denials as problem details, or as a page where a browser asks.

    Args:
        app: The application, or any Starlette application that it is mounted in.
    """
    app.add_exception_handler(AddressDeniedError, _respond)


def _respond(request: Request, error: Exception) -> Response:
    """The response to a request that is denied."""
    if not isinstance(error, AddressDeniedError):
        raise error
    denial = denial_of(error.verdict, request.headers.get("accept", ""))
    return Response(denial.body, STATUS, dict(denial.headers))
