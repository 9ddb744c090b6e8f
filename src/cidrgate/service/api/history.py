"""`/v1/accounts/{account_name}/history`: what changed, when and by whom; `restore`, and `undo`."""

from collections.abc import Iterator
from datetime import datetime
from functools import partial
from typing import Annotated, Any, Literal, get_args

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import Field
from starlette.concurrency import run_in_threadpool

from cidrgate.manager import RuleManager
from cidrgate.serialization import change_record
from cidrgate.service.api.account_paths import AccountName
from cidrgate.service.api.entries import ListChangeModel, change_request
from cidrgate.service.api.openapi import READ, answers
from cidrgate.service.api.schemas import (
    ENTRY_EXAMPLE,
    EntryModel,
    RequestModel,
    ResponseModel,
    open_enum,
    request_example,
    response_example,
)
from cidrgate.service.auth.access import Admin, Reader
from cidrgate.service.http.idempotency import Answer
from cidrgate.service.http.integers import PLAIN
from cidrgate.service.http.limits import GREATEST_INTEGER, LONGEST_NAME
from cidrgate.service.http.pagination import Cursor, Limit, cursor_after, filled, number_of_cursor
from cidrgate.service.http.problems import InvalidRequestError
from cidrgate.service.http.strict_requests import StrictRoute
from cidrgate.service.settings import service_of
from cidrgate.values import Action, Change, OriginKind

__all__ = [
    "ChangeModel",
    "ChangePageModel",
    "OriginModel",
    "RestoreRequestModel",
    "of_all",
    "router",
]

_AT_A_TIME = 50

router = APIRouter(prefix="/v1/accounts/{account_name:account}", tags=["history"], route_class=StrictRoute)
of_all = APIRouter(prefix="/v1", tags=["history"], route_class=StrictRoute)


class RestoreRequestModel(RequestModel):
    """The earlier list to restore."""

    model_config = request_example({"to_sequence": 12})

    to_sequence: int = Field(
        ge=0,
        le=GREATEST_INTEGER,
        strict=True,
        description="The sequence of the change after which the list had the wanted state.",
    )


ORIGIN_EXAMPLE = {
    "kind": "token",
    "id": "3",
    "via": None,
    "on_behalf_of": "alice",
    "address": "198.51.100.7",
    "request_id": "5f1d7a3c9b2e4f6081a2b3c4",
}


class OriginModel(ResponseModel):
    """How the actor of a change is known, and from where the change came."""

    model_config = response_example(ORIGIN_EXAMPLE)

    kind: str = Field(description="How the actor is known.", json_schema_extra=open_enum(get_args(OriginKind)))
    id: str | None = Field(
        description="The id of the token, the session or the link, or the user of the operating system; null if there "
        "is none."
    )
    via: str | None = Field(
        description="The credential with which a session began: `token:` or `link:` and its id; null otherwise."
    )
    on_behalf_of: str | None = Field(
        description="The person for whom a program made the change, as the program says; null if it says nothing."
    )
    address: str | None = Field(description="The client address; null if it is unknown.")
    request_id: str | None = Field(description="The `X-Request-ID` of the request; null without a request.")


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
            "details": None,
            "origin": ORIGIN_EXAMPLE,
        }
    )

    sequence: int = Field(description="The position in the change log; it grows with every change.")
    at: datetime = Field(description="When the change was committed.")
    actor: str | None = Field(description="Who made the change.")
    account: str | None = Field(
        description="The account that changed; null for an event of the store as a whole, such as a sign-in."
    )
    action: str = Field(description="What the change did.", json_schema_extra=open_enum(get_args(Action)))
    before: list[EntryModel] = Field(description="The entries that it removed or edited, as they were before.")
    after: list[EntryModel] = Field(description="The entries that it added or edited, as they were after.")
    details: dict[str, Any] | None = Field(
        description="What changed besides entries: `before` and `after`, or what an event says; null for nothing."
    )
    origin: OriginModel | None = Field(
        description="How the actor is known, and from where the change came; null in rows of versions before 0.1.0."
    )


class ChangePageModel(ResponseModel):
    """A page of changes."""

    items: list[ChangeModel]
    next_cursor: str | None = Field(description="The cursor of the next page; null on the last page.")


Before = Annotated[
    int | None, Query(ge=0, le=GREATEST_INTEGER, description="Only changes with a smaller sequence."), PLAIN
]
After = Annotated[
    int | None, Query(ge=0, le=GREATEST_INTEGER, description="Only changes with a greater sequence."), PLAIN
]


