"""`/v1/accounts`: accounts and subaccounts."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, get_args

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field, StrictBool

from cidrgate.manager import RuleManager
from cidrgate.rules.account_names import in_lower_case
from cidrgate.serialization import account_record, deletion_record
from cidrgate.service.api.account_paths import AccountName
from cidrgate.service.api.entries import admin_request
from cidrgate.service.api.openapi import LOCATION, READ, answers
from cidrgate.service.api.schemas import (
    ENTRY_EXAMPLE,
    AccountText,
    EntryModel,
    Label,
    RequestModel,
    ResponseModel,
    Text,
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
from cidrgate.url_paths import account_path
from cidrgate.values import Account, AccountDeletion, Mode

__all__ = [
    "AccountCreateModel",
    "AccountDeletionModel",
    "AccountModel",
    "AccountPageModel",
    "AccountPatchModel",
    "SubaccountCreateModel",
    "router",
]

router = APIRouter(prefix="/v1/accounts", tags=["accounts"], route_class=StrictRoute)


Containing = Annotated[
    str | None,
    Query(
        min_length=1,
        max_length=LONGEST_NAME,
        description="Only accounts whose names contain this text, in upper or lower case of A to Z.",
    ),
]


StartingWith = Annotated[
    str | None,
    Query(
        min_length=1,
        max_length=LONGEST_NAME,
        description="Only accounts whose names start with this text, in upper or lower case of A to Z.",
    ),
]

_DISPLAY_NAME = "A name for people, with the rules of labels; an empty one is null."


class AccountModel(ResponseModel):
    """An account. A subaccount inherits the list of its parent."""

    model_config = response_example(
        {
            "name": "acct-1",
            "parent": None,
            "display_name": "Acme Ltd",
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
    display_name: str | None = Field(description="Its name for people.")
    entry_count: int = Field(description="The number of entries that count for it, without expired ones.")
    enforced: bool = Field(
        description="Whether unlisted addresses are denied. This is true while the list that counts has entries, "
        "expired entries included, or is closed, and its mode is `enforce`. For a subaccount, the list of its parent "
        "counts."
    )
    version: int = Field(
        description="The number of changes of its list, its mode, its name, its parent and its policy."
    )
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

    model_config = request_example({"name": "acct-1", "display_name": "Acme Ltd"})

    name: AccountText = Field(description="Up to 255 characters; no control characters, no leading or trailing spaces.")
    parent: AccountText | None = Field(None, description="The account whose list it inherits; null for none.")
    display_name: Label | None = Field(None, description=_DISPLAY_NAME)
    closed: StrictBool = Field(
        default=False,
        description="Whether it is enforced even while its list is empty.",
        json_schema_extra=without_default,
    )


class SubaccountCreateModel(RequestModel):
    """A subaccount to create."""

    model_config = request_example({"name": "sub-1"})

    name: AccountText = Field(description="Up to 255 characters; no control characters, no leading or trailing spaces.")
    display_name: Label | None = Field(None, description=_DISPLAY_NAME)


def _of_a_name(schema: dict[str, Any]) -> None:
    """Describe the name in a patch, which may be left out, as `AccountText` does."""
    without_default(schema)
    schema["maxLength"] = LONGEST_NAME


class AccountPatchModel(RequestModel):
    """The changes of an account, as a JSON merge patch (RFC 7396). A member that is left out keeps its value."""

    model_config = request_example({"name": "acct-2", "display_name": None})

    name: Text = Field("", description="The new name.", json_schema_extra=_of_a_name)
    parent: AccountText | None = Field(
        None,
        description="The account whose list it inherits from now on; null for a list that belongs to it alone. The "
        "entries of an account that gets a parent are removed.",
        json_schema_extra=without_default,
    )
    display_name: Label | None = Field(None, description=_DISPLAY_NAME, json_schema_extra=without_default)

    def changes(self) -> dict[str, Any]:
        """Return the changes in the form that `RuleManager.edit_account` takes."""
        return {name: getattr(self, name) for name in self.model_fields_set}


class AccountDeletionModel(ResponseModel):
    """What the deletion of an account deleted."""

    model_config = response_example(
        {
            "account": "acct-1",
            "parent": None,
            "display_name": "Acme Ltd",
            "version": 3,
            "entries": [ENTRY_EXAMPLE],
            "subaccounts": ["sub-1"],
        }
    )

    account: str = Field(description="The name.")
    parent: str | None = Field(description="The account whose list it inherited.")
    display_name: str | None = Field(description="Its name for people.")
    version: int = Field(description="Its last version.")
    entries: list[EntryModel] = Field(description="The entries of its own list.")
    subaccounts: list[str] = Field(description="The subaccounts that were deleted with it.")


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
    starting_with: StartingWith = None,
) -> Response:
    """List the accounts that this token may see: all by name, or the token's own accounts with their subaccounts."""
    manager = service_of(request).manager
    after = text_of_cursor(cursor)
    if parent is not None:
        principal.require_account(manager, parent)
        return _subaccounts(manager, parent, limit, after, containing, starting_with)
    _require_storable(containing=containing, starting_with=starting_with)
    if principal.admin:
        found = manager.accounts(after=after, limit=limit + 1, containing=containing, starting_with=starting_with)
        return _page(manager, found, limit)
    found, more = _own(manager, principal.accounts, limit, after, containing, starting_with)
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
    return _create(request, principal, new.name, new.parent, new.display_name, idempotency_key, body, closed=new.closed)


