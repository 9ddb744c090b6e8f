"""Signing in: with a token, or by a one-time link; and out again."""

from typing import Annotated

from fastapi import APIRouter, Form, Request, Response
from starlette.responses import RedirectResponse

from cidrgate.service.access import require_patience
from cidrgate.service.addresses import client_address
from cidrgate.service.console.pages import page
from cidrgate.service.console.sessions import SignedIn, begin, end
from cidrgate.service.settings import service_of

__all__ = ["router"]

router = APIRouter(prefix="/console")


@router.get("/sign-in")
def sign_in_page(request: Request) -> Response:
    """The form for a token."""
    return page(request, "sign_in.html", message=None)


@router.post("/sign-in")
def sign_in(request: Request, token: Annotated[str, Form(max_length=200)] = "") -> Response:
    """Begin a session that can do what a token can.

    It takes no proof against forged forms, as nobody is signed in yet; who does not know a token cannot send one.
    """
    require_patience(request)
    service = service_of(request)
    found = service.credentials.authenticate(token.strip())
    if found is None:
        return _refused(request, "This token is unknown, revoked or over.")
    response = RedirectResponse(request.url_for("console_home").path, 303)
    begin(request, response, service.credentials.begin_session(found, lifetime=service.settings.session_lifetime))
    return response


@router.get("/link/{secret}")
def open_link(request: Request, secret: str) -> Response:
    """Begin the session of a one-time link."""
    require_patience(request)
    service = service_of(request)
    session = service.credentials.open_link(secret, lifetime=service.settings.session_lifetime)
    if session is None:
        return _refused(request, "This link was used already, or is over. Ask for a new one: cidrgate serve --link")
    response = RedirectResponse(request.url_for("console_home").path, 303)
    begin(request, response, session)
    return response


@router.post("/sign-out")
def sign_out(request: Request, _person: SignedIn) -> Response:
    """End the session."""
    response = RedirectResponse(request.url_for("sign_in_page").path, 303)
    end(request, response)
    return response


def _refused(request: Request, message: str) -> Response:
    service = service_of(request)
    service.failures.add(client_address(request))
    service.metrics.failed_logins.inc()
    return page(request, "sign_in.html", 401, message=message)
