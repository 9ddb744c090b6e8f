"""`/v1/accounts/{account_name}/entries`: reading a list and every way to change it."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_network
from typing import TYPE_CHECKING, Annotated, Any, Self, get_args

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from pydantic import Field, StrictBool, create_model, model_validator

from cidrgate.errors import VersionConflictError
from cidrgate.manager import RuleManager
from cidrgate.manager.changes import named_entries
from cidrgate.manager.outcomes import Guard, ListOutcome
from cidrgate.rules.decisions import enforced, list_state
from cidrgate.serialization import entry_record, list_change_record
from cidrgate.service.api.account_paths import AccountName
from cidrgate.service.api.openapi import LOCATION, READ, answers
from cidrgate.service.api.schemas import (
    ENTRY_EXAMPLE,
    DetailsModel,
    EntryModel,
    FirstErrorOnly,
    ResponseModel,
    Text,
    open_enum,
    request_example,
    response_example,
    without_default,
)
from cidrgate.service.auth.access import Admin, Reader, Writer
from cidrgate.service.auth.principals import Principal
from cidrgate.service.http.client_address import client_address
from cidrgate.service.http.conditional_requests import (
    Confirm,
    IdempotencyKey,
    IfMatch,
    etag,
    expected_versions,
    request_key,
)
from cidrgate.service.http.idempotency import Answer, RequestKey
from cidrgate.service.http.integers import PLAIN
from cidrgate.service.http.limits import GREATEST_INTEGER, LARGEST_BODY, LONGEST_CURSOR, LONGEST_PIECE
from cidrgate.service.http.pagination import Cursor, Limit, a_page, cursor_after, invalid_cursor, text_of_cursor
from cidrgate.service.http.problems import POINTERS
from cidrgate.service.http.strict_requests import StrictRoute
from cidrgate.service.settings import service_of
from cidrgate.stores import Transaction
from cidrgate.url_paths import account_path
from cidrgate.values import Account, Entry, EntryEdit, Mode, NewEntry

__all__ = [
    "ChangeRequest",
    "EntriesCreateModel",
    "EntriesReplaceModel",
    "EntryCreateModel",
    "EntryItemModel",
    "EntryPageModel",
    "EntryPatchModel",
    "ListChangeModel",
    "ListedEntryModel",
    "admin_request",
    "change_request",
    "store_request",
    "unguarded_request",
    "router",
]

router = APIRouter(prefix="/v1/accounts/{account_name:account}/entries", tags=["entries"], route_class=StrictRoute)

EntryId = Annotated[int, Path(ge=1, le=GREATEST_INTEGER, description="The id of the entry."), PLAIN]
EntryIds = Annotated[
    list[Annotated[int, Field(ge=1, le=GREATEST_INTEGER), PLAIN]],
    Query(min_length=1, description="The ids of the entries. May be repeated."),
]
IfMissing = Annotated[
    bool,
    Query(
        description="Leaves out networks whose addresses the list allows already, and as long, instead of refusing "
        "them. The member `existing` of the response has the entries that allow them, and `after` may be empty."
    ),
]
_CHANGE = answers(404, 409, 412)
_CHANGE_BY_BODY = answers(404, 409, 412, body=True)
_ETAG = "The version of the list as an entity tag, for `If-Match`."
_MODE = (
    "The mode of the list: `enforce` denies what is not listed, `report_only` allows and reports it, `off` allows it."
)
_TRIES = 3
"""How many versions of an `If-Match` are tried, while other writers change the list."""


class EntryPageModel(ResponseModel):
    """A page of a list's entries, in address order."""

    account: str = Field(description="The account of the request.")
    list_account: str = Field(description="The account that owns the list; for a subaccount, its parent.")
    version: int = Field(description="The version of the list.")
    etag: str = Field(description=_ETAG)
    enforced: bool = Field(description="Whether unlisted addresses are denied.")
    mode: str = Field(description=_MODE, json_schema_extra=open_enum(get_args(Mode)))
    editable: bool = Field(description="Whether this token may change the list through this account.")
    max_entries: int = Field(description="The largest number of entries in a list.")
    items: list[EntryModel]
    complete: bool = Field(description="Whether this page is the whole list; false for each of several pages.")
    next_cursor: str | None = Field(description="The cursor of the next page; null on the last page.")


class ListedEntryModel(EntryModel):
    """One entry of a list, with the version of the list."""

    model_config = response_example({**ENTRY_EXAMPLE, "list_account": "acct-1", "version": 3, "etag": '"v3"'})

    list_account: str = Field(description="The account that owns the list; for a subaccount, its parent.")
    version: int = Field(description="The version of the list.")
    etag: str = Field(description=_ETAG)


