"""Authenticates API requests by bearer tokens. `cidrgate.service.console` handles the sessions of people.

FastAPI calls a plain function in another thread, which costs more than most of these checks. So they are coroutine
functions, and only what reads the store runs in another thread. FastAPI also does much for each dependency of a
request, so there are few, and they have no parameters that the route itself has.
"""

from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPBearer
from starlette.concurrency import run_in_threadpool

from cidrgate.service.auth.metrics_readers import MetricsReaders
from cidrgate.service.auth.origins import origin_of
from cidrgate.service.auth.principals import Principal
from cidrgate.service.auth.token_checks import TokenChecks
from cidrgate.service.auth.values import Scope
from cidrgate.service.http.client_address import client_address
from cidrgate.service.http.problems import ServiceError
from cidrgate.service.http.strict_requests import BEFORE_BODY
from cidrgate.service.settings import service_of
from cidrgate.stores import Transaction
from cidrgate.values import OriginKind

__all__ = ["Admin", "Known", "MetricsReader", "Reader", "Writer", "refuse_failure"]

_KNOWN = "cidrgate.principal"
"""The key of the scope that holds the request's principal. Clients cannot set keys of a scope."""


def refuse_failure(request: Request, kind: OriginKind = "token") -> None:
    """Count wrong credentials, and refuse the client if it has sent too many wrong credentials lately.

    Call this only after the credentials were found to be wrong. Clients can share an address, so a client with valid
    credentials is never refused because of the others.

    Args:
        request: The request.
        kind: What kind of credential it was, for the change log.

    Raises:
        ServiceError: If the client has reached the limit; the error contains the seconds it has to wait.
    """
    service = service_of(request)
    address = client_address(request)
    service.metrics.failed_logins.inc()
    service.failed_sign_ins.add(origin_of(request, kind))
    wait = service.failures.wait(address)
    if wait:
        raise ServiceError(
            "too_many_failures",
            f"this address has sent too many wrong credentials: wait {wait} seconds",
            {"Retry-After": str(wait)},
        )
    service.failures.add(address)


class _TokenOwner(HTTPBearer):
    """The dependency that returns the owner of a request's token. The OpenAPI document describes it as a scheme."""

    async def __call__(self, request: Request) -> Principal:  # type: ignore[override]
        """Return the owner of the token. The token is checked once, before the body is read."""
        known: Principal | None = request.scope.get(_KNOWN)
        if known is None:
            known = request.scope[_KNOWN] = await _authenticate(request, service_of(request).token_checks)
        return known


class _MetricsTokenOwner(HTTPBearer):
    """The same for the metrics, which are needed most while the store is lost."""

    async def __call__(self, request: Request) -> Principal:  # type: ignore[override]
        """Return the owner of the token."""
        return await _authenticate(request, service_of(request).metrics_readers)


_DESCRIPTION = "A token from `cidrgate token create` or from an admin."
_token_owner = _TokenOwner(auto_error=False, scheme_name="token", description=_DESCRIPTION)
_metrics_token_owner = _MetricsTokenOwner(auto_error=False, scheme_name="token", description=_DESCRIPTION)
BEFORE_BODY.add(_token_owner)


async def _authenticate(request: Request, checks: TokenChecks | MetricsReaders) -> Principal:
    kind, _, secret = request.headers.get("authorization", "").partition(" ")
    if kind.lower() != "bearer" or not secret:
        raise _unauthorized("send a token: Authorization: Bearer ...")
    service = service_of(request)
    token = await checks.check(secret.strip())
    if token is None:
        await run_in_threadpool(refuse_failure, request)
        raise _unauthorized("this token is unknown, revoked or expired")

    def rely_on(transaction: Transaction) -> tuple[Scope, ...]:
        return service.credentials.rely_on_token(transaction, token.id).scopes

    origin = origin_of(request, "token", f"{token.id}")
    return Principal(token.name, token.scopes, f"token:{token.id}", token.id, rely_on, origin)


_Known = Annotated[Principal, Depends(_token_owner)]


async def _admin(principal: _Known) -> Principal:
    principal.require_admin()
    return principal


async def _metrics_reader(principal: Annotated[Principal, Depends(_metrics_token_owner)]) -> Principal:
    if not any(scope.kind == "metrics" for scope in principal.scopes):
        principal.require_admin()
    return principal


async def _reader(request: Request, principal: _Known) -> Principal:
    await _require_account(request, principal, write=False)
    return principal


async def _writer(request: Request, principal: _Known) -> Principal:
    await _require_account(request, principal, write=True)
    return principal


async def _require_account(request: Request, principal: Principal, *, write: bool) -> None:
    manager = service_of(request).manager
    account: str = request.path_params["account_name"]
    if principal.names(account):
        principal.require_account(manager, account, write=write)
    else:
        await run_in_threadpool(principal.require_account, manager, account, write=write)


def _unauthorized(detail: str) -> ServiceError:
    return ServiceError("unauthorized", detail, {"WWW-Authenticate": "Bearer"})


Known = _Known
"""Any principal with a token."""
Admin = Annotated[Principal, Depends(_admin)]
"""A principal that may do everything."""
MetricsReader = Annotated[Principal, Depends(_metrics_reader)]
"""A principal that may read the metrics."""
Reader = Annotated[Principal, Depends(_reader)]
"""A principal that may read the account in the path."""
Writer = Annotated[Principal, Depends(_writer)]
"""A principal that may change the list of the account in the path."""
