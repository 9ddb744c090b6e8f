"""Pages that answer questions: whether an address is allowed and why, and how a list has changed."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from cidrgate.service.console.lists import AccountQuery, view_of
from cidrgate.service.console.pages import page
from cidrgate.service.console.sessions import SignedIn
from cidrgate.service.http.integers import PLAIN
from cidrgate.service.http.pagination import a_page
from cidrgate.service.http.strict_requests import ConsoleRoute
from cidrgate.service.settings import service_of

__all__ = ["router"]

router = APIRouter(route_class=ConsoleRoute)

_A_PAGE = 25


@router.get("/test")
def address_page(
    request: Request,
    person: SignedIn,
    account: AccountQuery,
    address: Annotated[str, Query(max_length=200)] = "",
) -> Response:
    """Show whether an address may call for an account, and why."""
    view = view_of(request, person, account)
    asked = address.strip()
    decision = service_of(request).manager.explain(account, asked) if asked else None
    return page(request, "test.html", person=person, view=view, address=asked, decision=decision, tab="test")


@router.get("/history")
def history_page(
    request: Request,
    person: SignedIn,
    account: AccountQuery,
    before: Annotated[int | None, Query(ge=1, le=2**63 - 1), PLAIN] = None,
) -> Response:
    """Show the history of a list, the newest change first."""
    view = view_of(request, person, account)
    changes = []
    if view.owner_visible:
        changes = service_of(request).manager.history(view.owner.name, limit=_A_PAGE + 1, before=before)
    shown, last = a_page(changes, _A_PAGE)
    return page(
        request,
        "history.html",
        person=person,
        view=view,
        changes=shown,
        before=before,
        more=None if last is None else last.sequence,
        tab="history",
    )
