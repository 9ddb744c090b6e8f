"""`check`, `explain` and `preview`: questions about a list that change nothing."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, get_args

from fastapi import APIRouter, Body, Query, Request, Response
from pydantic import Field

from cidrgate.errors import CidrgateError, InvalidAddressError, InvalidTextError, RuleError, StoreError, SubaccountError
from cidrgate.gate.verdict import MODE_HEADER
from cidrgate.manager import RuleManager
from cidrgate.manager.evaluations import Foresight, changed_lists
from cidrgate.manager.outcomes import Guard, ListOutcome
from cidrgate.manager.previews import AccessChange, access_change
from cidrgate.rules.decisions import decide
from cidrgate.serialization import decision_record, entry_record
from cidrgate.service.api.account_paths import AccountName
from cidrgate.service.api.entries import EntriesCreateModel, EntriesReplaceModel, EntryPatchModel
from cidrgate.service.api.evaluations import Days, EvaluationModel
from cidrgate.service.api.history import RestoreRequestModel
from cidrgate.service.api.openapi import READ, answers
from cidrgate.service.api.schemas import (
    ENTRY_EXAMPLE,
    RULE_EXAMPLE,
    EntryModel,
    FirstErrorOnly,
    Identity,
    ProblemErrorModel,
    RequestModel,
    ResponseModel,
    open_enum,
    request_example,
    response_example,
)
from cidrgate.service.auth.access import Reader
from cidrgate.service.http.client_address import client_address
from cidrgate.service.http.idempotency import Answer
from cidrgate.service.http.limits import LONGEST_ADDRESS
from cidrgate.service.http.problems import rule_errors
from cidrgate.service.http.strict_requests import StrictRoute
from cidrgate.service.settings import service_of
from cidrgate.values import Mode, Reason

__all__ = [
    "CallerModel",
    "CheckModel",
    "DecisionModel",
    "PreviewAddModel",
    "PreviewEditModel",
    "PreviewModel",
    "PreviewRemoveModel",
    "PreviewReplaceModel",
    "PreviewRequest",
    "PreviewRestoreModel",
    "PreviewUndoModel",
    "preview_record",
    "router",
]

router = APIRouter(prefix="/v1/accounts/{account_name:account}", tags=["questions"], route_class=StrictRoute)

Address = Annotated[
    str,
    Query(
        max_length=LONGEST_ADDRESS,
        description="The client address; an invalid address is denied.",
        examples=["8.8.8.8"],
    ),
]


class PreviewAddModel(EntriesCreateModel):
    """Add entries."""

    model_config = request_example({"change": "add", "cidrs": "8.8.8.0/24, 1.1.1.1/32", "label": "office"})

    change: Literal["add"]


class PreviewEditModel(EntryPatchModel):
    """Edit an entry."""

    model_config = request_example({"change": "edit", "entry_id": 7, "cidr": "1.1.1.0/24"})

    change: Literal["edit"]
    entry_id: Identity = Field(description="The id of the entry.")


class PreviewRemoveModel(RequestModel):
    """Remove entries."""

    model_config = request_example({"change": "remove", "entry_ids": [7]})

    change: Literal["remove"]
    entry_ids: Annotated[list[Identity], FirstErrorOnly()] = Field(description="The ids of the entries.")


class PreviewReplaceModel(EntriesReplaceModel):
    """Replace the list."""

    model_config = request_example({"change": "replace", "cidrs": "8.8.8.0/24"})

    change: Literal["replace"]


class PreviewRestoreModel(RestoreRequestModel):
    """Restore an earlier list."""

    model_config = request_example({"change": "restore", "to_sequence": 12})

    change: Literal["restore"]


class PreviewUndoModel(RequestModel):
    """Undo a change."""

    model_config = request_example({"change": "undo", "sequence": 12})

    change: Literal["undo"]
    sequence: Identity = Field(description="The sequence of the change in the history.")


PreviewRequest = Annotated[
    PreviewAddModel
    | PreviewEditModel
    | PreviewRemoveModel
    | PreviewReplaceModel
    | PreviewRestoreModel
    | PreviewUndoModel,
    Field(
        discriminator="change",
        examples=[{"change": "add", "cidrs": "8.8.8.8, 1.1.1.1/32"}],
    ),
]


class CallerModel(ResponseModel):
    """What a change means for the caller."""

    address: str | None = Field(description="The client address of the request; null if it is unknown.")
    allowed_before: bool = Field(description="Whether the address is allowed before the change.")
    allowed_after: bool = Field(description="Whether the address is allowed after the change.")
    matched_cidr: str | None = Field(description="The entry that allows the address after the change.")
    would_lock_out: bool = Field(description="Whether the change must be confirmed with `lock_out`.")


class PreviewModel(ResponseModel):
    """What a change would do."""

    model_config = response_example(
        {
            "account": "acct-1",
            "version": 3,
            "ok": False,
            "errors": [RULE_EXAMPLE],
            "more_errors": 0,
            "before": [],
            "after": [],
            "enforcement_begins": False,
            "enforcement_ends": False,
            "loses_access": [],
            "gains_access": [],
            "more_lose_access": 0,
            "more_gain_access": 0,
            "evaluation": None,
            "evaluation_missing": "the change cannot be made",
            "caller": None,
            "confirm": [],
        }
    )

    account: str = Field(description="The account of the list.")
    version: int = Field(description="The version of the list that the preview is based on.")
    ok: bool = Field(description="Whether the change could be made.")
    errors: list[ProblemErrorModel] = Field(
        description="Why it could not be made: the first 100 broken rules, or one other problem with the code of its "
        "type."
    )
    more_errors: int = Field(description="The number of further broken rules.")
    before: list[EntryModel] = Field(description="The entries that it would remove or edit, as they are now.")
    after: list[EntryModel] = Field(description="The entries that it would add or edit; a new one has a negative id.")
    enforcement_begins: bool = Field(description="Whether every unlisted address would lose access.")
    enforcement_ends: bool = Field(description="Whether every address would gain access.")
    loses_access: list[str] = Field(description="The networks that lose access; empty when enforcement begins or ends.")
    gains_access: list[str] = Field(description="The networks that gain access; empty in the same cases.")
    more_lose_access: int = Field(description="The number of networks that lose access beyond the first 1,000.")
    more_gain_access: int = Field(description="The number of networks that gain access beyond the first 1,000.")
    evaluation: EvaluationModel | None = Field(
        description="What the change would do to the requests of the past; null if no traffic is stored, or the change "
        "cannot be made."
    )
    evaluation_missing: str | None = Field(description="Why there is no evaluation; null if there is one.")
    caller: CallerModel | None = Field(description="The effect on the caller; null if the change cannot be made.")
    confirm: list[str] = Field(
        description="The values of `confirm` that the change needs; empty if it needs no confirmation.",
        json_schema_extra={"items": {"type": "string", **open_enum(Guard)}},
    )


class CheckModel(ResponseModel):
    """Whether an address may act for an account, by the matcher."""

    model_config = response_example({"account": "acct-1", "address": "8.8.8.8", "allowed": True, "mode": "enforce"})

    account: str = Field(description="The account of the request.")
    address: str = Field(description="The address, as it was sent.")
    allowed: bool = Field(description="Whether the address may act for the account.")
    mode: str = Field(
        description="The mode of the list. `X-Cidrgate-Mode` has it too if only the mode allows the address.",
        json_schema_extra=open_enum(get_args(Mode)),
    )


class DecisionModel(ResponseModel):
    """Why an address may act for an account, or why not, by the store."""

    model_config = response_example(
        {
            "account": "acct-1",
            "address": "8.8.8.8",
            "allowed": True,
            "reason": "matched",
            "list_account": "acct-1",
            "entry": ENTRY_EXAMPLE,
            "nearest": None,
            "mode": "enforce",
        }
    )

    account: str = Field(description="The account of the request.")
    address: str = Field(description="The address, as it was sent.")
    allowed: bool = Field(description="Whether the address may act for the account.")
    reason: str = Field(description="Why.", json_schema_extra=open_enum(get_args(Reason)))
    list_account: str = Field(description="The account whose list decided; for a subaccount, its parent.")
    entry: EntryModel | None = Field(description="The longest matching entry.")
    nearest: EntryModel | None = Field(
        description="The entry that shares the most leading bits with an address that is not listed."
    )
    mode: str = Field(
        description="The mode of the list. With `report_only` an address that is not listed is allowed.",
        json_schema_extra=open_enum(get_args(Mode)),
    )


@router.get("/check", response_model=CheckModel, responses=answers(404, headers={200: READ}))
def check_address(request: Request, _principal: Reader, account_name: AccountName, address: Address) -> Response:
    """Tell whether an address may act for an account. The matcher of this process decides."""
    manager = service_of(request).manager
    manager.account(account_name)
    try:
        allowed = manager._replica.would_allow(account_name, address)  # no request acts for the account
    except InvalidAddressError:
        allowed = False
    mode = manager.matcher.mode(account_name)
    only_mode = mode != "enforce" and allowed and manager.matcher.match(account_name, address) is None
    headers = {MODE_HEADER: mode} if only_mode else {}
    return Answer({"account": account_name, "address": address, "allowed": allowed, "mode": mode}, 200, headers).read()


@router.get("/explain", response_model=DecisionModel, responses=answers(404, headers={200: READ}))
def explain_address(request: Request, _principal: Reader, account_name: AccountName, address: Address) -> Response:
    """Explain why an address may act for an account, or why not. The current list in the store decides."""
    manager = service_of(request).manager
    manager.account(account_name)
    return Answer(decision_record(account_name, address, manager.explain(account_name, address))).read()


@router.post("/preview", response_model=PreviewModel, responses=answers(404, 409, body=True))
def preview_change(
    request: Request,
    _principal: Reader,
    account_name: AccountName,
    change: Annotated[PreviewRequest, Body(title="PreviewRequest")],  # generators name the type by it
    days: Days = 30,
) -> Response:
    """Compute what a change would do and which networks it would deny. Nothing is changed."""
    manager = service_of(request).manager
    return Answer(preview_record(manager, account_name, change, client_address(request), days)).response()


def preview_record(
    manager: RuleManager, account: str, change: PreviewRequest, address: str | None, days: int = 30
) -> dict[str, Any]:
    """Return what a change would do, as a JSON object.

    Args:
        manager: Reads the list.
        account: The account of the list.
        change: The change.
        address: The caller's address; None if it is unknown.
        days: For how many days in UTC, with today, to read the recorded traffic.

    Raises:
        AccountNotFoundError: If there is no such account.
        SubaccountError: If the account inherits its list.
        InvalidTextError: If a label is not valid.
        StoreError: If the store cannot be read.
    """
    outcomes: list[ListOutcome] = []
    dry = manager.with_hooks(before_store=outcomes.append, dry_run=True, address=address)
    errors: list[dict[str, Any]] = []
    more_errors = 0
    owner, _ = manager.listing(account)
    try:
        _make(dry, account, change)
    except RuleError as error:
        errors, more_errors = rule_errors(error.problems, error.more, _pointer_of(change))
    except (InvalidTextError, SubaccountError, StoreError):
        raise
    except CidrgateError as error:
        errors = [{"code": error.code, "detail": str(error)}]
    at = datetime.now(UTC)
    record: dict[str, Any] = {
        "account": account,
        "version": owner.version,
        "ok": bool(outcomes),
        "errors": errors,
        "more_errors": more_errors,
        "before": [],
        "after": [],
        **AccessChange(begins=False, ends=False).record(),
        **Foresight(missing="the change cannot be made").record(),
        "caller": None,
        "confirm": [],
    }
    for outcome in outcomes:
        access = access_change(outcome.before, outcome.after, at, was=outcome.account_before, now=outcome.account)
        record |= {
            "version": outcome.account_before.version,
            "before": [entry_record(entry) for entry in outcome.change.before],
            "after": [entry_record(entry) for entry in outcome.change.after],
            **access.record(),
            **manager._foresight(changed_lists([outcome]), days).record(),
            "caller": _caller(outcome, address, at),
            "confirm": list(outcome.confirm),
        }
    return record


def _make(manager: RuleManager, account: str, change: PreviewRequest) -> None:
    match change:
        case PreviewAddModel():
            manager.add(account, change.submission(), **change.details())
        case PreviewEditModel():
            manager.edit(account, change.entry_id, change.edit())
        case PreviewRemoveModel():
            manager.remove(account, *change.entry_ids)
        case PreviewReplaceModel():
            manager.replace(account, change.submission(), **change.details())
        case PreviewRestoreModel():
            manager.restore(account, to_sequence=change.to_sequence)
        case PreviewUndoModel():
            manager.undo(account, change.sequence)


def _pointer_of(change: PreviewRequest) -> Callable[[int], str] | None:
    match change:
        case EntriesCreateModel():
            return change.pointer
        case PreviewEditModel():
            return lambda _: "/cidr"
    return None


def _caller(outcome: ListOutcome, address: str | None, at: datetime) -> dict[str, Any]:
    before = decide(outcome.account_before, outcome.before, address or "", at)
    after = decide(outcome.account, outcome.after, address or "", at)
    return {
        "address": address,
        "allowed_before": before.allowed,
        "allowed_after": after.allowed,
        "matched_cidr": None if after.entry is None else after.entry.cidr,
        "would_lock_out": Guard.LOCK_OUT in outcome.confirm,
    }
