"""Who sits at the browser: the session cookie, and the proof that a form was sent from one of our own pages."""

import hashlib
import hmac
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request, Response

from cidrgate.service.principals import Principal
from cidrgate.service.problems import ServiceError
from cidrgate.service.settings import service_of

__all__ = ["CSRF_FIELD", "Person", "SignedIn", "SignedOutError", "begin", "end", "signed_in"]

CSRF_FIELD = "csrf"
"""The field of every form that holds the proof; htmx may send it as the header `X-CSRF-Token` instead."""

_COOKIE = "cidrgate_session"
_SAFE = frozenset({"GET", "HEAD"})


class SignedOutError(ServiceError):
    """Nobody is signed in: the console answers with the page to do so."""

    def __init__(self) -> None:
        super().__init__(401, "unauthorized", "sign in first")


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who is signed in.

    Attributes:
        principal: Who it is, and what they may do.
        csrf: What a form of theirs must hold.
    """

    principal: Principal
    csrf: str


def begin(request: Request, response: Response, secret: str) -> None:
    """Sign somebody in on an answer.

    Args:
        request: What is answered.
        response: The answer.
        secret: Of the new session.
    """
    response.set_cookie(
        _COOKIE,
        secret,
        max_age=int(service_of(request).settings.session_lifetime.total_seconds()),
        path="/console",
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="lax",
    )


def end(request: Request, response: Response) -> None:
    """Sign somebody out, here and on the answer."""
    service_of(request).credentials.end_session(request.cookies.get(_COOKIE, ""))
    response.delete_cookie(_COOKIE, path="/console", httponly=True, samesite="lax")


async def _form_proof(request: Request) -> str | None:
    """What a form brings as proof; read here, as a form can only be read where one may wait."""
    if request.method in _SAFE:
        return None
    header = request.headers.get("x-csrf-token")
    if header is not None:
        return header
    field = (await request.form()).get(CSRF_FIELD)
    return field if isinstance(field, str) else None


def signed_in(request: Request, proof: Annotated[str | None, Depends(_form_proof)]) -> Person:
    """The person at the browser.

    Raises:
        SignedOutError: If nobody is signed in.
        ServiceError: If something would be changed without proof that one of our own pages asks for it.
    """
    secret = request.cookies.get(_COOKIE, "")
    session = service_of(request).credentials.session(secret) if secret else None
    if session is None:
        raise SignedOutError
    csrf = hmac.new(secret.encode(), b"csrf", hashlib.sha256).hexdigest()
    if request.method not in _SAFE and not hmac.compare_digest((proof or "").encode(), csrf.encode()):
        raise ServiceError(403, "no_csrf_proof", "this form is too old, or none of ours: open the page again")
    key = "session:" + hashlib.sha256(secret.encode()).hexdigest()
    return Person(Principal(session.name, session.scopes, key), csrf)


SignedIn = Annotated[Person, Depends(signed_in)]
"""A route of the console that takes this lets nobody else in, and no forged form."""
