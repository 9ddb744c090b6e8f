"""The JSON objects of the API, as the OpenAPI document describes them. Answers are made by `cidrgate.serialization`."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, FailFast, Field

from cidrgate.manager.confirmations import Guard
from cidrgate.rules import RULES
from cidrgate.service.http.limits import LONGEST_LABEL, MOST_SCOPES

__all__ = [
    "AccountModel",
    "AccountPage",
    "AddModel",
    "ChangeModel",
    "ChangePage",
    "CheckModel",
    "CreatedTokenModel",
    "DecisionModel",
    "EditModel",
    "EntryEditModel",
    "EntryModel",
    "EntryPage",
    "HealthModel",
    "ListChangeModel",
    "NewAccountModel",
    "NewSubaccountModel",
    "NewTokenModel",
    "PreviewModel",
    "PreviewRequest",
    "ProblemDetails",
    "ReadinessModel",
    "RemoveModel",
    "ReplaceModel",
    "RestoreModel",
    "RestoreRequest",
    "SessionModel",
    "SessionPage",
    "SubmissionModel",
    "TokenModel",
    "TokenPage",
    "WhoAmIModel",
    "plain_label",
]

MOST_ID = 2**63 - 1
"""The greatest key of any database."""


def _written(time: object) -> object:
    """A time that is written as RFC 3339 says; a number could be seconds of any kind."""
    if isinstance(time, datetime) or (isinstance(time, str) and time[4:5] == "-"):
        return time
    raise ValueError("write a time as 2027-01-31T18:00:00+00:00")


def _in_range(time: datetime) -> datetime:
    """A time that is one in UTC too."""
    try:
        return time.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("this time is too far away") from error


def _unicode(text: str) -> str:
    """A text that can be sent back: JSON can write halves of characters that Unicode has no encoding for."""
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("this is no Unicode text: it holds half a character")
    return text


def plain_label(text: str) -> str:
    """A label that customers may give: any store holds it, and any page shows it on its line.

    Raises:
        ValueError: If it is too long, or holds control characters.
    """
    if len(text) > LONGEST_LABEL or not text.isprintable():
        raise ValueError(f"a label is one line of at most {LONGEST_LABEL} characters, without control characters")
    return text


class _FirstErrorOnly(FailFast):
    """A list whose first wrong element is reported alone: each of a hundred thousand would be an error of its own."""

    def __hash__(self) -> int:
        return hash(type(self))


Text = Annotated[str, AfterValidator(_unicode)]
Time = Annotated[AwareDatetime, BeforeValidator(_written), AfterValidator(_in_range)]
Label = Annotated[str, Field(max_length=LONGEST_LABEL, description="What people call it."), AfterValidator(plain_label)]
Identity = Annotated[int, Field(ge=1, le=MOST_ID, strict=True)]


class _Answer(BaseModel):
    model_config = ConfigDict(json_schema_serialization_defaults_required=True)


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid")


_ENTRY = {
    "id": 7,
    "account": "acct-1",
    "cidr": "8.8.8.0/24",
    "prefix_length": 24,
    "subnet_mask": "255.255.255.0",
    "addresses": 256,
    "label": "office",
    "created_at": "2026-01-02T03:04:05+00:00",
    "created_by": "billing",
    "expires_at": None,
    "expired": False,
    "last_matched_at": None,
}


def _example(example: Any) -> ConfigDict:
    return ConfigDict(json_schema_extra={"examples": [example]})


def _request_example(example: Any) -> ConfigDict:
    return ConfigDict(extra="forbid", json_schema_extra={"examples": [example]})


class EntryModel(_Answer):
    """One entry of a list."""

    model_config = _example(_ENTRY)

    id: int = Field(description="Stable: an edit keeps it.")
    account: str = Field(description="The account whose list holds it.")
    cidr: str = Field(description="Canonical text.")
    prefix_length: int
    subnet_mask: str = Field(description="Dotted for IPv4; the length after a slash for IPv6.")
    addresses: int = Field(description="How many addresses it holds.")
    label: str | None
    created_at: datetime
    created_by: str | None
    expires_at: datetime | None = Field(description="When it ends by itself.")
    expired: bool
    last_matched_at: datetime | None = Field(
        description="When it last let an address in, up to an hour too early. Lists and entries that are asked for say "
        "so, where gates note it; else null."
    )


class AccountModel(_Answer):
    """An account. The list of a subaccount is its parent's."""

    model_config = _example(
        {
            "name": "acct-1",
            "parent": None,
            "entries": 1,
            "enforced": True,
            "version": 3,
            "created_at": "2026-01-02T03:04:05+00:00",
        }
    )

    name: str
    parent: str | None = Field(description="The account whose list it inherits.")
    entries: int = Field(description="How many entries count for it, without expired ones.")
    enforced: bool = Field(
        description="Whether addresses that are not listed are denied: so they are while the list that counts has "
        "entries, expired ones too. For a subaccount, whether its parent's list is enforced."
    )
    version: int = Field(description="How often its own list was changed.")
    created_at: datetime


