"""The console as an application that the service mounts: its errors are pages."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.staticfiles import StaticFiles

from cidrgate.errors import (
    AccountNotFoundError,
    CidrgateError,
    CredentialEndedError,
    NotFoundError,
    OutcomeUnknownError,
    StoreError,
)
from cidrgate.gate.request_paths import routed_path
from cidrgate.service.console import (
    account_changes,
    accounts,
    adding,
    checks as questions,
    editing,
    going_back,
    lists,
    modes,
    recommending,
    signed_in,
    signing_in,
    tokens,
)
from cidrgate.service.console.details import FORM_DETAILS, input_type
from cidrgate.service.console.fields import LONGEST_WAY
from cidrgate.service.console.messages import FAILED, INVALID_REQUEST, NO_PAGE, message_of
from cidrgate.service.console.pages import in_place, link, page
from cidrgate.service.console.sessions import known_person
from cidrgate.service.http.limits import LONGEST_FORM_LIST, LONGEST_NAME, MOST_FIELDS
from cidrgate.service.http.pagination import storable
from cidrgate.service.http.prefix import prefix_of
from cidrgate.service.http.problems import InvalidRequestError, ServiceError
from cidrgate.service.http.store_events import log_store_error
from cidrgate.service.http.strict_requests import FORM

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["add_console"]


_TITLES = {
    400: "This request is invalid",
    401: "Sign in to continue",
    403: "You may not do this",
    404: "There is no such page",
    405: "There is no such page",
    408: "Your input did not arrive",
    409: "This is not possible now",
    413: "Your input is too long",
    422: "This request is invalid",
    429: "Too many attempts",
    500: "Something failed",
    503: "The lists are unavailable",
}
_PAGE_HEADERS = ((b"referrer-policy", b"same-origin"), (b"cidrgate-page", b"1"))
_TYPED = {
    "cidrs": "Networks",
    "cidr": "Network",
    "label": "Label",
    "ends_at": "Time in UTC",
    "reason": "Reason",
    "name": "Name",
    "display_name": "Display name",
    "parent": "Parent",
    **{detail.name: detail.title for detail in FORM_DETAILS if input_type(detail) != "select"},
}
"""The fields in which a person types, with their titles; no error may lose their text."""

_TYPED_ONLY_IN = {"/tokens/new": {"account": "Account"}}
"""Such fields of one form, by its path: other forms send what nobody typed under the same name."""


_LARGEST_FORM = 4 * LONGEST_FORM_LIST
"""Bytes of a form that an error page shows: what a browser sends of each ASCII character takes up to three bytes."""

_PARTS = (
    signing_in,
    accounts,
    account_changes,
    lists,
    adding,
    editing,
    going_back,
    modes,
    questions,
    recommending,
    tokens,
    signed_in,
)


def add_console(app: FastAPI) -> None:
    """Add the console to the service's application; the root of the service redirects to the console's first page.

    Args:
        app: The application, with its `Service`.
    """
    console = FastAPI(title="cidrgate console", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    console.state.service = app.state.service
    for part in _PARTS:
        console.router.routes.extend(part.router.routes)  # not `include_router`, which makes every route again
    console.add_api_route("/", _first_page, methods=["GET"])
    console.mount("/static", _Assets(directory=Path(__file__).with_name("static")))
    console.add_middleware(_PageHeaders)
    for kind in (CidrgateError, RequestValidationError, HTTPException, Exception):
        console.add_exception_handler(kind, _error_page)
    for path in ("/", "/console"):
        app.add_api_route(path, _to_console, methods=["GET"], include_in_schema=False)
    app.mount("/console", console)


def _to_console(request: Request) -> Response:
    return RedirectResponse(f"{prefix_of(request.scope)}/console/", 303)


def _first_page(request: Request) -> Response:
    return RedirectResponse(link(request, "accounts"), 303)


class _Assets(StaticFiles):
    """The package's own files. A browser revalidates them after an hour: new versions use the same names."""

    def file_response(self, *args: object, **kwargs: object) -> Response:
        """Return one file."""
        response: Response = super().file_response(*args, **kwargs)  # type: ignore[arg-type]
        response.headers["Cache-Control"] = "public, max-age=3600"
        return response


