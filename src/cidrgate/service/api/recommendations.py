"""`/v1/accounts/{account_name}/recommendation`: the best list for the recorded traffic of an account."""

from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any, get_args

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from cidrgate.errors import InvalidAddressError
from cidrgate.foresight.recommending import LeftOutReason
from cidrgate.manager.recommendations import AccountRecommendation
from cidrgate.rules.policy import Policy
from cidrgate.serialization import (
    narrower_record,
    recommendation_record,
    unused_record,
    utc_text,
)
from cidrgate.service.api.account_paths import AccountName
from cidrgate.service.api.evaluations import Days, UnknownModel
from cidrgate.service.api.openapi import READ, answers
from cidrgate.service.api.schemas import ResponseModel, open_enum, response_example
from cidrgate.service.auth.access import Reader
from cidrgate.service.http.idempotency import Answer
from cidrgate.service.http.integers import PLAIN
from cidrgate.service.http.limits import LONGEST_ADDRESS, LONGEST_QUERY
from cidrgate.service.http.problems import InvalidRequestError
from cidrgate.service.http.strict_requests import StrictRoute
from cidrgate.service.settings import service_of

__all__ = [
    "CurvePointModel",
    "LeftOutModel",
    "NarrowerEntryModel",
    "RecommendationModel",
    "RecommendedNetworkModel",
    "UnusedEntryModel",
    "router",
]

router = APIRouter(prefix="/v1/accounts/{account_name:account}", tags=["questions"], route_class=StrictRoute)

_MOST_ENTRIES = 1_000
"""The most entries that a request may ask for, so that it is answered in a few seconds."""

_MOST_IN_QUERY = 500
"""How many networks the longest query has room for, if they are as short as `8.8.8.8`."""

_MOST_LEFT_OUT = 1_000
"""How many addresses that are left out a response names."""


class RecommendedNetworkModel(ResponseModel):
    """One entry of the recommended list."""

    cidr: str = Field(description="The network.")
    observed: int = Field(description="How many addresses, or truncated networks, were observed inside.")
    requests: int = Field(description="How many requests they made.")


class CurvePointModel(ResponseModel):
    """The best list of one number of entries."""

    entries: int = Field(description="The number of entries.")
    extra_ipv4: int = Field(
        description="The IPv4 addresses that it allows and nobody was seen to use, without those of forced networks."
    )
    extra_ipv6: str = Field(description="The same for IPv6, in decimal digits.")


class LeftOutModel(ResponseModel):
    """An address or a network that the recommended list does not cover."""

    network: str = Field(description="The address as a CIDR, or the network.")
    reason: str = Field(description="Why.", json_schema_extra=open_enum(get_args(LeftOutReason)))
    requests: int = Field(description="How many requests it made.")
    explanation: str = Field(description="The reason in words.")


class UnusedEntryModel(ResponseModel):
    """An entry of the list that no request needed."""

    id: int = Field(description="The id of the entry.")
    cidr: str = Field(description="Its network.")
    last_seen: datetime | None = Field(description="When an address of it was seen last; null if it never was.")


class NarrowerEntryModel(ResponseModel):
    """An entry of the list of which the observed addresses fit into a narrower network."""

    id: int = Field(description="The id of the entry.")
    cidr: str = Field(description="Its network.")
    narrower: str = Field(description="The narrowest network that has every observed address.")
    fewer_addresses: str = Field(description="How many addresses fewer that allows, in decimal digits.")
    observed: int = Field(description="How many addresses, or truncated networks, were observed inside.")
    requests: int = Field(description="How many requests they made.")


class RecommendationModel(ResponseModel):
    """The best list for the recorded traffic of an account, and a review of the list that it has."""

    model_config = response_example(
        {
            "account": "acct-1",
            "version": 3,
            "days": 30,
            "since": "2026-12-04T00:00:00+00:00",
            "networks": [{"cidr": "8.8.8.8/31", "observed": 2, "requests": 1211}],
            "extra_ipv4": 0,
            "extra_ipv6": "0",
            "observed": 2,
            "observed_networks": 0,
            "requests": 1211,
            "requests_newly_allowed": 0,
            "requests_left_out": 1,
            "left_out": [
                {
                    "network": "9.9.9.9/32",
                    "reason": "denied",
                    "requests": 1,
                    "explanation": "requests from it are denied",
                }
            ],
            "more_left_out": 0,
            "curve": [{"entries": 1, "extra_ipv4": 0, "extra_ipv6": "0"}],
            "unused": [{"id": 8, "cidr": "1.1.1.1/32", "last_seen": None}],
            "narrower": [
                {
                    "id": 7,
                    "cidr": "8.8.8.0/24",
                    "narrower": "8.8.8.8/31",
                    "fewer_addresses": "254",
                    "observed": 2,
                    "requests": 1211,
                }
            ],
            "unknown": [],
        }
    )

    account: str = Field(description="The account.")
    version: int = Field(description="The version of its list; send it as `If-Match` with a change.")
    days: int = Field(description="For how many days in UTC, with today, traffic was read.")
    since: datetime = Field(description="The begin of the traffic; later than asked if none was recorded before.")
    networks: list[RecommendedNetworkModel] = Field(
        description="The recommended list, in address order: as few entries as have the fewest extra addresses."
    )
    extra_ipv4: int = Field(
        description="The IPv4 addresses that the list allows and nobody was seen to use, without those of forced "
        "networks and of truncated networks that were observed."
    )
    extra_ipv6: str = Field(description="The same for IPv6, in decimal digits.")
    observed: int = Field(description="How many addresses, or truncated networks, the list covers.")
    observed_networks: int = Field(
        description="How many of these are truncated networks. Which of their addresses called is not known; the list "
        "allows all of them."
    )
    requests: int = Field(description="How many requests they made.")
    requests_newly_allowed: int = Field(
        description="How many denied requests the list would allow, because an entry covers their address or "
        "network. They are not in `requests`."
    )
    requests_left_out: int = Field(description="How many requests the list does not cover.")
    left_out: list[LeftOutModel] = Field(
        description=f"The first {_MOST_LEFT_OUT:,} addresses that the list does not cover, by reason."
    )
    more_left_out: int = Field(description="How many there are beyond those.")
    curve: list[CurvePointModel] = Field(
        description="For each number of entries that can cover everything, up to the most that were allowed: the extra "
        "addresses of the best list."
    )
    unused: list[UnusedEntryModel] = Field(
        description="The entries of the account that no request needed since `since`. Entries that were added during "
        "the days are too young for it."
    )
    narrower: list[NarrowerEntryModel] = Field(description="The entries of the account that could be narrower.")
    unknown: list[UnknownModel] = Field(
        description="What is not known, with the codes `incomplete`, `short_window` and `truncated` of an evaluation."
    )


