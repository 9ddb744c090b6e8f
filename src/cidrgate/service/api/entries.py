"""`/v1/accounts/{account}/entries`: reading a list and every way to change it."""

from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request, Response
from pydantic import Field

from cidrgate.manager import RuleManager
from cidrgate.manager.changes import named_entries
from cidrgate.manager.outcomes import Guard, ListOutcome
from cidrgate.rules.decisions import enforced
from cidrgate.serialization import entry_record
from cidrgate.service.api.account_paths import AccountName, account_path
from cidrgate.service.api.openapi import ETAG, LOCATION, answers
from cidrgate.service.api.schemas import (
    ENTRY_EXAMPLE,
    MOST_ID,
    DetailsModel,
    EntryModel,
    FirstErrorOnly,
    ResponseModel,
    Text,
    request_example,
    response_example,
)
from cidrgate.service.auth.access import Reader, Writer
from cidrgate.service.auth.principals import Principal
from cidrgate.service.http.client_address import client_address
from cidrgate.service.http.conditional_requests import (
    Confirm,
    IdempotencyKey,
    IfMatch,
    RawBody,
    etag,
    expected_version,
    request_key,
)
from cidrgate.service.http.idempotency import Answer, RequestKey
from cidrgate.service.http.pagination import Cursor, Limit, a_page, cursor_after, invalid_cursor, text_of_cursor
from cidrgate.service.http.strict_requests import StrictRoute
from cidrgate.service.settings import service_of
from cidrgate.stores import Transaction
from cidrgate.values import Account, EntryEdit, NewEntry

__all__ = [
    "ChangeRequest",
    "EntryEditModel",
    "EntryPage",
    "ListChangeModel",
    "NewEntryModel",
    "SubmissionModel",
    "change_request",
    "router",
]

router = APIRouter(prefix="/v1/accounts/{account:account}/entries", tags=["entries"], route_class=StrictRoute)

EntryId = Annotated[int, Path(ge=1, le=MOST_ID, description="The entry's id.")]
_CHANGE = answers(404, 409, 412, 413, headers={200: ETAG})


class EntryPage(ResponseModel):
    """A page of a list's entries, in address order."""

    account: str = Field(description="The account of the request.")
    list_of: str = Field(description="The account that owns the list; for a subaccount, its parent.")
    version: int = Field(description="The version of the list; also the ETag.")
    enforced: bool = Field(description="Whether unlisted addresses are denied.")
    editable: bool = Field(description="Whether this token may change the list through this account.")
    max_entries: int = Field(description="The largest number of entries in a list.")
    items: list[EntryModel]
    next_cursor: str | None


class ListChangeModel(ResponseModel):
    """The effect of a change on a list."""

    model_config = response_example(
        {
            "account": "acct-1",
            "version": 4,
            "enforced": True,
            "entries": 1,
            "before": [],
            "after": [ENTRY_EXAMPLE],
        }
    )

    account: str
    version: int = Field(description="The version of the list after the change; also the ETag.")
    enforced: bool
    entries: int = Field(description="The number of entries after the change.")
    before: list[EntryModel] = Field(description="The entries that it removed or altered, as they were before.")
    after: list[EntryModel] = Field(description="The entries that it added or altered, as they are now.")


class NewEntryModel(DetailsModel):
    """One or more networks with their own details."""

    cidr: Text


_Cidrs = Annotated[
    Text | Annotated[list[Text | NewEntryModel], FirstErrorOnly()],
    Field(description="CIDRs separated by commas or newlines, or a list of such texts and of objects."),
]


class SubmissionModel(DetailsModel):
    """Networks to add, and the details of every entry that has none."""

    model_config = request_example({"cidrs": "8.8.8.0/24, 1.1.1.1/32", "label": "office"})

    cidrs: _Cidrs

    def entries(self) -> list[str | NewEntry]:
        """Return the submission in the form that `RuleManager` takes."""
        return [
            NewEntry(piece.cidr, **piece.details()) if isinstance(piece, NewEntryModel) else piece
            for piece in ([self.cidrs] if isinstance(self.cidrs, str) else self.cidrs)
        ]


class EntryEditModel(DetailsModel):
    """The changes of an entry. An omitted field keeps its value; null removes a detail."""

    model_config = request_example({"cidr": "1.1.1.0/24"})

    cidr: Text | None = Field(None, description="The new network; null keeps the old one.")

    def edit(self) -> EntryEdit:
        """Return the edit in the form that `RuleManager` takes."""
        return EntryEdit(cidr=... if self.cidr is None else self.cidr, **self.details())


@dataclass(frozen=True, slots=True)
class ChangeRequest:
    """A request that changes a list, with its conditions.

    Attributes:
        request: The request.
        principal: Who makes the request.
        confirmed: The guards that the request confirms.
        if_match: The `If-Match` header; it is checked after the rest of the request.
        once: The key that identifies a repeated request; None if each repetition is carried out again.
    """

    request: Request
    principal: Principal
    confirmed: tuple[Guard, ...]
    if_match: str | None
    once: RequestKey | None

    def answered(
        self,
        change: Callable[[RuleManager, dict[str, Any]], object],
        *,
        status: int = 200,
        location: str | None = None,
    ) -> Response:
        """Make the change and return the response.

        Args:
            change: Makes the change with a manager and the arguments `actor` and `expect_version`.
            status: The status of the response.
            location: The path of what was created.
        """
        service = service_of(self.request)

        def carry_out() -> Answer:
            answer: Answer | None = None

            def in_transaction(transaction: Transaction, made: ListOutcome | Account) -> None:
                nonlocal answer
                if not isinstance(made, ListOutcome):
                    raise AssertionError("the hook got an account instead of a change of a list")
                headers = {"ETag": etag(made.account.version)}
                if location is not None:
                    headers["Location"] = location
                answer = Answer(_outcome_record(made), status, headers)
                service.answers.record(transaction, self.once, answer)

            manager = self.principal.changing(service.manager)._with_transaction_hook(in_transaction)
            manager = manager.with_hooks(address=client_address(self.request), confirmed=self.confirmed)
            change(manager, {"actor": self.principal.name, "expect_version": expected_version(self.if_match)})
            if answer is None:
                raise AssertionError("the hook in_transaction was not called")
            return answer

        return service.answers.once(self.once, carry_out)