class ListChangeModel(ResponseModel):
    """The effect of a change on a list."""

    model_config = response_example(
        {
            "account": "acct-1",
            "version": 4,
            "etag": '"v4"',
            "enforced": True,
            "entry_count": 1,
            "mode": "enforce",
            "before": [],
            "after": [ENTRY_EXAMPLE],
            "existing": [],
        }
    )

    account: str
    version: int = Field(description="The version of the list after the change.")
    etag: str = Field(description=_ETAG)
    enforced: bool = Field(description="Whether unlisted addresses are denied after the change.")
    entry_count: int = Field(description="The number of entries that count after the change, without expired ones.")
    mode: str = Field(description=_MODE, json_schema_extra=open_enum(get_args(Mode)))
    before: list[EntryModel] = Field(description="The entries that it removed or edited, as they were before.")
    after: list[EntryModel] = Field(description="The entries that it added or edited, as they are now.")
    existing: list[EntryModel] = Field(
        description="With `if_missing`, the entries that cover submitted networks already. Otherwise it is empty."
    )


class EntryCreateModel(DetailsModel):
    """An entry to store. A detail that is left out is not set; null clears it in a list that is replaced."""

    model_config = request_example({"cidr": "8.8.8.0/24", "label": "office", "expires_at": None})

    cidr: Text = Field(max_length=LONGEST_PIECE, description="The network.")

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        """Require one network, so that positions in a submission are those of its entries."""
        if len([text for text in self.cidr.replace(",", "\n").split("\n") if text.strip()]) != 1:
            raise ValueError("an entry has one network: send each in an entry of its own, or pasted text in cidrs")
        return self

    def entry(self) -> NewEntry:
        """Return the entry in the form that `RuleManager` takes."""
        return NewEntry(self.cidr, **self.details())


_Entries = Annotated[
    list[EntryCreateModel],
    FirstErrorOnly(),
    Field(description="The entries, each with its details.", json_schema_extra=without_default),
]
_Pasted = Annotated[
    Text,
    Field(
        description="CIDRs as text, separated by commas or newlines, as people paste them.",
        max_length=LARGEST_BODY,
        json_schema_extra=without_default,
    ),
]


class EntriesCreateModel(DetailsModel):
    """Entries to add: `entries` or `cidrs`. `label` and `expires_at` are for each entry that does not have its own."""

    model_config = request_example({"entries": [{"cidr": "8.8.8.0/24", "label": "office"}, {"cidr": "1.1.1.1/32"}]})

    entries: _Entries = Field(default_factory=list)
    cidrs: _Pasted = ""

    @model_validator(mode="after")
    def _is_said_once(self) -> Self:
        self._said()
        return self

    def _said(self) -> str:
        """Return the member that has the entries."""
        ways = [name for name in type(self).model_fields if name in _WAYS]
        said = [name for name in ways if name in self.model_fields_set]
        if len(said) != 1:
            raise ValueError(f"send one of {', '.join(ways)}, and not {' and '.join(said) or 'none of them'}")
        return said[0]

    def submission(self) -> str | list[NewEntry]:
        """Return the entries in the form that `RuleManager` takes."""
        said = getattr(self, self._said())
        return said if isinstance(said, str) else [one.entry() for one in said]

    def pointer(self, position: int) -> str:
        """Return the JSON pointer of the submitted entry at a position."""
        said = self._said()
        return f"/{said}" if said == "cidrs" else f"/{said}/{position}/cidr"


_WAYS = ("entries", "cidrs", "items")


def _ignored(model: type[ResponseModel], *known: str) -> dict[str, Any]:
    """Return the members of a response that a request may repeat: they are ignored."""

    def described(schema: dict[str, Any]) -> None:
        without_default(schema)
        schema["readOnly"] = True

    names = [name for name in model.model_fields if name not in known]
    return {name: (Any, Field(None, description="Ignored.", json_schema_extra=described)) for name in names}


if TYPE_CHECKING:

    class EntryItemModel(EntryCreateModel):
        """An entry of a page; built from `EntryModel`."""

    class _PageModel(EntriesCreateModel):
        """The members of a page; built from `EntryPageModel`."""

