"""Authenticates API requests by bearer tokens. `cidrgate.service.console` handles the sessions of people."""

from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from cidrgate.service.auth.principals import Principal
from cidrgate.service.auth.values import Token
from cidrgate.service.http.client_address import client_address
from cidrgate.service.http.problems import ServiceError
from cidrgate.service.http.strict_requests import BEFORE_BODY
from cidrgate.service.settings import service_of
from cidrgate.stores import Transaction

__all__ = ["Admin", "Known", "MetricsReader", "Reader", "Writer", "refuse_failure"]

_bearer = HTTPBearer(
    auto_error=False, scheme_name="token", description="A token from `cidrgate token create` or from an admin."
)
_Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]


_KNOWN = "cidrgate.principal"
"""The key of the scope that holds the request's principal. Clients cannot set keys of a scope."""


def refuse_failure(request: Request) -> None:
    """Count wrong credentials, and refuse the client if it has sent too many wrong credentials lately.

    Call this only after the credentials were found to be wrong. Clients can share an address, so a client with valid
    credentials is never refused because of the others.

    Raises:
        ServiceError: If the client has reached the limit; the error contains the seconds it has to wait.
    """
    service = service_of(request)
    address = client_address(request)
    service.metrics.failed_logins.inc()
    wait = service.failures.wait(address)
    if wait:
        raise ServiceError(
            429,
            "too_many_failures",
            f"this address has sent too many wrong credentials: wait {wait} seconds",
            {"Retry-After": str(wait)},
        )
    service.failures.add(address)


def _authenticated(request: Request) -> Principal:
    """Return the owner of a request's token. The token is checked once, before the body is read."""
    known: Principal | None = request.scope.get(_KNOWN)
    if known is not None:
        return known
    kind, _, secret = request.headers.get("authorization", "").partition(" ")
    if kind.lower() != "bearer" or not secret:
        raise _unauthorized("send a token: Authorization: Bearer ...")
    service = service_of(request)
    token = service.credentials.authenticate(secret.strip())
    if token is None:
        refuse_failure(request)
        raise _unauthorized("this token is unknown, revoked or expired")

    def rely_on(transaction: Transaction) -> Token:
        return service.credentials.rely_on_token(transaction, token.id, token.scopes)

    principal = Principal(token.name, token.scopes, f"token:{token.id}", token.id, rely_on)
    request.scope[_KNOWN] = principal
    return principal


BEFORE_BODY.add(_authenticated)


def _known(_credentials: _Credentials, principal: Annotated[Principal, Depends(_authenticated)]) -> Principal:
    """Return the owner of a request's token, and declare the security scheme in the OpenAPI document."""
    return principal


_Known = Annotated[Principal, Depends(_known)]


def _admin(principal: _Known) -> Principal:
    principal.require_admin()
    return principal


def _metrics_reader(principal: _Known) -> Principal:
    if not any(scope.kind == "metrics" for scope in principal.scopes):
        principal.require_admin()
    return principal


def _reader(request: Request, account: str, principal: _Known) -> Principal:
    principal.require_account(service_of(request).manager, account)
    return principal


def _writer(request: Request, account: str, principal: _Known) -> Principal:
    principal.require_account(service_of(request).manager, account, write=True)
    return principal


def _unauthorized(detail: str) -> ServiceError:
    return ServiceError(401, "unauthorized", detail, {"WWW-Authenticate": "Bearer"})


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
