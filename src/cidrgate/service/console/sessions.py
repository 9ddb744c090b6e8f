"""The session of a browser, in a cookie, and the proof that a form came from one of the console's own pages."""

import hashlib
import hmac
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Form, Request, Response
from starlette.concurrency import run_in_threadpool

from cidrgate.errors import CidrgateError
from cidrgate.service.auth.origins import origin_of
from cidrgate.service.auth.principals import Principal
from cidrgate.service.auth.values import Scope
from cidrgate.service.console.messages import ConsoleForbiddenError
from cidrgate.service.http.problems import ServiceError
from cidrgate.service.http.strict_requests import BEFORE_BODY
from cidrgate.service.settings import service_of
from cidrgate.stores import Transaction
from cidrgate.values import seconds

__all__ = [
    "Person",
    "SignedIn",
    "SignedInForm",
    "SignInNeededError",
    "begin",
    "end",
    "forget",
    "known_person",
    "require_own_page",
]

_COOKIE = "cidrgate_session"
_SECURE_COOKIE = f"__Host-{_COOKIE}"
"""Browsers accept a cookie with this name only over TLS, and only from this host."""
_KNOWN = "cidrgate.person"
"""The key under which a request stores the person who sent it."""


@dataclass(frozen=True, slots=True)
class Person:
    """A person who is signed in.

    Attributes:
        principal: What the person may do.
        csrf: The secret in the person's forms; another site cannot know it.
        address: The person's address; None if it is unknown.
        expires_at: When the session expires.
        session_id: The public name of the session.
    """

    principal: Principal
    csrf: str
    address: str | None
    expires_at: datetime
    session_id: str

    @property
    def guarded_address(self) -> str | None:
        """The address that a change must not lock out; None for people who run the service.

        They change the lists of customers, and their own address has no business in them.
        """
        return None if self.principal.admin else self.address


class SignInNeededError(ServiceError):
    """The page requires a person who is signed in."""

    code = "unauthorized"

    def __init__(self) -> None:
        super().__init__(self.code, "You are not signed in, or your session has ended.")


def begin(request: Request, response: Response, secret: str) -> None:
    """Store a session in a browser.

    Args:
        request: The request that begins the session.
        response: Its response.
        secret: The session's secret.
    """
    secure = _over_tls(request)
    response.set_cookie(
        _SECURE_COOKIE if secure else _COOKIE,
        secret,
        max_age=int(seconds(service_of(request).settings.session_lifetime, "session_lifetime")),
        path="/",
        secure=secure,
        httponly=True,
        samesite="lax",
    )


def end(request: Request, response: Response, person: Person) -> None:
    """End a person's session."""
    secret = _secret(request)
    if secret is not None:
        service_of(request).credentials.with_origin(person.principal.origin).end_session(secret)
    forget(response)


def forget(response: Response) -> None:
    """Remove the session from a browser."""
    response.delete_cookie(_COOKIE, path="/", httponly=True, samesite="lax")
    response.delete_cookie(_SECURE_COOKIE, path="/", secure=True, httponly=True, samesite="lax")


def require_own_page(request: Request) -> None:
    """Reject a form from a page of another site, before the person is signed in.

    Raises:
        ConsoleForbiddenError: If the browser reports another site, or does not report where the form comes from.
    """
    site = request.headers.get("sec-fetch-site")
    public = service_of(request).settings._public
    origin = request.headers.get("origin", "")
    if site is not None:
        own = site in ("same-origin", "none")
    elif public is not None:
        own = origin == str(public)
    else:
        # Browsers omit the header over plain HTTP.
        own = _host_of(origin) == request.headers.get("host")
    if not own:
        raise ConsoleForbiddenError(
            "This form was sent by another site, or a proxy hides the host name you opened this console with. "
            "Open the console's own sign-in page."
        )


async def _signed_in(request: Request) -> Person:
    known: Person | None = request.scope.get(_KNOWN)
    if known is None:
        known = request.scope[_KNOWN] = await run_in_threadpool(_person_of, request)
    return known


BEFORE_BODY.add(_signed_in)


async def known_person(request: Request) -> Person | None:
    """Return the person who sent a request, if that can be found out: a page about an error shows the way on."""
    known: Person | None = request.scope.get(_KNOWN)
    if known is not None:
        return known
    try:
        return await _signed_in(request)
    except CidrgateError:  # not signed in, or the store cannot be read
        return None


def _person_of(request: Request) -> Person:
    secret = _secret(request)
    credentials = service_of(request).credentials
    session = None if secret is None else credentials.session(secret)
    if secret is None or session is None:
        raise SignInNeededError

    def rely_on(transaction: Transaction) -> tuple[Scope, ...]:
        return credentials.rely_on_session(transaction, secret).scopes

    key = f"token:{session.token_id}" if session.token_id is not None else f"session:{session.id}"
    began = f"token:{session.token_id}" if session.link_id is None else f"link:{session.link_id}"
    origin = origin_of(request, "session", session.id, via=began)
    principal = Principal(session.name, session.scopes, key, session.token_id, rely_on, origin)
    return Person(principal, _csrf(secret), origin.address, session.expires_at, session.id)


SignedIn = Annotated[Person, Depends(_signed_in)]
"""The person who opens a page."""


async def _signed_in_form(person: SignedIn, csrf: Annotated[str, Form()] = "") -> Person:
    if not hmac.compare_digest(csrf.encode(), person.csrf.encode()):
        raise ConsoleForbiddenError(
            "This form does not belong to your session, perhaps because you have signed in again since you opened it. "
            "Nothing was changed: open the page again."
        )
    return person


SignedInForm = Annotated[Person, Depends(_signed_in_form)]
"""The person who sends a form."""


def _secret(request: Request) -> str | None:
    """Return the session's secret. Over TLS, only the cookie counts that no other host and no one between can set."""
    public = service_of(request).settings._public
    secure = request.cookies.get(_SECURE_COOKIE)
    if request.scope["scheme"] == "https" or (public is not None and public.secure):
        return secure
    return secure or request.cookies.get(_COOKIE)


def _csrf(secret: str) -> str:
    """Return the secret of the session's forms; it does not reveal the session's secret."""
    return hmac.new(secret.encode(), b"csrf", hashlib.sha256).hexdigest()


def _host_of(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return None


def _over_tls(request: Request) -> bool:
    """Return whether the browser uses TLS; behind a proxy, the public URL or the browser's `Origin` shows it."""
    public = service_of(request).settings._public
    if public is not None:
        return public.secure
    return request.scope["scheme"] == "https" or request.headers.get("origin", "").startswith("https://")
