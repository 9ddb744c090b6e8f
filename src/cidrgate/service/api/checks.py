"""`check`, `explain` and `preview`: questions on a list that change nothing."""

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Body, Query, Request, Response

from cidrgate.errors import CidrgateError, InvalidAddressError, RuleError, StoreError, SubaccountError
from cidrgate.manager import RuleManager
from cidrgate.manager.changes import ListOutcome
from cidrgate.manager.confirmations import Guard
from cidrgate.manager.previews import access_change
from cidrgate.rules import RULE_OF_CODE
from cidrgate.rules.decisions import decide
from cidrgate.rules.format_hints import suggested_networks
from cidrgate.serialization import decision_record, entry_record, problem_record
from cidrgate.service.api.account_paths import AccountName
from cidrgate.service.api.entries import edit_arguments, pieces
from cidrgate.service.api.models import (
    AddModel,
    CheckModel,
    DecisionModel,
    EditModel,
    PreviewModel,
    PreviewRequest,
    RemoveModel,
    ReplaceModel,
    RestoreModel,
)
from cidrgate.service.api.openapi import answers
from cidrgate.service.auth.access import Reader
from cidrgate.service.http.client_address import client_address
from cidrgate.service.http.idempotency import Answer
from cidrgate.service.http.limits import LONGEST_ADDRESS, MOST_PROBLEMS_TOLD
from cidrgate.service.http.strict_requests import StrictRoute
from cidrgate.service.settings import service_of

__all__ = ["preview_record", "router"]

router = APIRouter(prefix="/v1/accounts/{account:account}", tags=["questions"], route_class=StrictRoute)

Address = Annotated[
    str,
    Query(
        max_length=LONGEST_ADDRESS,
        description="The address that calls; one that cannot be read is denied.",
        examples=["8.8.8.8"],
    ),
]


@router.get("/check", response_model=CheckModel, responses=answers(404))
def check(request: Request, _principal: Reader, account: AccountName, address: Address) -> Response:
    """Whether an address may act for an account, as the matcher of this process says."""
    manager = service_of(request).manager
    manager.account(account)
    try:
        allowed = manager.allows(account, address)
    except InvalidAddressError:
        allowed = False
    return Answer({"account": account, "address": address, "allowed": allowed}).response()


@router.get("/explain", response_model=DecisionModel, responses=answers(404))
def explain(request: Request, _principal: Reader, account: AccountName, address: Address) -> Response:
    """Why an address may, or may not, act for an account, as the store says now."""
    manager = service_of(request).manager
    manager.account(account)
    return Answer(decision_record(account, address, manager.explain(account, address))).response()


@router.post("/preview", response_model=PreviewModel, responses=answers(404, 409, 413))
def preview(
    request: Request, _principal: Reader, account: AccountName, change: Annotated[PreviewRequest, Body()]
) -> Response:
    """What a change would do, and whom it would deny. Nothing is changed."""
    manager = service_of(request).manager
    return Answer(preview_record(manager, account, change, client_address(request))).response()


def preview_record(manager: RuleManager, account: str, change: PreviewRequest, address: str | None) -> dict[str, Any]:
    """What a change would do, as a JSON object.

    Args:
        manager: Knows the list.
        account: Whose list.
        change: The change.
        address: Where the one who asks is; None if that cannot be told.

    Raises:
        AccountNotFoundError: If there is no such account.
        SubaccountError: If the account inherits its list.
        StoreError: If the store cannot be read.
    """
    outcomes: list[ListOutcome] = []
    dry = manager.supervised(judge=outcomes.append, dry_run=True, address=address)
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
            manager.add(account, pieces(change), label=change.label, expires_at=change.expires_at)
        case EditModel():
            manager.edit(account, change.entry, **edit_arguments(change))
        case RemoveModel():
            manager.remove(account, *change.entries)
        case ReplaceModel():
            manager.replace(account, pieces(change), label=change.label, expires_at=change.expires_at)
        case RestoreModel():
            manager.restore(account, at=change.sequence)


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
    """What can be written instead, where the text alone was the problem."""
    return suggested_networks(hint) if RULE_OF_CODE[code].hint_rewrites else []
