"""`check`, `explain` and `preview`: questions about a list that change nothing."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Query, Request, Response
from pydantic import Field

from cidrgate.errors import CidrgateError, InvalidAddressError, RuleError, StoreError, SubaccountError
from cidrgate.manager import RuleManager
from cidrgate.manager.outcomes import Guard, ListOutcome
from cidrgate.manager.previews import access_change
from cidrgate.rules import RULE_OF_CODE
from cidrgate.rules.decisions import decide
from cidrgate.rules.format_hints import suggested_networks
from cidrgate.serialization import decision_record, entry_record, problem_record
from cidrgate.service.api.account_paths import AccountName
from cidrgate.service.api.entries import EntryEditModel, SubmissionModel
from cidrgate.service.api.history import RestoreRequest
from cidrgate.service.api.openapi import answers
from cidrgate.service.api.schemas import (
    ENTRY_EXAMPLE,
    EntryModel,
    FirstErrorOnly,
    Identity,
    RequestModel,
    ResponseModel,
    RuleProblem,
    request_example,
    response_example,
)
from cidrgate.service.auth.access import Reader
from cidrgate.service.http.client_address import client_address
from cidrgate.service.http.idempotency import Answer
from cidrgate.service.http.limits import LONGEST_ADDRESS, MOST_PROBLEMS_TOLD
from cidrgate.service.http.strict_requests import StrictRoute
from cidrgate.service.settings import service_of

__all__ = [
    "AddModel",
    "CallerModel",
    "CheckModel",
    "DecisionModel",
    "EditModel",
    "PreviewModel",
    "PreviewProblem",
    "PreviewRequest",
    "RemoveModel",
    "ReplaceModel",
    "RestoreModel",
    "preview_record",
    "router",
]

router = APIRouter(prefix="/v1/accounts/{account:account}", tags=["questions"], route_class=StrictRoute)

Address = Annotated[
    str,
    Query(
        max_length=LONGEST_ADDRESS,
        description="The client address; an invalid address is denied.",
        examples=["8.8.8.8"],
    ),
]


class AddModel(SubmissionModel):
    """Add entries."""

    model_config = request_example({"change": "add", "cidrs": "8.8.8.0/24, 1.1.1.1/32", "label": "office"})

    change: Literal["add"]


class EditModel(EntryEditModel):
    """Edit an entry."""

    model_config = request_example({"change": "edit", "entry": 7, "cidr": "1.1.1.0/24"})

    change: Literal["edit"]
    entry: Identity = Field(description="Its id.")


class RemoveModel(RequestModel):
    """Remove entries."""

    model_config = request_example({"change": "remove", "entries": [7]})

    change: Literal["remove"]
    entries: Annotated[list[Identity], FirstErrorOnly()] = Field(description="Their ids.")


class ReplaceModel(SubmissionModel):
    """Replace the list."""

    model_config = request_example({"change": "replace", "cidrs": "8.8.8.0/24"})

    change: Literal["replace"]


class RestoreModel(RestoreRequest):
    """Restore an earlier list."""

    model_config = request_example({"change": "restore", "sequence": 12})

    change: Literal["restore"]


PreviewRequest = Annotated[
    AddModel | EditModel | RemoveModel | ReplaceModel | RestoreModel,
    Field(
        discriminator="change",
        examples=[{"change": "add", "cidrs": "8.8.8.8, 1.1.1.1/32"}],
    ),
]


class PreviewProblem(RuleProblem):
    """One violation of a rule, with suggestions for a correction."""

    suggestions: list[str] = Field(description="Networks that were probably meant; each can be submitted as it is.")


class CallerModel(ResponseModel):
    """What a change means for the caller."""

    address: str | None = Field(description="The client address of the request; null if it is unknown.")
    allowed_before: bool
    allowed_after: bool
    covered_by: str | None = Field(description="The entry that covers the address after the change.")
    would_lock_out: bool = Field(description="Whether the change must be confirmed with `lock_out`.")


class PreviewModel(ResponseModel):
    """What a change would do."""

    model_config = response_example(
        {
            "account": "acct-1",
            "version": 3,
            "ok": False,
            "problems": [
                {
                    "code": "invalid_format",
                    "text": "8.8.8.8",
                    "position": 0,
                    "conflicts": [],
                    "hint": "add the length: 8.8.8.8/32",
                    "more_conflicts": 0,
                    "suggestions": ["8.8.8.8/32"],
                }
            ],
            "more_problems": 0,
            "message": None,
            "before": [],
            "after": [],
            "enforcement_begins": False,
            "enforcement_ends": False,
            "loses_access": [],
            "gains_access": [],
            "more_lose_access": 0,
            "more_gain_access": 0,
            "caller": None,
            "confirm": [],
        }
    )

    account: str
    version: int = Field(description="The version of the list that the preview is based on.")
    ok: bool = Field(description="Whether the change could be made.")
    problems: list[PreviewProblem] = Field(description="The first 100 violations of rules.")
    more_problems: int = Field(description="The number of further violations.")
    message: str | None = Field(description="Why the change could not be made, if no rule is violated.")
    before: list[EntryModel] = Field(description="The entries that it would remove or alter, as they are now.")
    after: list[EntryModel] = Field(description="The entries that it would add or alter; a new one has a negative id.")
    enforcement_begins: bool = Field(description="Whether every unlisted address would lose access.")
    enforcement_ends: bool = Field(description="Whether every address would gain access.")
    loses_access: list[str] = Field(description="The networks that lose access; empty when enforcement begins or ends.")
    gains_access: list[str] = Field(description="The networks that gain access; empty in the same cases.")
    more_lose_access: int = Field(description="The number of networks that lose access beyond the first 1,000.")
    more_gain_access: int = Field(description="The number of networks that gain access beyond the first 1,000.")
    caller: CallerModel | None = Field(description="The effect on the caller; null if the change cannot be made.")
    confirm: list[Guard] = Field(
        description="The values of `confirm` that the change needs; empty if it needs no confirmation."
    )


class CheckModel(ResponseModel):
    """Whether an address may act for an account, by the matcher."""

    model_config = response_example({"account": "acct-1", "address": "8.8.8.8", "allowed": True})

    account: str
    address: str
    allowed: bool


class DecisionModel(ResponseModel):
    """Why an address may act for an account, or why not, by the store."""

    model_config = response_example(
        {
            "account": "acct-1",
            "address": "8.8.8.8",
            "allowed": True,
            "reason": "matched",
            "decided_by": "acct-1",
            "entry": ENTRY_EXAMPLE,
            "nearest": None,
        }
    )

    account: str
    address: str
    allowed: bool
    reason: Literal["matched", "not_listed", "not_enforced", "invalid_address"]
    decided_by: str = Field(description="The account whose list decided; for a subaccount, its parent.")
    entry: EntryModel | None = Field(description="The longest matching entry.")
    nearest: EntryModel | None = Field(description="The entry that shares the most leading bits with a denied address.")


@router.get("/check", response_model=CheckModel, responses=answers(404))
def check(request: Request, _principal: Reader, account: AccountName, address: Address) -> Response:
    """Tell whether an address may act for an account. The matcher of this process decides."""
    manager = service_of(request).manager
    manager.account(account)
    try:
        allowed = manager.allows(account, address)
    except InvalidAddressError:
        allowed = False
    return Answer({"account": account, "address": address, "allowed": allowed}).response()


@router.get("/explain", response_model=DecisionModel, responses=answers(404))
def explain(request: Request, _principal: Reader, account: AccountName, address: Address) -> Response:
    """Explain why an address may act for an account, or why not. The current list in the store decides."""
    manager = service_of(request).manager
    manager.account(account)
    return Answer(decision_record(account, address, manager.explain(account, address))).response()


@router.post("/preview", response_model=PreviewModel, responses=answers(404, 409, 413))
def preview(
    request: Request, _principal: Reader, account: AccountName, change: Annotated[PreviewRequest, Body()]
) -> Response:
    """Compute what a change would do and which networks it would deny. Nothing is changed."""
    manager = service_of(request).manager
    return Answer(preview_record(manager, account, change, client_address(request))).response()


def preview_record(manager: RuleManager, account: str, change: PreviewRequest, address: str | None) -> dict[str, Any]:
    """Return what a change would do, as a JSON object.

    Args:
        manager: Reads the list.
        account: The account of the list.
        change: The change.
        address: The caller's address; None if it is unknown.

    Raises:
        AccountNotFoundError: If there is no such account.
        SubaccountError: If the account inherits its list.
        StoreError: If the store cannot be read.
    """
    outcomes: list[ListOutcome] = []
    dry = manager.with_hooks(before_store=outcomes.append, dry_run=True, address=address)
    problems: list[dict[str, Any]] = []
    more_problems = 0
    message: str | None = None
    owner, _ = manager.listing(account)
    try:
        _make(dry, account, change)
    except RuleError as error:
        problems = [
            {**problem_record(problem), "suggestions": _suggestions(problem.code, problem.hint)}
            for problem in error.problems[:MOST_PROBLEMS_TOLD]
        ]
        more_problems = len(error.problems) - len(problems) + error.more
    except (SubaccountError, StoreError):
        raise
    except CidrgateError as error:
        message = str(error)
    at = datetime.now(UTC)
    record: dict[str, Any] = {
        "account": account,
        "version": owner.version,
        "ok": bool(outcomes),
        "problems": problems,
        "more_problems": more_problems,
        "message": message,
        "before": [],
        "after": [],
        "enforcement_begins": False,
        "enforcement_ends": False,
        "loses_access": [],
        "gains_access": [],
        "more_lose_access": 0,
        "more_gain_access": 0,
        "caller": None,
        "confirm": [],
    }
    for outcome in outcomes:
        access = access_change(outcome.before, outcome.after, at)
        record |= {
            "version": outcome.account.version - (1 if outcome.change.before or outcome.change.after else 0),
            "before": [entry_record(entry) for entry in outcome.change.before],
            "after": [entry_record(entry) for entry in outcome.change.after],
            "enforcement_begins": access.begins,
            "enforcement_ends": access.ends,
            "loses_access": list(access.lost),
            "gains_access": list(access.gained),
            "more_lose_access": access.more_lost,
            "more_gain_access": access.more_gained,
            "caller": _caller(outcome, address, at),
            "confirm": list(outcome.confirm),
        }
    return record


def _make(manager: RuleManager, account: str, change: PreviewRequest) -> None:
    match change:
        case AddModel():
            manager.add(account, change.entries(), **change.details())
        case EditModel():
            manager.edit(account, change.entry, change.edit())
        case RemoveModel():
            manager.remove(account, *change.entries)
        case ReplaceModel():
            manager.replace(account, change.entries(), **change.details())
        case RestoreModel():
            manager.restore(account, to_sequence=change.sequence)


def _caller(outcome: ListOutcome, address: str | None, at: datetime) -> dict[str, Any]:
    before, after = (
        decide(outcome.account.name, entries, address or "", at) for entries in (outcome.before, outcome.after)
    )
    return {
        "address": address,
        "allowed_before": before.allowed,
        "allowed_after": after.allowed,
        "covered_by": None if after.entry is None else after.entry.cidr,
        "would_lock_out": Guard.LOCK_OUT in outcome.confirm,
    }


def _suggestions(code: str, hint: str) -> list[str]:
    """Return networks that can replace the text, if only the text was wrong."""
    return suggested_networks(hint) if RULE_OF_CODE[code].hint_rewrites else []
