"""`/v1/policy` and `/v1/accounts/{account_name}/policy`: the stored policy of the service and of an account."""

from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import Field

from cidrgate.rules.policy import OPTION_NAMES, PolicyChange, PolicyState
from cidrgate.serialization import policy_change_record, policy_record
from cidrgate.service.api.account_paths import AccountName
from cidrgate.service.api.entries import ChangeRequest, store_request, unguarded_request
from cidrgate.service.api.openapi import READ, answers
from cidrgate.service.api.schemas import RequestModel, ResponseModel, request_example, response_example, without_default
from cidrgate.service.auth.access import Known, Reader
from cidrgate.service.http.conditional_requests import etag
from cidrgate.service.http.idempotency import Answer
from cidrgate.service.http.strict_requests import StrictRoute
from cidrgate.service.settings import service_of
from cidrgate.stores import Transaction

__all__ = [
    "EffectivePolicyModel",
    "PolicyChangeModel",
    "PolicyModel",
    "PolicyRequestModel",
    "StoredPolicyModel",
    "router",
]

router = APIRouter(prefix="/v1", tags=["policy"], route_class=StrictRoute)

_MAX_ENTRIES = "The most entries that a list may have."
_ALLOW_SPECIAL = "Whether lists may contain special-purpose ranges."
_WIDEST_IPV4 = "The shortest length of an IPv4 network that needs no confirmation."
_WIDEST_IPV6 = "The shortest length of an IPv6 network that needs no confirmation."
_EXAMPLE = {"max_entries": 50, "allow_special": False, "widest_ipv4": 8, "widest_ipv6": 16}


class EffectivePolicyModel(ResponseModel):
    """A policy with all options."""

    max_entries: int = Field(description=_MAX_ENTRIES)
    allow_special: bool = Field(description=_ALLOW_SPECIAL)
    widest_ipv4: int = Field(description=_WIDEST_IPV4)
    widest_ipv6: int = Field(description=_WIDEST_IPV6)


class StoredPolicyModel(ResponseModel):
    """The stored options; null where nothing is stored."""

    max_entries: int | None = Field(description=_MAX_ENTRIES)
    allow_special: bool | None = Field(description=_ALLOW_SPECIAL)
    widest_ipv4: int | None = Field(description=_WIDEST_IPV4)
    widest_ipv6: int | None = Field(description=_WIDEST_IPV6)


class PolicyModel(ResponseModel):
    """The policy of the service, or of an account."""

    model_config = response_example(
        {
            "account": None,
            "version": 1,
            "etag": '"v1"',
            "stored": {**dict.fromkeys(_EXAMPLE), "max_entries": 50},
            "effective": _EXAMPLE,
        }
    )

    account: str | None = Field(description="The account; null for the service.")
    version: int = Field(description="The version of the account, or of the policy of the service.")
    etag: str = Field(description="The version as an entity tag, for `If-Match`.")
    stored: StoredPolicyModel = Field(description="The options that are stored for it.")
    effective: EffectivePolicyModel = Field(
        description="What applies: the options of the account, then those of the service, then those that the process "
        "of the service was started with."
    )


class PolicyChangeModel(PolicyModel):
    """The policy after a change, and the lists that it does not fit. These lists stay as they are."""

    model_config = response_example(
        {
            "account": None,
            "version": 2,
            "etag": '"v2"',
            "stored": {**dict.fromkeys(_EXAMPLE), "max_entries": 20},
            "effective": {**_EXAMPLE, "max_entries": 20},
            "over_limit": ["acct-1"],
            "special": [],
            "more_over_limit": 0,
            "more_special": 0,
        }
    )

    over_limit: list[str] = Field(description="The first 1,000 accounts with more entries than the new limit.")
    special: list[str] = Field(description="The first 1,000 accounts with special-purpose ranges, no longer allowed.")
    more_over_limit: int = Field(description="The number of further accounts over the limit.")
    more_special: int = Field(description="The number of further accounts with special-purpose ranges.")


class PolicyRequestModel(RequestModel):
    """The options to store: all of them. One that is left out, or null, is not stored any more."""

    model_config = request_example({"max_entries": 50})

    max_entries: int | None = Field(
        None, ge=1, le=100_000, strict=True, description=_MAX_ENTRIES, json_schema_extra=without_default
    )
    allow_special: bool | None = Field(None, strict=True, description=_ALLOW_SPECIAL, json_schema_extra=without_default)
    widest_ipv4: int | None = Field(
        None, ge=0, le=32, strict=True, description=_WIDEST_IPV4, json_schema_extra=without_default
    )
    widest_ipv6: int | None = Field(
        None, ge=0, le=128, strict=True, description=_WIDEST_IPV6, json_schema_extra=without_default
    )


@router.get("/policy", response_model=PolicyModel, responses=answers(headers={200: READ}))
def get_policy(request: Request, _principal: Known) -> Response:
    """Return the policy of the service."""
    return _read(service_of(request).manager.policy_state())


@router.put("/policy", response_model=PolicyChangeModel, responses=answers(409, 412, body=True))
def set_policy(asked: store_request, policy: PolicyRequestModel) -> Response:
    """Store the policy of the service. Only for admins. No list changes; those that it does not fit are named."""
    return _set(asked, None, policy)


@router.get(
    "/accounts/{account_name:account}/policy", response_model=PolicyModel, responses=answers(404, headers={200: READ})
)
def get_account_policy(request: Request, _principal: Reader, account_name: AccountName) -> Response:
    """Return what an account overrides of the policy, and what applies to it. A subaccount has that of its parent."""
    return _read(service_of(request).manager.policy_state(account_name))


@router.put(
    "/accounts/{account_name:account}/policy",
    response_model=PolicyChangeModel,
    responses=answers(404, 409, 412, body=True),
)
def set_account_policy(account_name: AccountName, asked: unguarded_request, policy: PolicyRequestModel) -> Response:
    """Store what an account overrides of the policy. Only for admins. Its list does not change."""
    return _set(asked, account_name, policy)


def _read(state: PolicyState) -> Response:
    return Answer({**policy_record(state), "etag": etag(state.version)}).read(state.version)


def _set(asked: ChangeRequest, account: str | None, policy: PolicyRequestModel) -> Response:
    options: dict[str, Any] = {name: getattr(policy, name) for name in OPTION_NAMES}

    def record(_: Transaction, made: object) -> dict[str, Any]:
        if not isinstance(made, PolicyChange):
            raise AssertionError("the hook got no change of the policy")
        return {**policy_change_record(made), "etag": etag(made.state.version)}

    return asked.answered(lambda manager, arguments: manager.set_policy(account, **options, **arguments), record=record)
