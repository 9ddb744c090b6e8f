"""Letting requests in: a bearer token for programs. The console's sessions are in `cidrgate.service.console`."""

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
    auto_error=False, scheme_name="token", description="A token made with `cidrgate token create`, or by an admin."
)
_Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]


_KNOWN = "cidrgate.principal"
"""Where a request keeps who was found to send it. No client names members of a scope, and each request has its own."""


def refuse_failure(request: Request) -> None:
    """Count wrong credentials, and refuse a client that has sent too many of them lately.

    Only they are counted, and nobody is refused before theirs were looked at: clients share addresses, and none of them
    locks the others out.

    Raises:
        ServiceError: With the seconds it has to wait.
    """
    service = service_of(request)
    address = client_address(request)
    service.metrics.failed_logins.inc()
    wait = service.failures.wait(address)
    if wait:
        raise ServiceError(
            429,
            "too_many_failures",
            f"too many wrong credentials came from this address: wait {wait} seconds",
            {"Retry-After": str(wait)},
        )
    service.failures.add(address)


def _authenticated(request: Request) -> Principal:
    """The owner of a request's token. Asked once, before the body is read."""
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
        raise _unauthorized("this token is unknown, revoked or over")

    def rely_on(transaction: Transaction) -> Token:
        return service.credentials.rely_on_token(transaction, token.id, token.scopes)

    principal = Principal(token.name, token.scopes, f"token:{token.id}", token.id, rely_on)
    request.scope[_KNOWN] = principal
    return principal


BEFORE_BODY.add(_authenticated)


def _known(_credentials: _Credentials, principal: Annotated[Principal, Depends(_authenticated)]) -> Principal:
    """The owner of a request's token, with the scheme it was sent by for the document."""
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
"""Anybody with a token."""
Admin = Annotated[Principal, Depends(_admin)]
"""Whoever may do everything."""
MetricsReader = Annotated[Principal, Depends(_metrics_reader)]
"""Whoever may read the measurements."""
Reader = Annotated[Principal, Depends(_reader)]
"""Whoever may see the account of the path."""
Writer = Annotated[Principal, Depends(_writer)]
"""Whoever may change the list of the account of the path."""
