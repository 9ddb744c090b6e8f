"""`/v1/accounts`: accounts and subaccounts."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, get_args

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field, StrictBool

from cidrgate.manager import RuleManager
from cidrgate.manager.outcomes import ListOutcome
from cidrgate.serialization import account_record
from cidrgate.service.api.account_paths import AccountName, account_path
from cidrgate.service.api.openapi import LOCATION, READ, answers
from cidrgate.service.api.schemas import (
    AccountText,
    RequestModel,
    ResponseModel,
    open_enum,
    request_example,
    response_example,
    without_default,
)
from cidrgate.service.auth.access import Admin, Known, Reader
from cidrgate.service.auth.principals import Principal
from cidrgate.service.http.conditional_requests import IdempotencyKey, RawBody, request_key
from cidrgate.service.http.idempotency import Answer
from cidrgate.service.http.known_accounts import find_account
from cidrgate.service.http.limits import LONGEST_NAME
from cidrgate.service.http.pagination import Cursor, Limit, a_page, cursor_after, storable, text_of_cursor
from cidrgate.service.http.problems import InvalidRequestError
from cidrgate.service.http.strict_requests import StrictRoute
from cidrgate.service.settings import service_of
from cidrgate.stores import Transaction
from cidrgate.values import Account, Mode

__all__ = [
    "AccountCreateModel",
    "AccountModel",
    "AccountPageModel",
    "SubaccountCreateModel",
    "router",
]

router = APIRouter(prefix="/v1/accounts", tags=["accounts"], route_class=StrictRoute)


Containing = Annotated[
    str | None,
    Query(
        min_length=1,
        max_length=LONGEST_NAME,
        description="Only accounts whose names contain this text, in upper or lower case.",
    ),
]


class AccountModel(ResponseModel):
    """An account. A subaccount inherits the list of its parent."""

    model_config = response_example(
        {
            "name": "acct-1",
            "parent": None,
            "entry_count": 1,
            "enforced": True,
            "version": 3,
            "created_at": "2026-01-02T03:04:05+00:00",
            "mode": "enforce",
            "mode_until": None,
            "mode_reason": None,
            "closed": False,
        }
    )

    name: str = Field(description="The name.")
    parent: str | None = Field(description="The account whose list it inherits.")
    entry_count: int = Field(description="The number of entries that count for it, without expired ones.")
    enforced: bool = Field(
        description="Whether unlisted addresses are denied. This is true while the list that counts has entries, "
        "expired entries included, or is closed, and its mode is `enforce`. For a subaccount, the list of its parent "
        "counts."
    )
    version: int = Field(description="The number of changes of its own list and mode.")
    created_at: datetime = Field(description="When it was created.")
    mode: str = Field(
        description="The mode of the list that counts: `enforce` denies what is not listed, `report_only` allows and "
        "reports it, `off` allows it.",
        json_schema_extra=open_enum(get_args(Mode)),
    )
    mode_until: datetime | None = Field(description="When that mode expires; null for never.")
    mode_reason: str | None = Field(description="Why that mode was set.")
    closed: bool = Field(description="Whether the list that counts is enforced even while it is empty.")


class AccountPageModel(ResponseModel):
    """A page of accounts, sorted by name."""

    items: list[AccountModel]
    next_cursor: str | None = Field(description="The cursor of the next page; null on the last page.")


class AccountCreateModel(RequestModel):
    """An account to create."""

    model_config = request_example({"name": "acct-1"})

    name: AccountText = Field(description="Up to 255 characters; no control characters, no leading or trailing spaces.")
    parent: AccountText | None = Field(None, description="The account whose list it inherits; null for none.")
    closed: StrictBool = Field(
        default=False,
        description="Whether it is enforced even while its list is empty.",
        json_schema_extra=without_default,
    )


class SubaccountCreateModel(RequestModel):
    """A subaccount to create."""

    model_config = request_example({"name": "sub-1"})

    name: AccountText = Field(description="Up to 255 characters; no control characters, no leading or trailing spaces.")


@router.get("", response_model=AccountPageModel, responses=answers(404, headers={200: READ}))
def list_accounts(
    request: Request,
    principal: Known,
    limit: Limit = 100,
    cursor: Cursor = None,
    parent: Annotated[
        str | None, Query(min_length=1, max_length=LONGEST_NAME, description="Only subaccounts of this account.")
    ] = None,
    containing: Containing = None,
) -> Response:
    """List the accounts that this token may see: all by name, or the token's own accounts with their subaccounts."""
    manager = service_of(request).manager
    after = text_of_cursor(cursor)
    if parent is not None:
        principal.require_account(manager, parent)
        return _subaccounts(manager, parent, limit, after, containing)
    _require_storable(containing)
    if principal.admin:
        return _page(manager, manager.accounts(after=after, limit=limit + 1, containing=containing), limit)
    found, more = _own(manager, principal.accounts, limit, after, containing)
    return Answer({"items": _records(manager, found[:limit]), "next_cursor": more}).read()