class AccountPage(_Answer):
    """Some accounts, by name."""

    items: list[AccountModel]
    next_cursor: str | None = Field(description="For the next page; null on the last one.")


class EntryPage(_Answer):
    """Some entries of a list, in address order."""

    account: str = Field(description="The account asked about.")
    list_of: str = Field(description="The account whose list it is: the parent's for a subaccount.")
    version: int = Field(description="The list's; also the ETag.")
    enforced: bool = Field(description="Whether addresses that are not listed are denied.")
    editable: bool = Field(description="Whether this token may change the list through this account.")
    max_entries: int = Field(description="How many entries a list may hold.")
    items: list[EntryModel]
    next_cursor: str | None


class ListChangeModel(_Answer):
    """What a change did to a list."""

    model_config = _example(
        {
            "account": "acct-1",
            "version": 4,
            "enforced": True,
            "entries": 1,
            "before": [],
            "after": [_ENTRY],
        }
    )

    account: str
    version: int = Field(description="The list's after the change; also the ETag.")
    enforced: bool
    entries: int = Field(description="How many entries the list has after the change.")
    before: list[EntryModel] = Field(description="The entries it removed or altered, as they were.")
    after: list[EntryModel] = Field(description="The entries it added or altered, as they are now.")


class NewAccountModel(_Request):
    """An account to create."""

    model_config = _request_example({"name": "acct-1"})

    name: Text = Field(description="Up to 255 characters; no control characters, no spaces around it.")
    parent: Text | None = Field(None, description="The account whose list it inherits.")


class NewSubaccountModel(_Request):
    """A subaccount to create."""

    model_config = _request_example({"name": "sub-1"})

    name: Text = Field(description="Up to 255 characters; no control characters, no spaces around it.")


class NewEntryModel(_Request):
    """One or several networks with a label and an end of their own."""

    cidr: Text
    label: Label | None = None
    expires_at: Time | None = None


_Cidrs = Annotated[
    Text | Annotated[list[Text | NewEntryModel], _FirstErrorOnly()],
    Field(description="CIDRs separated by commas or newlines, or a list of such texts and of objects."),
]


class SubmissionModel(_Request):
    """Networks somebody asks to have listed."""

    model_config = _request_example({"cidrs": "8.8.8.0/24, 1.1.1.1/32", "label": "office"})

    cidrs: _Cidrs
    label: Label | None = Field(None, description="Of every entry that brings none of its own.")
    expires_at: Time | None = Field(None, description="When every entry ends that brings no such time.")


class EntryEditModel(_Request):
    """What shall be different of an entry; what is left out stays."""

    model_config = _request_example({"cidr": "1.1.1.0/24"})

    cidr: Text | None = Field(None, description="The network it shall have; null keeps it.")
    label: Label | None = Field(None, description="The label it shall have; null for no label.")
    expires_at: Time | None = Field(None, description="When it shall end; null for never.")


class RestoreRequest(_Request):
    """A list of the past."""

    model_config = _request_example({"sequence": 12})

    sequence: int = Field(
        ge=0, le=MOST_ID, strict=True, description="The list as it was after this change of the history."
    )


class AddModel(SubmissionModel):
    """Add entries."""

    model_config = _request_example({"change": "add", "cidrs": "8.8.8.0/24, 1.1.1.1/32", "label": "office"})

    change: Literal["add"]


class EditModel(EntryEditModel):
    """Edit an entry."""

    model_config = _request_example({"change": "edit", "entry": 7, "cidr": "1.1.1.0/24"})

    change: Literal["edit"]
    entry: Identity = Field(description="Its id.")


class RemoveModel(_Request):
    """Remove entries."""

    model_config = _request_example({"change": "remove", "entries": [7]})

    change: Literal["remove"]
    entries: Annotated[list[Identity], _FirstErrorOnly()] = Field(description="Their ids.")