else:
    EntryItemModel = create_model(
        "EntryItemModel",
        __base__=EntryCreateModel,
        __doc__="An entry as a page of the list has it. Members that cannot be set are ignored.",
        **_ignored(EntryModel, *EntryCreateModel.model_fields),
    )
    EntryItemModel.model_config |= request_example(ENTRY_EXAMPLE)
    EntryItemModel.model_rebuild(force=True)
    _PageModel = create_model(
        "_PageModel",
        __base__=EntriesCreateModel,
        **_ignored(EntryPageModel, "items", "complete", "next_cursor"),
    )


class EntriesReplaceModel(_PageModel):
    """The whole new list: `entries`, `cidrs`, or `items` as they were read.

    A detail that is left out keeps its value, and null clears it.
    """

    model_config = request_example({"items": [ENTRY_EXAMPLE]})

    items: Annotated[
        list[EntryItemModel],
        FirstErrorOnly(),
        Field(
            description="The entries as a page of the list has them. Members that cannot be set are ignored.",
            json_schema_extra=without_default,
        ),
    ] = Field(default_factory=list)
    complete: StrictBool = Field(
        default=True,
        description="Whether the page is the whole list. It must be true, because a list is not replaced by a part of "
        "it.",
        json_schema_extra=without_default,
    )
    next_cursor: Text | None = Field(
        None,
        max_length=LONGEST_CURSOR,
        description="The cursor of the page. It must be null, because a list is not replaced by a part of it.",
        json_schema_extra=without_default,
    )

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        said = "next_cursor is not null" if self.next_cursor is not None else "complete is false"
        if self.next_cursor is not None or not self.complete:
            raise ValueError(
                f"{said}, so this is one of several pages of the list: read all of them, and send nothing but items "
                "with the items of all pages"
            )
        return self


class EntryPatchModel(DetailsModel):
    """The changes of an entry, as a JSON merge patch (RFC 7396).

    A member that is left out keeps its value, and null removes a detail. `cidr` cannot be null.
    """

    model_config = request_example({"cidr": "1.1.1.0/24", "label": None})

    cidr: Text = Field("", max_length=LONGEST_PIECE, description="The new network.", json_schema_extra=without_default)

    def edit(self) -> EntryEdit:
        """Return the edit in the form that `RuleManager` takes."""
        return EntryEdit(cidr=self.cidr if "cidr" in self.model_fields_set else ..., **self.details())


@dataclass(frozen=True, slots=True)
class ChangeRequest:
    """A request that changes a list, with its conditions.

    Attributes:
        request: The request.
        principal: Who makes the request.
        account: The account whose list changes.
        confirmed: The guards that the request confirms.
        if_match: The `If-Match` header; it is checked after the rest of the request.
        once: The key that identifies a repeated request; None if each repetition is carried out again.
    """

    request: Request
    principal: Principal
    account: str
    confirmed: tuple[Guard, ...]
    if_match: str | None
    once: RequestKey | None

    def answered(
        self,
        change: Callable[[RuleManager, dict[str, Any]], object],
        *,
        status: int = 200,
        pointer: Callable[[int], str] | None = None,
        record: Callable[[Transaction, object], dict[str, Any]] | None = None,
    ) -> Response:
        """Make the change and return the response.

        Args:
            change: Makes the change with a manager and the arguments `actor` and `expect_version`.
            status: The status of the response. With 201 it names the entry, if the change made one.
            pointer: Returns the part of the body that has the submitted entry at a position, for broken rules.
            record: Returns the JSON object of the response, from the transaction and what its hook gets; the effect on
                the list if None.
        """
        service = service_of(self.request)
        self.request.scope[POINTERS] = pointer

        def carry_out() -> Answer:
            answer: Answer | None = None

            def in_transaction(transaction: Transaction, made: object) -> None:
                nonlocal answer
                headers = {}
                if isinstance(made, ListOutcome) and status == 201 and len(made.change.after) == 1:
                    headers["Location"] = self._path_of(made.change.after[0].id)
                # With `if_missing` there may be nothing new.
                created = not isinstance(made, ListOutcome) or bool(made.change.after)
                code = status if created or status != 201 else 200
                answer = Answer((record or _outcome_record)(transaction, made), code, headers)
                service.answers.record(transaction, self.once, answer)

            manager = self.principal.changing(service.manager)._with_transaction_hook(in_transaction)
            manager = manager.with_hooks(address=client_address(self.request), confirmed=self.confirmed)
            self._make(manager, change)
            if answer is None:
                raise AssertionError("the hook in_transaction was not called")
            return answer

        return service.answers.once(self.once, carry_out)

    def _make(self, manager: RuleManager, change: Callable[[RuleManager, dict[str, Any]], object]) -> None:
        """Make the change to one of the versions that `If-Match` names."""
        expected = expected_versions(self.if_match)
        candidates: list[int | None] = [None]
        if expected is not None:
            now = 0 if len(expected) == 1 or not self.account else manager.account(self.account).version
            # Versions only grow: those that are over cannot match any more.
            candidates = [*sorted(one for one in expected if one >= now)[:_TRIES]] or [max(expected)]
        for number, version in enumerate(candidates, 1):
            try:
                change(manager, {"actor": self.principal.name, "expect_version": version})
            except VersionConflictError:
                if number == len(candidates):
                    raise
            else:
                return

    def _path_of(self, entry_id: int) -> str:
        return account_path(self.account, "entries", entry_id)


