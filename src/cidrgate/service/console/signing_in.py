"""Signing in, by a token or by a one-time link, and signing out."""

from typing import Annotated

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import RedirectResponse

from cidrgate.service.access import require_patience
from cidrgate.service.addresses import client_address
from cidrgate.service.console.pages import link, page
from cidrgate.service.console.sessions import SignedInForm, begin, end, require_own_page
from cidrgate.service.settings import service_of
from cidrgate.service.threads import ChangingRoute

__all__ = ["router"]

router = APIRouter(route_class=ChangingRoute)

_Secret = Annotated[str, Form(max_length=200)]


@router.get("/sign-in")
def sign_in_page(request: Request, then: str = "") -> Response:
    """Where a token is pasted."""
    return page(request, "sign_in.html", then=then, refused=None)


@router.post("/sign-in")
def sign_in(request: Request, token: _Secret, then: Annotated[str, Form()] = "") -> Response:
    """Begin a session with a token."""
    require_own_page(request)
    require_patience(request)
    service = service_of(request)
    known = service.credentials.authenticate(token.strip())
    if known is None:
        refused = "This token is unknown, revoked or expired. Check that it was copied whole."
        return _refused(request, refused, then)
    if all(scope.kind == "metrics" for scope in known.scopes):
        refused = "This token is good for measurements only: there is nothing to see in the console with it."
        return page(request, "sign_in.html", then=then, refused=refused, status=403)
    secret = service.credentials.begin_session(known, lifetime=service.settings.session_lifetime)
    return _begun(request, secret, then)


@router.get("/link/{secret}")
def link_page(request: Request, secret: str) -> Response:
    """What a one-time link shows first: programs that look into mail must not use it up."""
    return page(request, "link.html", secret=secret)


@router.post("/link/{secret}")
def open_link(request: Request, secret: str) -> Response:
    """Begin a session with a one-time link."""
    require_own_page(request)
    require_patience(request)
    service = service_of(request)
    session = service.credentials.open_link(secret, lifetime=service.settings.session_lifetime)
    if session is None:
        refused = "This link was used before, or is too old. Ask for a new one, or paste a token."
        return _refused(request, refused, "")
    return _begun(request, session, "")


@router.post("/sign-out")
def sign_out(request: Request, _person: SignedInForm) -> Response:
    """End the session."""
    response = RedirectResponse(link(request, "sign-in"), 303)
    end(request, response)
    return response


def _refused(request: Request, refused: str, then: str) -> Response:
    service = service_of(request)
    service.failures.add(client_address(request))
    service.metrics.failed_logins.inc()
    return page(request, "sign_in.html", then=then, refused=refused, status=401)


def _begun(request: Request, secret: str, then: str) -> Response:
    # Only to a page of the console: what stands there was in a link, which anybody can make.
    own = then.startswith(link(request, "")) and "\\" not in then and "//" not in then
    response = RedirectResponse(then if own else link(request, "accounts"), 303)
    begin(request, response, secret)
    return response