class ReplaceModel(SubmissionModel):
    """Replace the list."""

    model_config = _request_example({"change": "replace", "cidrs": "8.8.8.0/24"})

    change: Literal["replace"]


class RestoreModel(RestoreRequest):
    """Restore a list of the past."""

    model_config = _request_example({"change": "restore", "sequence": 12})

    change: Literal["restore"]


PreviewRequest = Annotated[
    AddModel | EditModel | RemoveModel | ReplaceModel | RestoreModel,
    Field(
        discriminator="change",
        examples=[{"change": "add", "cidrs": "8.8.8.8, 1.1.1.1/32"}],
    ),
]


class RuleProblem(_Answer):
    """One broken rule."""

    code: str = Field(
        description="; ".join(f"`{rule.code}`: {rule.when}" for rule in RULES) + ".",
        json_schema_extra={"enum": [rule.code for rule in RULES]},
    )
    text: str = Field(description="The text as it was submitted.")
    position: int = Field(description="Its place in the submission, from 0.")
    conflicts: list[str] = Field(description="What it conflicts with; the first 100.")
    hint: str = Field(description="What to do about it.")
    more_conflicts: int = Field(description="How many conflicts there are besides.")


class PreviewProblem(RuleProblem):
    """One broken rule, and what could be written instead."""

    suggestions: list[str] = Field(description="Networks that were probably meant, each as it can be submitted.")


class CallerModel(_Answer):
    """What a change means for the one who asks."""

    address: str | None = Field(description="The address the request came from; null if it cannot be told.")
    allowed_before: bool
    allowed_after: bool
    covered_by: str | None = Field(description="The entry that covers the address after the change.")
    would_lock_out: bool = Field(description="Whether the change must be confirmed with `lock_out`.")


