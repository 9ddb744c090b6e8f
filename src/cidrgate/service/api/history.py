"""`/v1/accounts/{account}/history`: what changed, when and by whom; and the way back."""

from collections.abc import Iterator

from fastapi import APIRouter, Request, Response

from cidrgate.manager import RuleManager
from cidrgate.serialization import change_record
from cidrgate.service.api.account_paths import AccountName
from cidrgate.service.api.entries import change_request
from cidrgate.service.api.models import ChangePage, ListChangeModel, RestoreRequest
from cidrgate.service.api.openapi import ETAG, answers
from cidrgate.service.auth.access import Reader
from cidrgate.service.http.idempotency import Answer
from cidrgate.service.http.pagination import Cursor, Limit, cursor_after, filled, number_of_cursor
from cidrgate.service.http.strict_requests import StrictRoute
from cidrgate.service.settings import service_of
from cidrgate.values import Change

__all__ = ["router"]

_AT_A_TIME = 50

router = APIRouter(prefix="/v1/accounts/{account:account}", tags=["history"], route_class=StrictRoute)


@router.get("/history", response_model=ChangePage, responses=answers(404))
def list_history(
    request: Request, _principal: Reader, account: AccountName, limit: Limit = 100, cursor: Cursor = None
) -> Response:
    """The changes of an account's own list, the newest first. Those of an inherited list are its owner's."""
    changes = _newest_first(service_of(request).manager, account, number_of_cursor(cursor), limit + 1)
    items, last = filled(changes, change_record, lambda change: change.sequence, limit)
    page = {
        "items": items,
        "next_cursor": None if last is None else cursor_after(last),
    }
    return Answer(page).response()


def _newest_first(manager: RuleManager, account: str, before: int | None, most: int) -> Iterator[Change]:
    """Changes of an account, read a few at a time: each may hold two whole lists."""
    while most > 0:
        changes = manager.history(account, limit=min(most, _AT_A_TIME), before=before)
        yield from reversed(changes)
        if len(changes) < min(most, _AT_A_TIME):
            return
        most -= len(changes)
        before = changes[0].sequence


@router.post("/restore", response_model=ListChangeModel, responses=answers(404, 409, 412, 413, headers={200: ETAG}))
def restore(account: AccountName, asked: change_request, wanted: RestoreRequest) -> Response:
    """Make the list what it was after a change of the history, as a new change that keeps the rules of today."""
    return asked.answered(lambda manager, arguments: manager.restore(account, at=wanted.sequence, **arguments))