@router.get("/{account_name:account}", response_model=AccountModel, responses=answers(404, headers={200: READ}))
def get_account(request: Request, _principal: Reader, account_name: AccountName) -> Response:
    """Return one account."""
    manager = service_of(request).manager
    found = manager.account(account_name)
    [record] = _records(manager, [found])
    return Answer(record).read(found.version)


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
    starting_with: StartingWith = None,
) -> Response:
    """List the subaccounts of an account, by name."""
    return _subaccounts(
        service_of(request).manager, account_name, limit, text_of_cursor(cursor), containing, starting_with
    )


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
    return _create(request, principal, new.name, account_name, new.display_name, idempotency_key, body)


@router.patch("/{account_name:account}", response_model=AccountModel, responses=answers(404, 409, 412, body=True))
def edit_account(account_name: AccountName, asked: admin_request, edit: AccountPatchModel) -> Response:
    """Change the name, the parent or the display name of an account. Only for admins.

    Requests with an old name get what gates answer for unknown accounts, which must be confirmed for an enforced
    account. So must a new parent by whose list other addresses are allowed.
    """
    return asked.answered(
        lambda manager, arguments: manager.edit_account(account_name, **edit.changes(), **arguments), record=_edited
    )


@router.delete("/{account_name:account}", response_model=AccountDeletionModel, responses=answers(404, 409, 412))
def delete_account(
    account_name: AccountName,
    asked: admin_request,
    recursive: Annotated[bool, Query(description="Whether its subaccounts are deleted too.")] = False,
) -> Response:
    """Delete an account and its list. Only for admins.

    Requests of the account get what gates answer for unknown accounts, which must be confirmed for an enforced account.
    """
    return asked.answered(
        lambda manager, arguments: manager.delete_account(account_name, recursive=recursive, **arguments),
        record=_deleted,
    )


def _edited(transaction: Transaction, made: object) -> dict[str, Any]:
    if not isinstance(made, Account):
        raise AssertionError("the hook got no account")
    return account_record(made, transaction.list_states(datetime.now(UTC), [made.name])[made.name])


def _deleted(_: Transaction, made: object) -> dict[str, Any]:
    if not isinstance(made, AccountDeletion):
        raise AssertionError("the hook got no deletion")
    return deletion_record(made)


def _create(
    request: Request,
    principal: Principal,
    name: str,
    parent: str | None,
    display_name: str | None,
    key: str | None,
    body: bytes,
    *,
    closed: bool = False,
) -> Response:
    service = service_of(request)
    once = request_key(request, principal, key, body)

    def carry_out() -> Answer:
        answer: Answer | None = None

        def in_transaction(transaction: Transaction, made: object) -> None:
            nonlocal answer
            answer = Answer(_edited(transaction, made), 201, {"Location": account_path(name)})
            service.answers.record(transaction, once, answer)

        principal.changing(service.manager)._with_transaction_hook(in_transaction).create_account(
            name, parent=parent, display_name=display_name, closed=closed, actor=principal.name
        )
        if answer is None:
            raise AssertionError("the hook in_transaction was not called")
        return answer

    return service.answers.once(once, carry_out)


def _subaccounts(
    manager: RuleManager, parent: str, limit: int, after: str | None, containing: str | None, starting_with: str | None
) -> Response:
    _require_storable(containing=containing, starting_with=starting_with)
    manager.account(parent)
    found = manager.accounts(
        after=after, limit=limit + 1, parent=parent, containing=containing, starting_with=starting_with
    )
    return _page(manager, found, limit)


def _require_storable(**texts: str | None) -> None:
    """Refuse texts that no database can look for.

    Raises:
        InvalidRequestError: If one contains a character that no name contains.
    """
    wrong = [name for name, text in texts.items() if text is not None and not storable(text)]
    if wrong:
        detail = "no name contains these characters"
        raise InvalidRequestError([{"code": "invalid_value", "detail": detail, "parameter": name} for name in wrong])


def _own(
    manager: RuleManager,
    names: Sequence[str],
    limit: int,
    after: str | None,
    containing: str | None,
    starting_with: str | None,
) -> tuple[list[Account], str | None]:
    """Return a page of the accounts that a token names, each followed by its subaccounts.

    Args:
        manager: Knows the accounts.
        names: The names in the token, in their order.
        limit: The number of accounts on a page.
        after: The end of the page before: one of `names`, followed by a line with its subaccount if that was the last.
        containing: Only accounts whose names contain this text, in upper or lower case of A to Z.
        starting_with: Only accounts whose names start with this text, in upper or lower case of A to Z.
    """
    within, beginning = in_lower_case(containing or ""), in_lower_case(starting_with or "")
    ended_in, _, ended_with = (after or "").partition("\n")
    found: list[Account] = []
    for given in names:
        if after is None or given > ended_in:
            account = find_account(manager, given)
            if account is None or account.parent in names:  # a subaccount follows its parent
                continue
            if within in in_lower_case(given) and in_lower_case(given).startswith(beginning):
                found.append(account)
        elif given < ended_in:
            continue
        if len(found) <= limit:
            last = ended_with if given == ended_in and ended_with else None
            found += manager.accounts(
                after=last,
                limit=limit + 1 - len(found),
                parent=given,
                containing=containing,
                starting_with=starting_with,
            )
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