@router.get("/history", response_model=ChangePageModel, responses=answers(404, headers={200: READ}))
def list_history(
    request: Request,
    principal: Reader,
    account_name: AccountName,
    limit: Limit = 100,
    cursor: Cursor = None,
    before: Before = None,
    after: After = None,
) -> Response:
    """List the changes of an account's own list, the newest first. The owner of an inherited list has its changes."""
    # Another account may have had the name before: its lists are nothing for a token of this account.
    manager, present = service_of(request).manager, not principal.admin
    return _page(manager, account_name, limit, cursor, before, after, present=present)


@router.post("/restore", response_model=ListChangeModel, responses=answers(404, 409, 412, body=True))
def restore_list(account_name: AccountName, asked: change_request, wanted: RestoreRequestModel) -> Response:
    """Restore the list as it was after a change of the history. This is a new change; the current rules apply to it."""
    return asked.answered(
        lambda manager, arguments: manager.restore(account_name, to_sequence=wanted.to_sequence, **arguments)
    )


Sequence = Annotated[
    int, Path(ge=1, le=GREATEST_INTEGER, description="The sequence of the change in the history."), PLAIN
]


@router.post("/history/{sequence}/undo", response_model=ListChangeModel, responses=answers(404, 409, 412))
def undo_change(account_name: AccountName, asked: change_request, sequence: Sequence) -> Response:
    """Undo one change of the list and keep the later ones. This is a new change; the current rules apply to it."""
    return asked.answered(lambda manager, arguments: manager.undo(account_name, sequence, **arguments))


@of_all.get("/changes", response_model=ChangePageModel, responses=answers(404, headers={200: READ}))
async def list_changes(
    request: Request,
    _principal: Admin,
    limit: Limit = 100,
    cursor: Cursor = None,
    account: Annotated[
        str | None, Query(min_length=1, max_length=LONGEST_NAME, description="Only changes of this account.")
    ] = None,
    before: Before = None,
    after: After = None,
    order: Annotated[
        Literal["newest", "oldest"],
        Query(
            description="`oldest` reads the log as a feed, the oldest change first: to continue, send the sequence of "
            "the last change as `after`. No change is left out, in whatever order transactions commit. It is for all "
            "accounts, without `account` and `before`."
        ),
    ] = "newest",
) -> Response:
    """List the changes of every account and the events of the store, the newest first. Only for admins."""
    service = service_of(request)
    if order == "newest":
        return await run_in_threadpool(_page, service.manager, account, limit, cursor, before, after)
    for name, value in (("account", account), ("before", before)):
        if value is not None:
            detail = "the feed is for all accounts and begins with the oldest change: leave this out"
            raise InvalidRequestError([{"code": "invalid_value", "detail": detail, "parameter": name}])
    begin = number_of_cursor(cursor)
    # It waits for transactions that have written to the log, which must hold no other read up.
    begin = (after or 0) if begin is None else begin
    page: Response = await service.feed_threads.run(partial(_feed_page, service.manager, begin, limit))
    return page


def _feed_page(manager: RuleManager, after: int, limit: int) -> Response:
    changes = _oldest_first(manager, after, limit + 1)
    items, last = filled(changes, change_record, lambda change: change.sequence, limit)
    return Answer({"items": items, "next_cursor": None if last is None else cursor_after(last)}).read()


def _page(
    manager: RuleManager,
    account: str | None,
    limit: int,
    cursor: str | None,
    before: int | None,
    after: int | None,
    *,
    present: bool = False,
) -> Response:
    ended = number_of_cursor(cursor)
    first = min((one for one in (ended, before) if one is not None), default=None)
    changes = _newest_first(manager, account, first, after or 0, limit + 1, present=present)
    items, last = filled(changes, change_record, lambda change: change.sequence, limit)
    page = {
        "items": items,
        "next_cursor": None if last is None else cursor_after(last),
    }
    return Answer(page).read()


def _oldest_first(manager: RuleManager, after: int, most: int) -> Iterator[Change]:
    """Yield changes, the oldest first, read a few at a time."""
    while most > 0:
        changes = manager.changes(after=after, limit=min(most, _AT_A_TIME))
        yield from changes
        if len(changes) < min(most, _AT_A_TIME):
            return
        most -= len(changes)
        after = changes[-1].sequence


def _newest_first(
    manager: RuleManager, account: str | None, before: int | None, after: int, most: int, *, present: bool
) -> Iterator[Change]:
    """Yield changes, the newest first, read a few at a time, because each may contain two whole lists."""
    while most > 0:
        changes = manager.history(account, limit=min(most, _AT_A_TIME), before=before, after=after, present=present)
        yield from changes
        if len(changes) < min(most, _AT_A_TIME):
            return
        most -= len(changes)
        before = changes[-1].sequence