class _PageHeaders:
    """Marks the console's own responses, and sends the origin of its forms.

    The mark prevents scripts from inserting a response that a proxy made. The console's forms send their origin, but
    only to the console: the service's `no-referrer` would prevent that.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and add the headers to its response."""

        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *_PAGE_HEADERS]
            await send(message)

        await self._app(scope, receive, marked)


async def _error_page(request: Request, error: Exception) -> Response:
    """Return an error as a page, or as a message in the open dialog, together with the input, which can be copied."""
    if isinstance(error, StoreError):
        log_store_error(request, error)  # the database's message may name hosts and users: it is for the log only
    status, detail, headers = _what_failed(error)
    if status == 401 and request.method == "GET" and not in_place(request):
        query = request.scope.get("query_string", b"").decode("latin-1")
        path = f"{prefix_of(request.scope)}{routed_path(request.scope)}{'?' if query else ''}{query}"
        then = f"?{urlencode({'then': path})}" if len(path) <= LONGEST_WAY else ""
        return RedirectResponse(f"{link(request, 'sign-in')}{then}", 303)
    typed: dict[str, str] = {}
    if request.method == "POST":
        typed = _typed_in(await _form_of(request), routed_path(request.scope))
    title = _TITLES.get(status, "This did not work")
    if isinstance(error, AccountNotFoundError):
        title = "There is no such account"
    known: dict[str, Any] = {"title": title, "detail": detail, "typed": typed, "sign_in": status == 401}
    known["person"] = await known_person(request)
    known["account"] = None if status == 404 else await _account_of(request)
    if in_place(request):
        # The message appears beside the input, which stays on the page.
        headers |= {"HX-Retarget": "#trouble", "HX-Reswap": "innerHTML"}
        return page(request, "trouble.html", status=status, headers=headers, **known)
    # While the store fails nobody is known; the ways to the other pages stay.
    return page(request, "error.html", status=status, headers=headers, failed=status >= 500, **known)


def _typed_in(form: FormData, path: str) -> dict[str, str]:
    """Return what a person typed in the form that was sent to a path, by the titles of the fields."""
    typed = {}
    for field, title in {**_TYPED, **_TYPED_ONLY_IN.get(path, {})}.items():
        texts = [text for text in form.getlist(field) if isinstance(text, str) and text.strip()]
        if texts:
            typed[title] = "\n".join(texts)
    return typed


async def _account_of(request: Request) -> str | None:
    """Return the account that the request was about, to which an error page leads back."""
    account = request.query_params.get("account")
    if account is None and request.method == "POST":
        sent = (await _form_of(request)).get("account")
        account = sent if isinstance(sent, str) else None
    return account if account is not None and len(account) <= LONGEST_NAME and storable(account) else None


async def _form_of(request: Request) -> FormData:
    """Return the input as far as it can be read, up to the longest that a form holds."""
    read: FormData | None = request.scope.get(FORM)
    if read is not None:
        return read
    size = request.headers.get("content-length", "")
    if not (size.isascii() and size.isdecimal() and len(size) < 10 and int(size) <= _LARGEST_FORM):
        return FormData()
    try:
        return await request.form(max_fields=MOST_FIELDS, max_files=0)
    except (HTTPException, ClientDisconnect):
        return FormData()


def _what_failed(error: Exception) -> tuple[int, str, dict[str, str]]:
    """Return the status, the message for a person, and headers."""
    match error:
        case InvalidRequestError() | RequestValidationError() | HTTPException(status_code=400 | 422):
            return 422, INVALID_REQUEST, {}
        case ServiceError():
            return error.status, message_of(error), dict(error.headers or {})
        case CidrgateError():
            retry = isinstance(error, StoreError) and not isinstance(error, OutcomeUnknownError)
            return _status_of(error), message_of(error), {"Retry-After": "5"} if retry else {}
        case HTTPException(status_code=status) if status not in (404, 405):
            return status, _OF_THE_FRAMEWORK.get(status, FAILED), dict(error.headers or {})
        case HTTPException(status_code=status):
            return status, NO_PAGE, dict(error.headers or {})
        case _:
            return 500, FAILED, {}


def _status_of(error: CidrgateError) -> int:
    match error:
        case NotFoundError():
            return 404
        case CredentialEndedError():
            return 401
        case StoreError():
            return 503
        case _:
            return 409


_OF_THE_FRAMEWORK = {
    408: "Your input did not arrive in time. Try again.",
    413: "No more than a part of it was received, so this page cannot show it. Send less at a time.",
}
