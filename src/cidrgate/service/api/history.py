"""`/v1/accounts/{account}/history`: what changed, when and by whom; and `restore`, which restores an earlier list."""

from collections.abc import Iterator
from datetime import datetime

from fastapi import APIRouter, Request, Response
from pydantic import Field

from cidrgate.manager import RuleManager
from cidrgate.serialization import change_record
from cidrgate.service.api.account_paths import AccountName
from cidrgate.service.api.entries import ListChangeModel, change_request
from cidrgate.service.api.openapi import ETAG, answers
from cidrgate.service.api.schemas import (
    ENTRY_EXAMPLE,
    MOST_ID,
    EntryModel,
    RequestModel,
    ResponseModel,
    request_example,
    response_example,
)
from cidrgate.service.auth.access import Reader
from cidrgate.service.http.idempotency import Answer
from cidrgate.service.http.pagination import Cursor, Limit, cursor_after, filled, number_of_cursor
from cidrgate.service.http.strict_requests import StrictRoute
from cidrgate.service.settings import service_of
from cidrgate.values import Change

__all__ = [
    "ChangeModel",
    "ChangePage",
    "RestoreRequest",
    "router",
]

_AT_A_TIME = 50

router = APIRouter(prefix="/v1/accounts/{account:account}", tags=["history"], route_class=StrictRoute)


class RestoreRequest(RequestModel):
    """The earlier list to restore."""

    model_config = request_example({"sequence": 12})

    sequence: int = Field(
        ge=0, le=MOST_ID, strict=True, description="The change after which the list had the wanted state."
    )


class ChangeModel(ResponseModel):
    """One change of the history."""

    model_config = response_example(
        {
            "sequence": 12,
            "at": "2026-01-02T03:04:05+00:00",
            "actor": "billing",
            "account": "acct-1",
            "action": "add",
            "before": [],
            "after": [ENTRY_EXAMPLE],
        }
    )

    sequence: int
    at: datetime
    actor: str | None
    account: str
    action: str
    before: list[EntryModel]
    after: list[EntryModel]


class ChangePage(ResponseModel):
    """A page of changes, the newest first."""

    items: list[ChangeModel]
    next_cursor: str | None


@router.get("/history", response_model=ChangePage, responses=answers(404))
def list_history(
    request: Request, _principal: Reader, account: AccountName, limit: Limit = 100, cursor: Cursor = None
) -> Response:
    """List the changes of an account's own list, the newest first. The owner of an inherited list has its changes."""
    changes = _newest_first(service_of(request).manager, account, number_of_cursor(cursor), limit + 1)
    items, last = filled(changes, change_record, lambda change: change.sequence, limit)
    page = {
        "items": items,
        "next_cursor": None if last is None else cursor_after(last),
    }
    return Answer(page).response()


def _newest_first(manager: RuleManager, account: str, before: int | None, most: int) -> Iterator[Change]:
    """Yield changes of an account, read a few at a time, because each may contain two whole lists."""
    while most > 0:
        changes = manager.history(account, limit=min(most, _AT_A_TIME), before=before)
        yield from changes
        if len(changes) < min(most, _AT_A_TIME):
            return
        most -= len(changes)
        before = changes[-1].sequence


@router.post("/restore", response_model=ListChangeModel, responses=answers(404, 409, 412, 413, headers={200: ETAG}))
def restore(account: AccountName, asked: change_request, wanted: RestoreRequest) -> Response:
    """Restore the list as it was after a change of the history. This is a new change; the current rules apply to it."""
    return asked.answered(lambda manager, arguments: manager.restore(account, to_sequence=wanted.sequence, **arguments))
