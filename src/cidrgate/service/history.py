"""`/v1/accounts/{account}/history`: what changed, when and by whom; and the way back."""

from fastapi import APIRouter, Request, Response

from cidrgate.records import change_record
from cidrgate.service.access import Reader
from cidrgate.service.account_paths import AccountName
from cidrgate.service.answers import Answer
from cidrgate.service.documents import ETAG, answers
from cidrgate.service.entries import change_request
from cidrgate.service.models import ChangePage, ListChangeModel, RestoreRequest
from cidrgate.service.pages import Cursor, Limit, a_page, cursor_after, number_of_cursor
from cidrgate.service.settings import service_of
from cidrgate.service.threads import ChangingRoute

__all__ = ["router"]

router = APIRouter(prefix="/v1/accounts/{account:account}", tags=["history"], route_class=ChangingRoute)


@router.get("/history", response_model=ChangePage, responses=answers(404))
def list_history(
    request: Request, _principal: Reader, account: AccountName, limit: Limit = 100, cursor: Cursor = None
) -> Response:
    """The changes of an account's own list, the newest first. Those of an inherited list are its owner's."""
    before = number_of_cursor(cursor)
    changes = service_of(request).manager.history(account, limit=limit + 1, before=before)[::-1]
    shown, last = a_page(changes, limit)
    page = {
        "items": [change_record(change) for change in shown],
        "next_cursor": None if last is None else cursor_after(last.sequence),
    }
    return Answer(page).response()


@router.post("/restore", response_model=ListChangeModel, responses=answers(404, 409, 412, 413, headers={200: ETAG}))
def restore(account: AccountName, asked: change_request, wanted: RestoreRequest) -> Response:
    """Make the list what it was after a change of the history, as a new change that keeps the rules of today."""
    return asked.answered(lambda manager, arguments: manager.restore(account, at=wanted.sequence, **arguments))