class PreviewModel(_Answer):
    """What a change would do."""

    model_config = _example(
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
    version: int = Field(description="The version of the list it was worked out for.")
    ok: bool = Field(description="Whether it could be made.")
    problems: list[PreviewProblem] = Field(description="The broken rules; the first 100.")
    more_problems: int = Field(description="How many there are besides.")
    message: str | None = Field(description="Why it could not be made, where no rule is broken.")
    before: list[EntryModel] = Field(description="The entries it would remove or alter, as they are.")
    after: list[EntryModel] = Field(description="The entries it would add or alter; a new one has an id below 0.")
    enforcement_begins: bool = Field(description="Then every address that is not listed loses access.")
    enforcement_ends: bool = Field(description="Then every address gains access.")
    loses_access: list[str] = Field(description="The networks that lose access; empty when enforcement begins or ends.")
    gains_access: list[str] = Field(description="The networks that gain access, likewise.")
    more_lose_access: int = Field(description="How many networks lose access beyond the first 1,000, which are named.")
    more_gain_access: int = Field(description="How many gain it, likewise.")
    caller: CallerModel | None = Field(description="What it means for the one who asks; null if it cannot be made.")
    confirm: list[Guard] = Field(
        description="What the change must be sent with as `confirm`; empty where nothing asks."
    )


class CheckModel(_Answer):
    """Whether an address may act for an account, as the matcher says."""

    model_config = _example({"account": "acct-1", "address": "8.8.8.8", "allowed": True})

    account: str
    address: str
    allowed: bool


class DecisionModel(_Answer):
    """Why an address may, or may not, act for an account, as the store says."""

    model_config = _example(
        {
            "account": "acct-1",
            "address": "8.8.8.8",
            "allowed": True,
            "reason": "matched",
            "decided_by": "acct-1",
            "entry": _ENTRY,
            "nearest": None,
        }
    )

    account: str
    address: str
    allowed: bool
    reason: Literal["matched", "not_listed", "not_enforced", "invalid_address"]
    decided_by: str = Field(description="The account whose list decided: the parent's for a subaccount.")
    entry: EntryModel | None = Field(description="The longest matching entry.")
    nearest: EntryModel | None = Field(description="The entry that shares most leading bits with a denied address.")


class ChangeModel(_Answer):
    """One change of the history."""

    model_config = _example(
        {
            "sequence": 12,
            "at": "2026-01-02T03:04:05+00:00",
            "actor": "billing",
            "account": "acct-1",
            "action": "add",
            "before": [],
            "after": [_ENTRY],
        }
    )

    sequence: int
    at: datetime
    actor: str | None
    account: str
    action: str
    before: list[EntryModel]
    after: list[EntryModel]


class ChangePage(_Answer):
    """Some changes, the newest first."""

    items: list[ChangeModel]
    next_cursor: str | None


class NewTokenModel(_Request):
    """A token to make."""

    model_config = _request_example({"name": "billing", "scopes": ["account:acct-1:write"]})

    name: Text = Field(description="What people call it; the history names it as the one who made a change.")
    scopes: Annotated[list[Text], _FirstErrorOnly()] = Field(
        max_length=MOST_SCOPES, description="`admin`, `metrics`, `account:NAME:read`, `account:NAME:write`."
    )
    expires_at: Time | None = None


_TOKEN = {
    "id": 3,
    "name": "billing",
    "scopes": ["account:acct-1:write"],
    "created_at": "2026-01-02T03:04:05+00:00",
    "created_by": "ops",
    "expires_at": None,
    "revoked_at": None,
}


class TokenModel(_Answer):
    """A token, without its secret."""

    model_config = _example(_TOKEN)

    id: int
    name: str
    scopes: list[str]
    created_at: datetime
    created_by: str | None
    expires_at: datetime | None
    revoked_at: datetime | None


class CreatedTokenModel(TokenModel):
    """A token that was just made."""

    model_config = _example({**_TOKEN, "token": "cidrgate_3_0000000000000000000000000000000000000000000"})

    token: str | None = Field(description="What to send. Shown this once: null when the answer is repeated.")


class TokenPage(_Answer):
    """Some tokens, by id."""

    items: list[TokenModel]
    next_cursor: str | None


class SessionModel(_Answer):
    """Somebody who is signed in to the console."""

    model_config = _example(
        {
            "id": "9f86d081884c7d65",
            "name": "billing",
            "scopes": ["account:acct-1:write"],
            "token": 3,
            "by_link": False,
            "address": "198.51.100.7",
            "created_at": "2026-01-02T03:04:05+00:00",
            "expires_at": "2026-01-02T15:04:05+00:00",
        }
    )

    id: str
    name: str
    scopes: list[str]
    token: int | None = Field(
        description="The id of the token it ends with; null for a link that was made without one."
    )
    by_link: bool = Field(description="Whether it was begun with a one-time link.")
    address: str | None = Field(description="Where it was begun; null if that is not known.")
    created_at: datetime
    expires_at: datetime


class SessionPage(_Answer):
    """Some sessions, the newest first."""

    items: list[SessionModel]
    next_cursor: str | None


class WhoAmIModel(_Answer):
    """Who asks, and from where."""

    model_config = _example({"name": "billing", "scopes": ["account:acct-1:write"], "address": "198.51.100.7"})

    name: str
    scopes: list[str]
    address: str | None = Field(description="The address the request came from, as the guard sees it.")


class HealthModel(_Answer):
    """That the process answers."""

    status: Literal["ok"]


class ReadinessModel(_Answer):
    """Whether the service can be sent requests."""

    status: Literal["ready", "stale"]
    staleness: float | None = Field(description="Seconds since the matcher was last known to equal the store.")


class ProblemDetails(_Answer):
    """An error, by RFC 9457."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "examples": [
                {
                    "type": "urn:cidrgate:problem:rule",
                    "title": "Unprocessable Entity",
                    "status": 422,
                    "detail": "invalid_format: '8.8.8.8': add the length: 8.8.8.8/32",
                    "code": "rule",
                    "problems": [
                        {
                            "code": "invalid_format",
                            "text": "8.8.8.8",
                            "position": 0,
                            "conflicts": [],
                            "hint": "add the length: 8.8.8.8/32",
                            "more_conflicts": 0,
                        }
                    ],
                    "confirm": [],
                    "more_problems": 0,
                }
            ]
        },
    )

    type: str = Field(description="`urn:cidrgate:problem:` and the code.")
    title: str
    status: int
    detail: str = Field(description="What is wrong and what to do about it.")
    code: str = Field(description="What kind of error it is.")
    problems: list[RuleProblem] = Field(description="Every broken rule of a submission, the first 100; else empty.")
    more_problems: int = Field(description="How many there are besides.")
    confirm: list[Guard] = Field(
        description="What to repeat the request with as `confirm`, where a guard refused it; else empty."
    )