async def _change_request(
    request: Request,
    principal: Writer,
    account_name: AccountName,
    confirm: Confirm = [],  # noqa: B006 - FastAPI copies defaults
    if_match: IfMatch = None,
    idempotency_key: IdempotencyKey = None,
) -> ChangeRequest:
    return await _request_of(request, principal, account_name, confirm, if_match, idempotency_key)


async def _admin_request(
    request: Request,
    principal: Admin,
    account_name: AccountName,
    confirm: Confirm = [],  # noqa: B006 - FastAPI copies defaults
    if_match: IfMatch = None,
    idempotency_key: IdempotencyKey = None,
) -> ChangeRequest:
    return await _request_of(request, principal, account_name, confirm, if_match, idempotency_key)


async def _unguarded_request(
    request: Request,
    principal: Admin,
    account_name: AccountName,
    if_match: IfMatch = None,
    idempotency_key: IdempotencyKey = None,
) -> ChangeRequest:
    return await _request_of(request, principal, account_name, [], if_match, idempotency_key)


async def _store_request(
    request: Request,
    principal: Admin,
    if_match: IfMatch = None,
    idempotency_key: IdempotencyKey = None,
) -> ChangeRequest:
    return await _request_of(request, principal, "", [], if_match, idempotency_key)


async def _request_of(
    request: Request,
    principal: Principal,
    account_name: str,
    confirm: list[Guard],
    if_match: str | None,
    idempotency_key: str | None,
) -> ChangeRequest:
    once = request_key(request, principal, idempotency_key, await request.body())
    # A list of tags may be sent in several lines (RFC 9110 section 5.3).
    if if_match is not None:
        if_match = ", ".join(request.headers.getlist("if-match"))
    return ChangeRequest(request, principal, account_name, tuple(confirm), if_match, once)


change_request = Annotated[ChangeRequest, Depends(_change_request)]
"""A request whose principal may change the list of the account in the path."""

admin_request = Annotated[ChangeRequest, Depends(_admin_request)]
"""A request of an admin that changes the account in the path."""

unguarded_request = Annotated[ChangeRequest, Depends(_unguarded_request)]
"""A request of an admin that changes the account in the path, and nothing that needs a confirmation."""

store_request = Annotated[ChangeRequest, Depends(_store_request)]
"""A request of an admin that changes something of the whole store."""


@router.get("", response_model=EntryPageModel, responses=answers(404, 412, headers={200: READ}))
def list_entries(
    request: Request, principal: Reader, account_name: AccountName, limit: Limit = 100, cursor: Cursor = None
) -> Response:
    """List the entries of an account in address order, with subnet masks. A subaccount has its parent's entries.

    All pages are of one version of the list. If it has changed since the previous page, begin with the first page.
    """
    manager = service_of(request).manager
    owner, entries, matched = manager._listing_with_matches(account_name)
    after = _place(cursor, account_name, owner)
    found = entries if after is None else [entry for entry in entries if _order(entry.cidr) > after]
    shown, last = a_page(found, limit)
    page = {
        "account": account_name,
        "list_account": owner.name,
        "version": owner.version,
        "etag": etag(owner.version),
        "enforced": enforced(entries, owner, datetime.now(UTC)),
        "mode": owner.mode_at(),
        "editable": owner.name == account_name and principal.may_write(account_name, None),
        "max_entries": manager.policy_state(account_name).effective.max_entries,
        "items": [entry_record(entry, matched.get(entry.id)) for entry in shown],
        "complete": after is None and last is None,
        "next_cursor": None if last is None else _cursor(owner, last),
    }
    return Answer(page).read(owner.version)


