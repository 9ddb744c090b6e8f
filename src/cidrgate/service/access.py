"""Letting requests in: a bearer token for programs. The console's sessions are in `cidrgate.service.console`."""

from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from cidrgate.service.addresses import client_address
from cidrgate.service.principals import Principal
from cidrgate.service.problems import ServiceError
from cidrgate.service.settings import service_of

__all__ = ["Admin", "Known", "MetricsReader", "Reader", "Writer", "require_patience"]

_bearer = HTTPBearer(
    auto_error=False, scheme_name="token", description="A token made with `cidrgate token create`, or by an admin."
)
_Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]


def require_patience(request: Request) -> None:
    """Refuse a client that has sent too many wrong credentials lately.

    Raises:
        ServiceError: With the seconds it has to wait.
    """
    wait = service_of(request).failures.wait(client_address(request))
    if wait:
        raise ServiceError(
            429,
            "too_many_failures",
            f"too many wrong credentials came from this address: wait {wait} seconds",
            {"Retry-After": str(wait)},
        )


def _known(request: Request, credentials: _Credentials) -> Principal:
    """The owner of a request's token."""
    if credentials is None:
        raise _unauthorized("send a token: Authorization: Bearer ...")
    require_patience(request)
    service = service_of(request)
    token = service.credentials.authenticate(credentials.credentials)
    if token is None:
        service.failures.add(client_address(request))
        service.metrics.failed_logins.inc()
        raise _unauthorized("this token is unknown, revoked or over")
    return Principal(token.name, token.scopes, f"token:{token.id}")


def _admin(request: Request, credentials: _Credentials) -> Principal:
    principal = _known(request, credentials)
    principal.require_admin()
    return principal


def _metrics_reader(request: Request, credentials: _Credentials) -> Principal:
    principal = _known(request, credentials)
    if not any(scope.kind == "metrics" for scope in principal.scopes):
        principal.require_admin()
    return principal


def _reader(request: Request, account: str, credentials: _Credentials) -> Principal:
    principal = _known(request, credentials)
    principal.require_account(service_of(request).manager, account)
    return principal


def _writer(request: Request, account: str, credentials: _Credentials) -> Principal:
    principal = _known(request, credentials)
    principal.require_account(service_of(request).manager, account, write=True)
    return principal


def _unauthorized(detail: str) -> ServiceError:
    return ServiceError(401, "unauthorized", detail, {"WWW-Authenticate": "Bearer"})


Known = Annotated[Principal, Depends(_known)]
"""Anybody with a token."""
Admin = Annotated[Principal, Depends(_admin)]
"""Whoever may do everything."""
MetricsReader = Annotated[Principal, Depends(_metrics_reader)]
"""Whoever may read the measurements."""
Reader = Annotated[Principal, Depends(_reader)]
"""Whoever may see the account of the path."""
Writer = Annotated[Principal, Depends(_writer)]
"""Whoever may change the list of the account of the path."""