async def _change_request(
    request: Request,
    principal: Writer,
    body: RawBody,
    confirm: Confirm = [],  # noqa: B006 - FastAPI copies defaults
    if_match: IfMatch = None,
    idempotency_key: IdempotencyKey = None,
) -> ChangeRequest:
    once = request_key(request, principal, idempotency_key, body)
    return ChangeRequest(request, principal, tuple(confirm), if_match, once)


change_request = Annotated[ChangeRequest, Depends(_change_request)]
"""A request whose principal may change the list of the account in the path."""


@router.get("", response_model=EntryPage, responses=answers(404, headers={200: ETAG}))
def list_entries(
    request: Request, principal: Reader, account: AccountName, limit: Limit = 100, cursor: Cursor = None
) -> Response:
    """List the entries of an account in address order, with subnet masks. A subaccount has its parent's entries."""
    manager = service_of(request).manager
    owner, entries = manager.listing(account)
    after = _place(text_of_cursor(cursor))
    found = entries if after is None else [entry for entry in entries if _order(entry.cidr) > after]
    shown, last = a_page(found, limit)
    matched = manager.last_matches(account)
    page = {
        "account": account,
        "list_of": owner.name,
        "version": owner.version,
        "enforced": enforced(entries),
        "editable": owner.name == account and principal.may_write(account, None),
        "max_entries": manager.policy.max_entries,
        "items": [entry_record(entry, matched.get(entry.id)) for entry in shown],
        "next_cursor": None if last is None else cursor_after(last.cidr),
    }
    return Answer(page, headers={"ETag": etag(owner.version)}).response()


@router.post(
    "",
    status_code=201,
    response_model=ListChangeModel,
    responses=answers(404, 409, 412, 413, headers={201: ETAG | LOCATION}),
)
def add_entries(
    account: AccountName,
    asked: change_request,
    submission: SubmissionModel,
) -> Response:
    """Add one or more networks. All are stored or none, and the response reports every problem."""
    location = f"{account_path(account)}/entries"

    def add(manager: RuleManager, arguments: dict[str, Any]) -> None:
        manager.add(account, submission.entries(), **submission.details(), **arguments)

    return asked.answered(add, status=201, location=location)


@router.put("", response_model=ListChangeModel, responses=_CHANGE)
def replace_entries(account: AccountName, asked: change_request, submission: SubmissionModel) -> Response:
    """Replace the whole list in one change. An entry whose network stays keeps its id, author and time.

    An empty list ends enforcement, which must be confirmed.
    """

    def replace(manager: RuleManager, arguments: dict[str, Any]) -> None:
        manager.replace(account, submission.entries(), **submission.details(), **arguments)

    return asked.answered(replace)


@router.get("/{entry}", response_model=EntryModel, responses=answers(404, headers={200: ETAG}))
def get_entry(request: Request, _principal: Reader, account: AccountName, entry: EntryId) -> Response:
    """One entry."""
    manager = service_of(request).manager
    owner, entries = manager.listing(account)
    [found] = named_entries(account, entries, [entry])
    return Answer(
        entry_record(found, manager.last_matches(account).get(entry)), headers={"ETag": etag(owner.version)}
    ).response()


@router.patch("/{entry}", response_model=ListChangeModel, responses=_CHANGE)
def edit_entry(account: AccountName, asked: change_request, entry: EntryId, edit: EntryEditModel) -> Response:
    """Change the network or the details of an entry. Its id, author and time of creation stay."""
    return asked.answered(lambda manager, arguments: manager.edit(account, entry, edit.edit(), **arguments))


@router.delete("/{entry}", response_model=ListChangeModel, responses=_CHANGE)
def delete_entry(account: AccountName, asked: change_request, entry: EntryId) -> Response:
    """Remove an entry. Removing the last one ends enforcement, which must be confirmed."""
    return asked.answered(lambda manager, arguments: manager.remove(account, entry, **arguments))


def _outcome_record(made: ListOutcome) -> dict[str, Any]:
    return {
        "account": made.account.name,
        "version": made.account.version,
        "enforced": enforced(made.after),
        "entries": len(made.after),
        "before": [entry_record(entry) for entry in made.change.before],
        "after": [entry_record(entry) for entry in made.change.after],
    }


def _place(after: str | None) -> tuple[int, int, int] | None:
    try:
        return None if after is None else _order(after)
    except ValueError as error:
        raise invalid_cursor() from error


def _order(cidr: str) -> tuple[int, int, int]:
    """Return the sort key of a network in address order."""
    network = ip_network(cidr)
    return network.version, int(network.network_address), network.prefixlen