@router.post(
    "",
    status_code=201,
    response_model=AccountModel,
    responses=answers(404, 409, body=True, headers={201: LOCATION}),
)
def create_account(
    request: Request, principal: Admin, new: AccountCreateModel, body: RawBody, idempotency_key: IdempotencyKey = None
) -> Response:
    """Create an account, or a subaccount that inherits its parent's list. Only for admins."""
    return _create(request, principal, new.name, new.parent, idempotency_key, body, closed=new.closed)


@router.get("/{account_name:account}", response_model=AccountModel, responses=answers(404, headers={200: READ}))
def get_account(request: Request, _principal: Reader, account_name: AccountName) -> Response:
    """Return one account."""
    manager = service_of(request).manager
    found = manager.account(account_name)
    [record] = _records(manager, [found])
    return Answer(record).read()


@router.get(
    "/{account_name:account}/subaccounts", response_model=AccountPageModel, responses=answers(404, headers={200: READ})
)
def list_subaccounts(
    request: Request,
    _principal: Reader,
    account_name: AccountName,
    limit: Limit = 100,
    cursor: Cursor = None,
    containing: Containing = None,
) -> Response:
    """List the subaccounts of an account, by name."""
    return _subaccounts(service_of(request).manager, account_name, limit, text_of_cursor(cursor), containing)


@router.post(
    "/{account_name:account}/subaccounts",
    status_code=201,
    response_model=AccountModel,
    responses=answers(404, 409, body=True, headers={201: LOCATION}),
)
def create_subaccount(
    request: Request,
    principal: Admin,
    account_name: AccountName,
    new: SubaccountCreateModel,
    body: RawBody,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Create a subaccount, which inherits the list of its parent. Only for admins."""
    return _create(request, principal, new.name, account_name, idempotency_key, body)


def _create(
    request: Request,
    principal: Principal,
    name: str,
    parent: str | None,
    key: str | None,
    body: bytes,
    *,
    closed: bool = False,
) -> Response:
    service = service_of(request)
    once = request_key(request, principal, key, body)

    def carry_out() -> Answer:
        answer: Answer | None = None

        def in_transaction(transaction: Transaction, made: ListOutcome | Account) -> None:
            nonlocal answer
            if not isinstance(made, Account):
                raise AssertionError("the hook got a change of a list instead of an account")
            state = transaction.list_states(datetime.now(UTC), [made.name])[made.name]
            answer = Answer(account_record(made, state), 201, {"Location": account_path(made.name)})
            service.answers.record(transaction, once, answer)

        principal.changing(service.manager)._with_transaction_hook(in_transaction).create_account(
            name, parent=parent, closed=closed, actor=principal.name
        )
        if answer is None:
            raise AssertionError("the hook in_transaction was not called")
        return answer

    return service.answers.once(once, carry_out)


def _subaccounts(manager: RuleManager, parent: str, limit: int, after: str | None, containing: str | None) -> Response:
    _require_storable(containing)
    manager.account(parent)
    found = manager.accounts(after=after, limit=limit + 1, parent=parent, containing=containing)
    return _page(manager, found, limit)


def _require_storable(text: str | None) -> None:
    """Refuse a text that no database can look for.

    Raises:
        InvalidRequestError: If it contains a character that no name contains.
    """
    if text is not None and not storable(text):
        detail = "no name contains these characters"
        raise InvalidRequestError([{"code": "invalid_value", "detail": detail, "parameter": "containing"}])


def _own(
    manager: RuleManager, names: Sequence[str], limit: int, after: str | None, containing: str | None
) -> tuple[list[Account], str | None]:
    """Return a page of the accounts that a token names, each followed by its subaccounts.

    Args:
        manager: Knows the accounts.
        names: The names in the token, in their order.
        limit: The number of accounts on a page.
        after: The end of the page before: one of `names`, followed by a line with its subaccount if that was the last.
        containing: Only accounts whose names contain this text, in upper or lower case.
    """
    ended_in, _, ended_with = (after or "").partition("\n")
    found: list[Account] = []
    for given in names:
        if after is None or given > ended_in:
            account = find_account(manager, given)
            if account is None or account.parent in names:  # a subaccount follows its parent
                continue
            if containing is None or containing.lower() in given.lower():
                found.append(account)
        elif given < ended_in:
            continue
        if len(found) <= limit:
            last = ended_with if given == ended_in and ended_with else None
            found += manager.accounts(after=last, limit=limit + 1 - len(found), parent=given, containing=containing)
        if len(found) > limit:
            end = found[limit - 1]
            return found, cursor_after(end.name if end.parent is None else f"{end.parent}\n{end.name}")
    return found, None


def _page(manager: RuleManager, found: Sequence[Account], limit: int) -> Response:
    shown, last = a_page(found, limit)
    more = None if last is None else cursor_after(last.name)
    return Answer({"items": _records(manager, shown), "next_cursor": more}).read()


def _records(manager: RuleManager, accounts: Sequence[Account]) -> list[dict[str, Any]]:
    states = manager.list_states([account.name for account in accounts])
    # An account that was deleted after the page was read is left out.
    return [account_record(account, states[account.name]) for account in accounts if account.name in states]
