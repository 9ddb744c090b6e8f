"""The FastAPI dependency, for HTTP and WebSocket routes, and the route that asks it before the body; needs FastAPI."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, TypeAlias
from weakref import WeakSet

from fastapi import Depends, HTTPException, Request, Response, WebSocket, WebSocketException
from fastapi.dependencies.models import Dependant
from fastapi.dependencies.utils import solve_dependencies
from fastapi.exceptions import RequestValidationError
from fastapi.requests import HTTPConnection  # noqa: TC002 - FastAPI reads the annotations
from fastapi.routing import APIRoute
from starlette.applications import Starlette

from cidrgate.gate.account_sources import FromHeader, FromPath, FromRoute, check_source
from cidrgate.gate.denial import STATUS, problem_of
from cidrgate.gate.gate import check_gate
from cidrgate.gate.verdict import Verdict, mode_headers
from cidrgate.middleware._asgi_requests import (
    STATE,
    account_of_scope,
    decide,
    denial_in,
    hand_over,
    sending_mode,
    settle_headers,
)
from cidrgate.middleware._fastapi_parameters import RouteParameter
from cidrgate.middleware._request_account import decided_once, find_account
from cidrgate.values import check_type

if TYPE_CHECKING:
    from collections.abc import Awaitable, Coroutine, Iterator

    from cidrgate.gate.gate import Gate
    from cidrgate.middleware._asgi_requests import Message, Receive, Scope, Send

__all__ = [
    "AccountSource",
    "AddressDeniedError",
    "AllowlistRoute",
    "WebSocketDeniedError",
    "allowlist",
    "install",
]

AccountSource: TypeAlias = Callable[..., Any] | FromHeader | FromRoute | FromPath
"""What names the account of a request: a dependency, or a source."""

_POLICY_VIOLATION = 1008
_REASON = "address not allowed"


class AddressDeniedError(HTTPException):
    """The gate denied a request. The application answers with problem details, or with a page if a browser asks.

    A handler of the application for this class or for status 403 replaces that response.

    Attributes:
        verdict: The decision, with its reason.
    """

    def __init__(self, verdict: Verdict) -> None:
        problem = problem_of(verdict)
        super().__init__(STATUS, detail=problem["detail"], headers={"x-request-id": verdict.request_id})
        self.verdict = verdict


class WebSocketDeniedError(WebSocketException):
    """The gate denied the handshake of a WebSocket.

    If the server has the extension `websocket.http.response`, the client gets the same response as for HTTP. Otherwise
    the connection is closed, which servers turn into a 403 without a body.

    Attributes:
        verdict: The decision, with its reason.
    """

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(_POLICY_VIOLATION, _REASON)
        self.verdict = verdict


def allowlist(gate: Gate, account: AccountSource) -> Callable[..., Awaitable[Verdict]]:
    """Return a dependency that raises an error for requests that the gate denies, and otherwise returns the verdict.

    It protects nothing if a client can choose the account freely: the gate trusts the account that `account` returns.
    It protects only the routes and routers that depend on it. The route also finds the verdict in
    `request.state.cidrgate`.

    With a `FromRoute`, pass it to `Depends` itself: inside another function it cannot see what the route makes of the
    parameter, and denies.

    FastAPI reads and parses the body of a request before it runs a dependency, also the body of a request that is then
    denied. Routes of the class `AllowlistRoute` run this one before.

    Args:
        gate: Decides about each request.
        account: A dependency that returns the account of the request, None for no account, or `EXEMPT`; or a
            `FromRoute`, `FromHeader` or `FromPath`. If the dependency raises an error, that error is the response.

    Raises:
        TypeError: If `account` is not a valid account source.
        AddressDeniedError: The dependency raises it if it denies an HTTP request.
        WebSocketDeniedError: The dependency raises it if it denies a WebSocket.

    Example:
        >>> from cidrgate import Gate, Matcher
        >>> from fastapi import FastAPI
        >>> matcher = Matcher()
        >>> matcher.publish("acct-1", ["203.0.113.0/24"])
        >>> app = FastAPI()
        >>> listed = allowlist(Gate(matcher, unlisted="deny_unknown"), FromRoute("account"))
        >>> @app.get("/v1/accounts/{account}/calls", dependencies=[Depends(listed)])
        ... def calls(account: str) -> str:
        ...     return "the route runs"
    """
    check_gate(gate)
    if isinstance(account, (FromHeader, FromRoute, FromPath)):
        of_scope = account_of_scope(account)
        parameter = RouteParameter(account.parameter) if isinstance(account, FromRoute) else None

        def finder(scope: Scope) -> Any:
            found = of_scope(scope)
            if parameter is not None and isinstance(found, str):
                parameter.refuse_converted(scope, found, from_source)
            return found

        async def from_source(connection: HTTPConnection, response: Response) -> Verdict:
            settle_headers(connection.scope)
            found, failure = find_account(finder, connection.scope)
            return _allowed_verdict(_verdict_on(gate, found, connection.scope, failure), connection, response)

        _GUARDS.add(from_source)
        return from_source

    check_source(account)

    async def listed(
        connection: HTTPConnection,
        response: Response,
        account: Any = Depends(account),  # noqa: B008
    ) -> Verdict:
        settle_headers(connection.scope)
        return _allowed_verdict(_verdict_on(gate, account, connection.scope), connection, response)

    _GUARDS.add(listed)
    return listed


_GUARDS: WeakSet[Callable[..., Any]] = WeakSet()
"""The dependencies that `allowlist` has returned."""


class AllowlistRoute(APIRoute):
    """A route that runs its `allowlist` dependencies before the body of the request is read.

    It guards nothing without such a dependency. Pass it to a router as its `route_class`. For the routes of an
    application itself, set `app.router.route_class` before they are added. WebSockets need no such route.

    The guard runs before all other dependencies of the route. What it depends on, such as a dependency that returns the
    account, runs a second time with the others, if the route has a body. A dependency that returns the account and has
    a part of the body as a parameter runs after the body is read, as usual.

    If only a mode allows the request, errors and responses that the route itself makes have `X-Cidrgate-Mode` too.

    Example:
        >>> from fastapi import APIRouter, FastAPI
        >>> from fastapi.testclient import TestClient
        >>> from cidrgate import FromRoute, Gate, Matcher
        >>> listed = allowlist(Gate(Matcher(), unlisted="deny_unknown", log="none"), FromRoute("account"))
        >>> v1 = APIRouter(prefix="/v1", route_class=AllowlistRoute, dependencies=[Depends(listed)])
        >>> @v1.post("/accounts/{account}/calls")
        ... def call(account: str, numbers: list[str]) -> str:
        ...     return "the route runs"
        >>> app = FastAPI()
        >>> app.include_router(v1)
        >>> TestClient(app).post("/v1/accounts/acct-1/calls", content="no JSON").status_code
        403
    """

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the route. Each response of it, also to an error, has the mode if only that allows the request."""

        async def with_mode(message: Message) -> None:
            verdict = scope.get("state", {}).get(STATE)
            allowed = isinstance(verdict, Verdict) and verdict.allowed
            await (sending_mode(send, verdict) if allowed else send)(message)

        await super().handle(scope, receive, with_mode)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the function that handles a request."""
        handle = super().get_route_handler()
        # FastAPI tells the handler the dependencies of all routers that include this route, and the route only its own.
        told = inspect.getclosurevars(handle).nonlocals if inspect.isfunction(handle) else {}
        guards = [one for one in _guards_of(told.get("dependant", self.dependant)) if not _reads_body(one)]
        if not guards or told.get("body_field", self.body_field) is None:
            return handle
        overrides = told.get("dependency_overrides_provider", self.dependency_overrides_provider)

        async def guarded(request: Request) -> Response:
            async with AsyncExitStack() as stack:
                solved = await solve_dependencies(
                    request=request,
                    dependant=Dependant(dependencies=guards),
                    dependency_overrides_provider=overrides,
                    async_exit_stack=stack,
                    embed_body_fields=False,
                )
                if solved.errors:
                    raise RequestValidationError(solved.errors)
                return await handle(request)

        return guarded


def _guards_of(dependant: Dependant) -> Iterator[Dependant]:
    """Yield the `allowlist` dependencies of a route, however deep."""
    for inner in dependant.dependencies:
        if inner.call in _GUARDS:
            yield inner
        else:
            yield from _guards_of(inner)


def _reads_body(dependant: Dependant) -> bool:
    return bool(dependant.body_params) or any(map(_reads_body, dependant.dependencies))


def _verdict_on(gate: Gate, account: Any, scope: Scope, failure: Exception | None = None) -> Verdict:
    """Return the verdict; the gate is asked once, if the dependency runs before and after the body is read."""
    return decided_once(scope, gate, account, failure, lambda: decide(gate, account, scope, failure))


def _allowed_verdict(verdict: Verdict, connection: HTTPConnection, response: Response) -> Verdict:
    """Return the verdict, or raise an error if it is a denial. The headers of `response` are added to the route's."""
    hand_over(connection.scope, verdict)
    if verdict.allowed:
        for name, value in mode_headers(verdict):
            response.headers[name] = value
        return verdict
    # Starlette finds the handlers of an application here. One of the application itself is not replaced.
    handlers, _ = connection.scope.get("starlette.exception_handlers", ({}, {}))
    for error, handler in _HANDLERS.items():
        handlers.setdefault(error, handler)
    if connection.scope["type"] == "websocket":
        raise WebSocketDeniedError(verdict)
    raise AddressDeniedError(verdict)


