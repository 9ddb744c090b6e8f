"""`/v1/accounts/{account_name}/mode`: how an account's list decides."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Response
from pydantic import Field, StrictBool

from cidrgate.manager import RuleManager
from cidrgate.manager.outcomes import ListOutcome
from cidrgate.rules.decisions import list_state
from cidrgate.serialization import account_record
from cidrgate.service.api.account_paths import AccountName
from cidrgate.service.api.accounts import AccountModel
from cidrgate.service.api.entries import change_request
from cidrgate.service.api.openapi import answers
from cidrgate.service.api.schemas import RequestModel, Text, Time, request_example, without_default
from cidrgate.service.http.limits import LONGEST_LABEL
from cidrgate.service.http.strict_requests import StrictRoute
from cidrgate.stores import Transaction

__all__ = ["ModeModel", "router"]

router = APIRouter(prefix="/v1/accounts/{account_name:account}/mode", tags=["accounts"], route_class=StrictRoute)

_Reason = Annotated[Text, Field(json_schema_extra={"maxLength": LONGEST_LABEL})]


class ModeModel(RequestModel):
    """How a list decides from now on. A member that is left out is null, except for `closed`, which stays."""

    model_config = request_example({"mode": "off", "until": "2027-01-31T18:00:00+00:00", "reason": "incident 7"})

    mode: Literal["enforce", "report_only", "off"] = Field(
        description="`enforce` denies what is not listed, `report_only` allows and reports it, `off` allows it."
    )
    until: Time | None = Field(
        None, description="When the mode expires, so that the list is enforced again; null for never."
    )
    reason: _Reason | None = Field(None, description="Why, for the people who see it.")
    closed: StrictBool | None = Field(
        None,
        description="Whether the list is enforced even while it is empty; null for no change.",
        json_schema_extra=without_default,
    )


@router.put("", response_model=AccountModel, responses=answers(404, 409, 412, body=True))
def set_mode(account_name: AccountName, asked: change_request, wanted: ModeModel) -> Response:
    """Set how the list decides, for subaccounts too. The entries stay. To end enforcement must be confirmed."""

    def change(manager: RuleManager, arguments: dict[str, Any]) -> None:
        manager.set_mode(
            account_name,
            wanted.mode,
            until=wanted.until,
            reason=wanted.reason,
            closed=wanted.closed,
            **arguments,
        )

    return asked.answered(change, record=_record)


def _record(_: Transaction, made: object) -> dict[str, Any]:
    if not isinstance(made, ListOutcome):
        raise AssertionError("the hook got an account instead of a change of a list")
    return account_record(made.account, list_state(made.after, made.account, datetime.now(UTC)))
