"""`/v1/sessions`: who is signed in to the console. Admins see and end all sessions, others those of their token."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response
from pydantic import Field

from cidrgate.errors import SessionNotFoundError
from cidrgate.service.api.openapi import READ, answers
from cidrgate.service.api.schemas import ResponseModel, response_example
from cidrgate.service.auth.access import Known
from cidrgate.service.auth.principals import Principal
from cidrgate.service.auth.serialization import session_record
from cidrgate.service.auth.values import Session
from cidrgate.service.http.conditional_requests import IdempotencyKey, RawBody, request_key
from cidrgate.service.http.idempotency import Answer
from cidrgate.service.http.pagination import Cursor, Limit, a_page, cursor_after, invalid_cursor, text_of_cursor
from cidrgate.service.http.strict_requests import StrictRoute
from cidrgate.service.settings import service_of
from cidrgate.stores import Transaction

__all__ = [
    "SessionModel",
    "SessionPageModel",
    "require_own",
    "router",
]

router = APIRouter(prefix="/v1/sessions", tags=["sessions"], route_class=StrictRoute)

SessionId = Annotated[
    str, Path(min_length=16, max_length=16, pattern=r"^[0-9a-f]{16}$", description="The id of the session.")
]


class SessionModel(ResponseModel):
    """A session of the console."""

    model_config = response_example(
        {
            "id": "9f86d081884c7d65",
            "name": "billing",
            "scopes": ["account:acct-1:write"],
            "token_id": 3,
            "by_link": False,
            "address": "198.51.100.7",
            "created_at": "2026-01-02T03:04:05+00:00",
            "expires_at": "2026-01-02T15:04:05+00:00",
        }
    )

    id: str = Field(description="The id of the session.")
    name: str = Field(description="The actor of its changes.")
    scopes: list[str] = Field(description="What the session permits.")
    token_id: int | None = Field(
        description="The id of the token with which it ends; null after a link that was made without a token."
    )
    by_link: bool = Field(description="Whether it began with a one-time link.")
    address: str | None = Field(description="The address at which it began; null if unknown.")
    created_at: datetime = Field(description="When it began.")
    expires_at: datetime = Field(description="When it expires.")


class SessionPageModel(ResponseModel):
    """A page of sessions, the newest first."""

    items: list[SessionModel]
    next_cursor: str | None = Field(description="The cursor of the next page; null on the last page.")


@router.get("", response_model=SessionPageModel, responses=answers(headers={200: READ}))
def list_sessions(request: Request, principal: Known, limit: Limit = 100, cursor: Cursor = None) -> Response:
    """List the current console sessions, the newest first. Without the scope `admin`, only those of this token."""
    credentials = service_of(request).credentials
    token_id = None if principal.admin else principal.token_id
    found = credentials.sessions(token_id=token_id, before=_place(cursor), limit=limit + 1)
    shown, last = a_page(found, limit)
    page = {
        "items": [session_record(session) for session in shown],
        "next_cursor": None if last is None else cursor_after(f"{last.created_at.isoformat()}\n{last.id}"),
    }
    return Answer(page).read()


@router.delete("/{session_id}", response_model=SessionModel, responses=answers(404, 409))
def end_session(
    request: Request, principal: Known, session_id: SessionId, body: RawBody, idempotency_key: IdempotencyKey = None
) -> Response:
    """End a console session. The next request of that browser must sign in again."""
    service = service_of(request)
    once = request_key(request, principal, idempotency_key, body)

    def carry_out() -> Answer:
        require_own(principal, service.credentials.session_by_id(session_id))

        def store(transaction: Transaction) -> Answer:
            present = principal.now(transaction)
            credentials = service.credentials.with_origin(principal.origin)
            ended = credentials.end_session_in(transaction, session_id, actor=principal.name)
            require_own(present, ended)
            answer = Answer(session_record(ended))
            service.answers.record(transaction, once, answer)
            return answer

        return service.credentials.written(store)

    return service.answers.once(once, carry_out)


def _place(cursor: str | None) -> tuple[datetime, str] | None:
    """Return the time and the id of the last session of the page before, which may have ended; None for the first page.

    Raises:
        ServiceError: If the cursor does not belong to this list.
    """
    text = text_of_cursor(cursor)
    if text is None:
        return None
    time, _, session_id = text.partition("\n")
    try:
        begun = datetime.fromisoformat(time)
        if begun.tzinfo is None:
            raise invalid_cursor()
        return begun.astimezone(UTC), session_id
    except (ValueError, OverflowError) as error:
        raise invalid_cursor() from error


def require_own(principal: Principal, session: Session) -> None:
    """Reject a session that does not belong to the principal.

    Raises:
        SessionNotFoundError: If it belongs to another token; the error does not reveal that the session exists.
    """
    if not principal.admin and (principal.token_id is None or session.token_id != principal.token_id):
        raise SessionNotFoundError(f"there is no session {session.id!r}", session=session.id)