def install(app: Starlette) -> None:
    """Register the handlers of denials when an application is made.

    The dependency registers them itself at the first denial, so an application need not call this. Call it for an
    application around the guarded one whose own handler of `HTTPException` would answer otherwise.

    Args:
        app: The application, or any Starlette application that contains it as a mount.

    Raises:
        TypeError: If it is something else, such as a router.
    """
    check_type(app, Starlette, "app")
    for error, handler in _HANDLERS.items():
        app.add_exception_handler(error, handler)


async def _respond(request: Request, error: Exception) -> Response:
    """Return the response to a denied request."""
    if not isinstance(error, AddressDeniedError):
        raise error
    return _response_to(request.scope, error.verdict)


async def _refuse(websocket: WebSocket, error: Exception) -> None:
    """Answer the handshake of a denied WebSocket."""
    if not isinstance(error, WebSocketDeniedError):
        raise error
    if "websocket.http.response" in websocket.scope.get("extensions", ()):
        await websocket.send_denial_response(_response_to(websocket.scope, error.verdict))
    else:
        await websocket.close(_POLICY_VIOLATION, _REASON)


_HANDLERS: dict[type[Exception], Any] = {AddressDeniedError: _respond, WebSocketDeniedError: _refuse}


def _response_to(scope: Scope, verdict: Verdict) -> Response:
    denial = denial_in(scope, verdict)
    return Response(denial.body, STATUS, dict(denial.headers))
