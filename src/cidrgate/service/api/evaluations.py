"""What previews and dry runs say of the requests of the past: the models of an evaluation."""

from datetime import datetime
from typing import Annotated, get_args

from fastapi import Query
from pydantic import Field

from cidrgate.foresight.evaluation import MOST_DAYS, MOST_NAMED, UnknownCode
from cidrgate.service.api.schemas import ResponseModel, open_enum, response_example
from cidrgate.service.http.integers import PLAIN

__all__ = [
    "EVALUATION_EXAMPLE",
    "AccountEvaluationModel",
    "AffectedNetworkModel",
    "AffectedTrafficModel",
    "Days",
    "EvaluationModel",
    "TrafficTotalModel",
    "UnknownModel",
]

Days = Annotated[
    int,
    Query(ge=1, le=MOST_DAYS, description="For how many days in UTC, with today, to read the recorded traffic."),
    PLAIN,
]

_TOTAL = {"addresses": 1, "networks": 0, "requests": 7}
_NOTHING = {"addresses": 0, "networks": 0, "requests": 0}
_NO_TRAFFIC = {**_NOTHING, "accounts": 0, "named": []}

EVALUATION_EXAMPLE = {
    "days": 30,
    "since": "2026-12-04T00:00:00+00:00",
    "until": "2027-01-02T15:04:05+00:00",
    "lists": 1,
    "newly_denied": {
        **_TOTAL,
        "accounts": 1,
        "named": [
            {
                "account": "acct-1",
                "network": "8.8.8.8/32",
                "requests": 7,
                "first_seen": "2026-12-24T08:00:00+00:00",
                "last_seen": "2027-01-02T09:30:00+00:00",
            }
        ],
    },
    "newly_allowed": _NO_TRAFFIC,
    "partly_denied": _NO_TRAFFIC,
    "partly_allowed": _NO_TRAFFIC,
    "denied_if_unlisted": _NO_TRAFFIC,
    "allowed_if_unlisted": _NO_TRAFFIC,
    "allowed_if_created": _NO_TRAFFIC,
    "still_allowed": {"addresses": 3, "networks": 0, "requests": 1204},
    "still_denied": _NOTHING,
    "still_mixed": _NOTHING,
    "accounts": [
        {
            "account": "acct-1",
            "newly_denied": _TOTAL,
            "newly_allowed": _NOTHING,
            "partly_denied": _NOTHING,
            "partly_allowed": _NOTHING,
            "denied_if_unlisted": _NOTHING,
            "allowed_if_unlisted": _NOTHING,
            "allowed_if_created": _NOTHING,
        }
    ],
    "more_accounts": 0,
    "unknown": [],
}


class TrafficTotalModel(ResponseModel):
    """A sum of observed requests."""

    addresses: int = Field(description="From how many single addresses they came.")
    networks: int = Field(description="From how many networks, of which the single addresses were not kept, they came.")
    requests: int = Field(description="How many requests they are.")


class AffectedNetworkModel(ResponseModel):
    """An address or a network whose requests a change affects."""

    account: str = Field(description="The account for which it acted.")
    network: str = Field(description="The address as a CIDR, or a wider network if single addresses were not kept.")
    requests: int = Field(description="How many requests were observed, allowed and denied.")
    first_seen: datetime = Field(description="The time of the first of them.")
    last_seen: datetime = Field(description="The time of the last of them.")


class AffectedTrafficModel(TrafficTotalModel):
    """A sum of requests that a change affects, with the networks from which most of them came."""

    accounts: int = Field(description="For how many accounts they were.")
    named: list[AffectedNetworkModel] = Field(
        description=f"The first {MOST_NAMED:,} addresses and networks, those with the most requests first."
    )


class AccountEvaluationModel(ResponseModel):
    """What a change would do to the observed requests of one account."""

    account: str = Field(description="The account.")
    newly_denied: TrafficTotalModel = Field(description="What would be denied and is allowed now.")
    newly_allowed: TrafficTotalModel = Field(description="What would be allowed and is denied now.")
    partly_denied: TrafficTotalModel = Field(description="Networks of which a part would be newly denied.")
    partly_allowed: TrafficTotalModel = Field(description="Networks of which a part would be newly allowed.")
    denied_if_unlisted: TrafficTotalModel = Field(
        description="What is allowed now, if the account is deleted or renamed."
    )
    allowed_if_unlisted: TrafficTotalModel = Field(
        description="What is denied now, if the account is deleted or renamed."
    )
    allowed_if_created: TrafficTotalModel = Field(description="What would be allowed, if the account is created.")


class UnknownModel(ResponseModel):
    """Something that an evaluation does not know."""

    code: str = Field(description="Why it is not known.", json_schema_extra=open_enum(get_args(UnknownCode)))
    text: str = Field(description="What is not known, and why, in one sentence.")


class EvaluationModel(ResponseModel):
    """What a change would do to the observed requests. An address that was not observed is in no number."""

    model_config = response_example(EVALUATION_EXAMPLE)

    days: int | None = Field(description="For how many days in UTC, with today, observations were looked for.")
    since: datetime | None = Field(description="From when on requests were observed; null if none were.")
    until: datetime = Field(description="When the evaluation was made.")
    lists: int = Field(description="How many lists would allow other networks than now.")
    newly_denied: AffectedTrafficModel = Field(description="What would be denied and is allowed now.")
    newly_allowed: AffectedTrafficModel = Field(description="What would be allowed and is denied now.")
    partly_denied: AffectedTrafficModel = Field(
        description="Networks of which a part would be denied that is allowed now. Which of their requests came from "
        "that part is not known."
    )
    partly_allowed: AffectedTrafficModel = Field(
        description="Networks of which a part would be allowed that is denied now, in the same way."
    )
    denied_if_unlisted: AffectedTrafficModel = Field(
        description="What is allowed now, for accounts that the change deletes or renames: gates whose `unlisted` is "
        "`deny` or `deny_unknown` would deny it."
    )
    allowed_if_unlisted: AffectedTrafficModel = Field(
        description="What is denied now, for accounts that the change deletes or renames: gates whose `unlisted` is "
        "`allow` would allow it."
    )
    allowed_if_created: AffectedTrafficModel = Field(
        description="What would be allowed, for accounts that the change creates: gates whose `unlisted` is `deny` or "
        "`deny_unknown` deny it now. The other numbers about such accounts hold for gates whose `unlisted` is `allow`."
    )
    still_allowed: TrafficTotalModel = Field(description="What is allowed before and after the change.")
    still_denied: TrafficTotalModel = Field(description="What is denied before and after the change.")
    still_mixed: TrafficTotalModel = Field(
        description="Networks of which a part is allowed, the same before and after the change."
    )
    accounts: list[AccountEvaluationModel] = Field(
        description=f"The first {MOST_NAMED:,} accounts that are affected, those with the most requests that would be "
        "denied first; also subaccounts that inherit the list."
    )
    more_accounts: int = Field(description="How many accounts are affected beyond those.")
    unknown: list[UnknownModel] = Field(
        description="What is not known. Only if it is empty, all requests of the time are in the numbers."
    )
