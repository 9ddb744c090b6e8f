"""Pages to choose an account among many, to list its subaccounts, and to create both."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import AfterValidator

from cidrgate.errors import (
    AccountExistsError,
    AccountNotFoundError,
    InvalidAccountError,
    InvalidTextError,
    SubaccountError,
)
from cidrgate.manager import RuleManager
from cidrgate.manager.policies import entry_limits
from cidrgate.rules.account_names import in_lower_case
from cidrgate.service.console.fields import ShortQuery, ShortText
from cidrgate.service.console.lists import AccountQuery, view_of
from cidrgate.service.console.messages import field_of, message_of, parent_message
from cidrgate.service.console.pages import go, page
from cidrgate.service.console.sessions import SignedIn, SignedInForm
from cidrgate.service.http.integers import PLAIN
from cidrgate.service.http.known_accounts import find_account
from cidrgate.service.http.pagination import a_page, storable
from cidrgate.service.http.strict_requests import ConsoleRoute
from cidrgate.service.settings import service_of

__all__ = ["router"]


def _storable_or_none(text: str | None) -> str | None:
    if text is not None and not storable(text):
        raise ValueError("this is not a valid name")
    return text


router = APIRouter(route_class=ConsoleRoute)

_A_PAGE = 50
_After = Annotated[str | None, Query(max_length=255), AfterValidator(_storable_or_none)]


@router.get("/accounts")
def accounts_page(
    request: Request,
    person: SignedIn,
    q: ShortQuery = "",
    after: _After = None,
    done: Annotated[int | None, Query(ge=1, lt=2**63 - 1), PLAIN] = None,
) -> Response:
    """Show the accounts that a person may see, and which one was just deleted."""
    manager = service_of(request).manager
    sought = q.strip()
    if person.principal.admin:
        found = manager.accounts(after=after, limit=_A_PAGE + 1, containing=sought or None)
    else:
        own = [account for name in person.principal.accounts if (account := find_account(manager, name)) is not None]
        if len(own) == 1 and not sought and after is None:
            return go(request, "list", account=own[0].name)
        found = [account for account in own if in_lower_case(sought) in in_lower_case(account.name)]
        found = [account for account in found if after is None or account.name > after][: _A_PAGE + 1]
    shown, last = a_page(found, _A_PAGE)
    states = manager.list_states([account.name for account in shown])
    with manager._store.read() as transaction:
        limits = entry_limits(transaction, [one.name for one in shown if one.parent is None], manager.policy)
    template = "account_rows.html" if request.headers.get("hx-target") == "found" else "accounts.html"
    return page(
        request,
        template,
        person=person,
        q=sought,
        deleted=_deleted(manager, done) if done is not None and person.principal.admin else None,
        after=after,
        accounts=[one for one in shown if one.name in states and (one.parent or one.name in limits)],
        states=states,
        more=None if last is None else last.name,
        limits=limits,
    )


def _deleted(manager: RuleManager, done: int) -> str | None:
    """Return the account that a change deleted; None if it is no deletion, or an account has that name again."""
    change = next(iter(manager.history(limit=1, before=done + 1)), None)
    if change is None or change.sequence != done or change.action != "delete_account" or change.account is None:
        return None
    return change.account if find_account(manager, change.account) is None else None


@router.get("/subaccounts")
def subaccounts_page(request: Request, person: SignedIn, account: AccountQuery, after: _After = None) -> Response:
    """Show the accounts that inherit a list."""
    view = view_of(request, person, account)
    found = service_of(request).manager.accounts(parent=account, after=after, limit=_A_PAGE + 1)
    shown, last = a_page(found, _A_PAGE)
    return page(
        request,
        "subaccounts.html",
        person=person,
        view=view,
        found=shown,
        after=after,
        more=None if last is None else last.name,
        tab="subaccounts",
    )


@router.get("/accounts/new")
def new_account_page(request: Request, person: SignedIn, parent: ShortQuery = "") -> Response:
    """Show the form for a new account."""
    person.principal.require_admin()
    return page(
        request, "new_account.html", person=person, name="", display_name="", parent=parent, refused=None, wrong=None
    )


@router.post("/accounts/new")
def create_account(
    request: Request,
    person: SignedInForm,
    name: ShortText = "",
    parent: ShortText = "",
    display_name: ShortText = "",
) -> Response:
    """Create an account."""
    person.principal.require_admin()
    try:
        made = person.principal.changing(service_of(request).manager).create_account(
            name.strip(),
            parent=parent.strip() or None,
            display_name=display_name.strip() or None,
            actor=person.principal.name,
        )
    except (InvalidAccountError, InvalidTextError, AccountExistsError) as error:
        refused, wrong = message_of(error), field_of(error)
    except (AccountNotFoundError, SubaccountError) as error:
        refused, wrong = parent_message(error, parent.strip()), field_of(error)
    else:
        return go(request, "list", account=made.name)
    known: dict[str, Any] = {"name": name, "display_name": display_name, "parent": parent}
    return page(request, "new_account.html", person=person, status=422, refused=refused, wrong=wrong, **known)
