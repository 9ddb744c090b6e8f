"""The page of sessions: it shows who is signed in to the console, and ends sessions."""

from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Form, Query, Request, Response

from cidrgate.errors import SessionNotFoundError
from cidrgate.service.console.pages import go, page
from cidrgate.service.console.sessions import Person, SignedIn, SignedInForm
from cidrgate.service.http.strict_requests import ConsoleRoute
from cidrgate.service.settings import service_of
from cidrgate.stores import Transaction

__all__ = ["router"]

router = APIRouter(prefix="/sessions", route_class=ConsoleRoute)

_A_PAGE = 50
_Id = Annotated[str, Query(pattern=r"^([0-9a-f]{16})?$")]


@router.get("")
def sessions_page(request: Request, person: SignedIn, after: _Id = "") -> Response:
    """Show every session to an admin, and to others those of their own token."""
    credentials = service_of(request).credentials
    before = None
    if after:
        try:
            last = credentials.session_by_id(after)
        except SessionNotFoundError:
            return go(request, "sessions")
        if not _may_see(person, last.token_id, last.id):
            raise SessionNotFoundError(f"there is no session {after!r}", session=after)
        before = (last.created_at, last.id)
    if person.principal.admin:
        found = credentials.sessions(before=before, limit=_A_PAGE + 1)
    elif person.principal.token_id is not None:
        found = credentials.sessions(token_id=person.principal.token_id, before=before, limit=_A_PAGE + 1)
    else:
        found = [credentials.session_by_id(person.session_id)]
    more = found[_A_PAGE - 1].id if len(found) > _A_PAGE else None
    return page(request, "sessions.html", person=person, sessions=found[:_A_PAGE], after=after, more=more)


@router.post("/end")
def end_session(
    request: Request, person: SignedInForm, session: Annotated[str, Form(pattern=r"^[0-9a-f]{16}$")]
) -> Response:
    """End a session."""
    service = service_of(request)

    def end(transaction: Transaction) -> None:
        present = replace(person, principal=person.principal.now(transaction))
        credentials = service.credentials.with_origin(person.principal.origin)
        ended = credentials.end_session_in(transaction, session, actor=person.principal.name)
        if not _may_see(present, ended.token_id, ended.id):
            raise SessionNotFoundError(f"there is no session {session!r}", session=session)

    service.credentials.written(end)
    return go(request, "sessions")


def _may_see(person: Person, token_id: int | None, session_id: str) -> bool:
    if person.principal.admin or session_id == person.session_id:
        return True
    return token_id is not None and token_id == person.principal.token_id
