"""Signing in, by a token or by a one-time link, and signing out."""

import re
from typing import Annotated

from fastapi import APIRouter, Form, Path, Query, Request, Response
from fastapi.responses import RedirectResponse

from cidrgate.errors import CredentialEndedError
from cidrgate.service.auth.access import refuse_failure
from cidrgate.service.auth.origins import origin_of
from cidrgate.service.console.fields import LONGEST_WAY
from cidrgate.service.console.pages import link, page, root_of
from cidrgate.service.console.sessions import SignedInForm, begin, end, require_own_page
from cidrgate.service.http.strict_requests import ConsoleRoute
from cidrgate.service.settings import service_of
from cidrgate.url_paths import path_segment
from cidrgate.values import OriginKind

__all__ = ["router"]

# The path of a page of the console, as pages write it: a browser cannot read it as another host or a parent folder.
_WAY = re.compile(r"/[A-Za-z0-9_-]++(?:/[A-Za-z0-9_-]++)*+(?:\?[\x21-\x5b\x5d-\x7e]*+)?", re.ASCII)

router = APIRouter(route_class=ConsoleRoute)

_Secret = Annotated[str, Form(max_length=200)]
_InPath = Annotated[str, Path(max_length=200)]
_Then = Annotated[str, Form(max_length=LONGEST_WAY)]


@router.get("/sign-in")
def sign_in_page(request: Request, then: Annotated[str, Query(max_length=LONGEST_WAY)] = "") -> Response:
    """Show the form for a token."""
    return page(request, "sign_in.html", then=_own_way(request, then), refused=None)


@router.post("/sign-in")
def sign_in(request: Request, token: _Secret, then: _Then = "") -> Response:
    """Begin a session with a token."""
    require_own_page(request)
    service = service_of(request)
    then = _own_way(request, then)
    known = service.credentials.authenticate(token.strip())
    if known is None:
        refused = "This token is unknown, revoked or expired. Check that you copied all of it."
        return _refused(request, refused, then)
    if all(scope.kind == "metrics" for scope in known.scopes):
        refused = "This token can only read metrics; it cannot use the console."
        return page(request, "sign_in.html", then=then, refused=refused, status=403)
    lifetime = service.settings.session_lifetime
    try:
        origin = origin_of(request, "token", f"{known.id}")
        credentials = service.credentials.with_origin(origin)
        secret = credentials.begin_session(known, lifetime=lifetime, address=origin.address)
    except CredentialEndedError:
        return _refused(request, "This token was revoked, or has expired.", then)
    return _begun(request, secret, then)


@router.get("/link/{secret}")
def link_page(request: Request, secret: _InPath) -> Response:
    """Show a page before the one-time link is used: programs that scan mail must not use it up."""
    return page(request, "link.html", path=f"link/{path_segment(secret, 'secret')}")


@router.post("/link/{secret}")
def open_link(request: Request, secret: _InPath) -> Response:
    """Begin a session with a one-time link."""
    require_own_page(request)
    service = service_of(request)
    lifetime = service.settings.session_lifetime
    origin = origin_of(request, "link")
    session = service.credentials.with_origin(origin).open_link(secret, lifetime=lifetime, address=origin.address)
    if session is None:
        refused = "This link was already used, or has expired. Ask for a new one, or paste a token."
        return _refused(request, refused, "", "link")
    return _begun(request, session, "")


@router.post("/sign-out")
def sign_out(request: Request, person: SignedInForm) -> Response:
    """End the session."""
    response = RedirectResponse(link(request, "sign-in"), 303)
    end(request, response, person)
    return response


def _refused(request: Request, refused: str, then: str, kind: OriginKind = "token") -> Response:
    refuse_failure(request, kind)
    return page(request, "sign_in.html", then=then, refused=refused, status=401)


def _begun(request: Request, secret: str, then: str) -> Response:
    response = RedirectResponse(_own_way(request, then) or link(request, "accounts"), 303)
    begin(request, response, secret)
    return response


def _own_way(request: Request, then: str) -> str:
    """Return the page to continue with if it belongs to the console, otherwise none: anyone can put it into a link."""
    root = root_of(request)
    own = len(then) <= LONGEST_WAY and then.startswith(f"{root}/") and _WAY.fullmatch(then, len(root))
    return then if own else ""