@router.post(
    "",
    status_code=201,
    response_model=ListChangeModel,
    responses={
        **answers(404, 409, 412, body=True, headers={201: LOCATION}),
        200: {"model": ListChangeModel, "description": "With `if_missing`: the list allows all of that already."},
    },
)
def add_entries(
    account_name: AccountName, asked: change_request, submission: EntriesCreateModel, if_missing: IfMissing = False
) -> Response:
    """Add entries. All are stored or none, and the response reports every problem."""

    def add(manager: RuleManager, arguments: dict[str, Any]) -> None:
        manager.add(account_name, submission.submission(), if_missing=if_missing, **submission.details(), **arguments)

    return asked.answered(add, status=201, pointer=submission.pointer)


@router.put("", response_model=ListChangeModel, responses=_CHANGE_BY_BODY)
def replace_entries(account_name: AccountName, asked: change_request, submission: EntriesReplaceModel) -> Response:
    """Replace the whole list in one change. An entry whose network stays keeps its id, author and time.

    A detail of it that is left out stays, and null clears it. A list that was read can be sent back as it is, as
    `items`. An empty list ends enforcement, which must be confirmed.
    """

    def replace(manager: RuleManager, arguments: dict[str, Any]) -> None:
        manager.replace(account_name, submission.submission(), **submission.details(), **arguments)

    return asked.answered(replace, pointer=submission.pointer)


@router.delete("", response_model=ListChangeModel, responses=_CHANGE)
def remove_entries(account_name: AccountName, asked: change_request, entry_ids: EntryIds) -> Response:
    """Remove the named entries, all or none. To remove every entry ends enforcement, which must be confirmed."""
    return asked.answered(lambda manager, arguments: manager.remove(account_name, *entry_ids, **arguments))


@router.get("/{entry_id}", response_model=ListedEntryModel, responses=answers(404, headers={200: READ}))
def get_entry(request: Request, _principal: Reader, account_name: AccountName, entry_id: EntryId) -> Response:
    """Return one entry, with the version of its list."""
    manager = service_of(request).manager
    owner, entries, matched = manager._listing_with_matches(account_name)
    [found] = named_entries(account_name, entries, [entry_id])
    record = entry_record(found, matched.get(entry_id))
    of_list = {"list_account": owner.name, "version": owner.version, "etag": etag(owner.version)}
    return Answer(record | of_list).read(owner.version)


@router.patch("/{entry_id}", response_model=ListChangeModel, responses=_CHANGE_BY_BODY)
def edit_entry(account_name: AccountName, asked: change_request, entry_id: EntryId, edit: EntryPatchModel) -> Response:
    """Change the network or the details of an entry. Its id, author and time of creation stay."""
    return asked.answered(
        lambda manager, arguments: manager.edit(account_name, entry_id, edit.edit(), **arguments),
        pointer=lambda _: "/cidr",
    )


@router.delete("/{entry_id}", response_model=ListChangeModel, responses=_CHANGE)
def remove_entry(account_name: AccountName, asked: change_request, entry_id: EntryId) -> Response:
    """Remove an entry. Removing the last one ends enforcement, which must be confirmed."""
    return asked.answered(lambda manager, arguments: manager.remove(account_name, entry_id, **arguments))


def _outcome_record(_: Transaction, made: object) -> dict[str, Any]:
    if not isinstance(made, ListOutcome):
        raise AssertionError("the hook got an account instead of a change of a list")
    record = list_change_record(made.change, list_state(made.after, made.account, datetime.now(UTC)))
    return record | {"etag": etag(made.change.version)}


def _cursor(owner: Account, last: Entry) -> str:
    """Return the cursor of the page after an entry, which belongs to one version of one list."""
    return cursor_after(f"{owner.name}\n{owner.version}\n{last.cidr}")


def _place(cursor: str | None, account: str, owner: Account) -> tuple[int, int, int] | None:
    """Return the sort key of the entry after which a page starts; None for the first page.

    Raises:
        ServiceError: If the cursor belongs to another list.
        VersionConflictError: If the list has changed since the previous page.
    """
    text = text_of_cursor(cursor)
    if text is None:
        return None
    try:
        name, version, cidr = text.split("\n")
        expected, after = int(version), _order(cidr)
    except ValueError as error:
        raise invalid_cursor() from error
    if name != owner.name or not 0 <= expected <= GREATEST_INTEGER:
        raise invalid_cursor()
    if expected != owner.version:
        raise VersionConflictError(
            f"the list of account {account!r} has changed since the previous page: begin with the first page",
            account=account,
            expected=expected,
            actual=owner.version,
        )
    return after


def _order(cidr: str) -> tuple[int, int, int]:
    """Return the sort key of a network in address order."""
    network = ip_network(cidr)
    return network.version, int(network.network_address), network.prefixlen
