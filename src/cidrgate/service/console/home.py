"""The first page: the accounts a person may see."""

from fastapi import APIRouter, Request, Response
from starlette.responses import RedirectResponse

from cidrgate.service.console.pages import page
from cidrgate.service.console.sessions import SignedIn
from cidrgate.service.settings import service_of

__all__ = ["router"]

router = APIRouter()

_MOST_ACCOUNTS = 100


@router.get("/")
def root(request: Request) -> Response:
    """Where a browser that was given only the address of the service goes."""
    return RedirectResponse(request.url_for("console_home").path, 303)


@router.get("/console", name="console_home")
def home(request: Request, person: SignedIn) -> Response:
    """The accounts."""
    if person.principal.admin:
        names = [account.name for account in service_of(request).manager.accounts(limit=_MOST_ACCOUNTS)]
    else:
        names = person.principal.accounts
    return page(request, "home.html", person=person, accounts=names)
