"""`/v1/accounts/{account}/entries`: what a list holds, and every way to change it."""

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
from cidrgate.service.api.account_paths import AccountName
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
    """Some entries of a list, in address order."""

    account: str = Field(description="The account asked about.")
    list_of: str = Field(description="The account whose list it is: the parent's for a subaccount.")
    version: int = Field(description="The list's; also the ETag.")
    enforced: bool = Field(description="Whether addresses that are not listed are denied.")
    editable: bool = Field(description="Whether this token may change the list through this account.")
    max_entries: int = Field(description="How many entries a list may hold.")
    items: list[EntryModel]
    next_cursor: str | None


class ListChangeModel(ResponseModel):
    """What a change did to a list."""

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
    version: int = Field(description="The list's after the change; also the ETag.")
    enforced: bool
    entries: int = Field(description="How many entries the list has after the change.")
    before: list[EntryModel] = Field(description="The entries it removed or altered, as they were.")
    after: list[EntryModel] = Field(description="The entries it added or altered, as they are now.")


class NewEntryModel(DetailsModel):
    """One or several networks with details of their own."""

    cidr: Text


_Cidrs = Annotated[
    Text | Annotated[list[Text | NewEntryModel], FirstErrorOnly()],
    Field(description="CIDRs separated by commas or newlines, or a list of such texts and of objects."),
]


class SubmissionModel(DetailsModel):
    """Networks somebody asks to have listed, and the details of every entry that brings none of its own."""

    model_config = request_example({"cidrs": "8.8.8.0/24, 1.1.1.1/32", "label": "office"})

    cidrs: _Cidrs

    def entries(self) -> list[str | NewEntry]:
        """What it asks to have listed, for `RuleManager`."""
        return [
            NewEntry(piece.cidr, **piece.details()) if isinstance(piece, NewEntryModel) else piece
            for piece in ([self.cidrs] if isinstance(self.cidrs, str) else self.cidrs)
        ]


class EntryEditModel(DetailsModel):
    """What shall be different of an entry; what is left out stays, what is null is none."""

    model_config = request_example({"cidr": "1.1.1.0/24"})

    cidr: Text | None = Field(None, description="The network it shall have; null keeps it.")

    def edit(self) -> EntryEdit:
        """The same, for `RuleManager`."""
        return EntryEdit(... if self.cidr is None else self.cidr, **self.details())


@dataclass(frozen=True, slots=True)
class ChangeRequest:
    """A request that changes a list, with what it makes its change depend on.

    Attributes:
        request: The request.
        principal: Who asks.
        confirmed: The guards that the change may meet.
        if_match: The `If-Match` of the request, looked at once the rest of it is understood.
        once: What tells a repeated request; None if it may be carried out again.
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
        """Make the change, and tell what it came to.

        Args:
            change: Makes it with a manager, and the arguments `actor` and `expect_version`.
            status: Of the answer.
            location: Of what was created.
        """
        service = service_of(self.request)

        def carry_out() -> Answer:
            answer: Answer | None = None

            def in_transaction(transaction: Transaction, made: ListOutcome | Account) -> None:
                nonlocal answer
                if not isinstance(made, ListOutcome):
                    raise AssertionError("a list was changed")
                headers = {"ETag": etag(made.account.version)}
                if location is not None:
                    headers["Location"] = location
                answer = Answer(_outcome_record(made), status, headers)
                service.answers.record(transaction, self.once, answer)

            manager = self.principal.changing(service.manager).with_hooks(
                in_transaction=in_transaction, address=client_address(self.request), confirmed=self.confirmed
            )
            change(manager, {"actor": self.principal.name, "expect_version": expected_version(self.if_match)})
            if answer is None:
                raise AssertionError("a supervisor sees every change")
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
"""A request by somebody who may change the list of the account of the path."""


@router.get("", response_model=EntryPage, responses=answers(404, headers={200: ETAG}))
def list_entries(
    request: Request, principal: Reader, account: AccountName, limit: Limit = 100, cursor: Cursor = None
) -> Response:
    """The list of an account in address order, with subnet masks; of a subaccount, the list it inherits."""
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
    """Add one network or many: all of them are stored, or none, and every problem is reported at once."""
    location = str(asked.request.app.url_path_for("list_entries", account=account))

    def add(manager: RuleManager, arguments: dict[str, Any]) -> None:
        manager.add(account, submission.entries(), **submission.details(), **arguments)

    return asked.answered(add, status=201, location=location)


@router.put("", response_model=ListChangeModel, responses=_CHANGE)
def replace_entries(account: AccountName, asked: change_request, submission: SubmissionModel) -> Response:
    """Make the list exactly this, in one change. Entries whose network stays keep id, author and time.

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
    """Change the network, the label or the end of an entry; it keeps its id, who added it and when."""
    return asked.answered(lambda manager, arguments: manager.edit(account, entry, edit.edit(), **arguments))


@router.delete("/{entry}", response_model=ListChangeModel, responses=_CHANGE)
def delete_entry(account: AccountName, asked: change_request, entry: EntryId) -> Response:
    """Remove an entry. Without entries an account is not enforced: to remove the last one must be confirmed."""
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
    """Where a network stands in address order."""
    network = ip_network(cidr)
    return network.version, int(network.network_address), network.prefixlen