_Networks = Annotated[
    list[Annotated[str, Field(max_length=LONGEST_ADDRESS)]],
    Query(max_length=_MOST_IN_QUERY),
]
_ROOM = f"A query has at most {LONGEST_QUERY:,} bytes, which is room for about 120 long IPv6 networks."


@router.get("/recommendation", response_model=RecommendationModel, responses=answers(404, 409, headers={200: READ}))
def recommend_list(
    request: Request,
    _principal: Reader,
    account_name: AccountName,
    days: Days = 30,
    max_entries: Annotated[
        int | None,
        Query(
            ge=1,
            le=_MOST_ENTRIES,
            description="The most entries; as many as the policy allows if it is missing, and not more.",
        ),
        PLAIN,
    ] = None,
    widest_ipv4: Annotated[
        int | None,
        Query(ge=0, le=32, description="The shortest length of an IPv4 entry; the policy's if it is missing."),
        PLAIN,
    ] = None,
    widest_ipv6: Annotated[
        int | None,
        Query(ge=0, le=128, description="The shortest length of an IPv6 entry; the policy's if it is missing."),
        PLAIN,
    ] = None,
    force: Annotated[
        _Networks,
        Query(description=f"Networks that the list allows whole, used or not; not counted as extra. {_ROOM}"),
    ] = [],  # noqa: B006
    exclude: Annotated[_Networks, Query(description=f"Addresses and networks that no entry overlaps. {_ROOM}")] = [],  # noqa: B006
    include_denied: Annotated[bool, Query(description="Covers addresses that the list denies now, too.")] = False,
) -> Response:
    """Recommend the list that covers who called and allows the fewest other addresses. Nothing is changed.

    The traffic of the account and its subaccounts counts, of at most 100,000 addresses. A subaccount has no list of its
    own: ask for its parent.
    """
    manager = service_of(request).manager
    policy = manager.policy_state(account_name).effective
    asked = {"max_entries": max_entries, "widest_ipv4": widest_ipv4, "widest_ipv6": widest_ipv6}
    _refuse_beyond(policy, asked)
    try:
        found = manager.recommend(
            account_name,
            days,
            max_entries=min(policy.max_entries, _MOST_ENTRIES) if max_entries is None else max_entries,
            widest_ipv4=widest_ipv4,
            widest_ipv6=widest_ipv6,
            forced=force,
            excluded=exclude,
            include_denied=include_denied,
        )
    except InvalidAddressError as error:
        raise InvalidRequestError([{"code": error.code, "detail": str(error), "parameter": "exclude"}]) from error
    return Answer(_record(found)).read()


def _refuse_beyond(policy: Policy, asked: dict[str, int | None]) -> None:
    """Refuse limits that are wider than the policy's.

    Raises:
        InvalidRequestError: If one is.
    """
    bounds = {
        "max_entries": (1, policy.max_entries),
        "widest_ipv4": (policy.widest_ipv4, 32),
        "widest_ipv6": (policy.widest_ipv6, 128),
    }
    errors = [
        {
            "code": "out_of_range",
            "detail": f"must be from {least} to {most}, as the policy has it",
            "parameter": name,
        }
        for name, (least, most) in bounds.items()
        if (value := asked[name]) is not None and not least <= value <= most
    ]
    if errors:
        raise InvalidRequestError(errors)


def _record(found: AccountRecommendation) -> dict[str, Any]:
    record = recommendation_record(found.recommendation)
    left_out = record["left_out"]
    return {
        "account": found.account.name,
        "version": found.account.version,
        "days": found.days,
        "since": utc_text(found.since),
        **record,
        "left_out": left_out[:_MOST_LEFT_OUT],
        "more_left_out": max(0, len(left_out) - _MOST_LEFT_OUT),
        "unused": [unused_record(one) for one in found.unused],
        "narrower": [narrower_record(one) for one in found.narrower],
        "unknown": [asdict(one) for one in found.unknown],
    }
