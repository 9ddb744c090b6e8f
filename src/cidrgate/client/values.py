"""The responses of the service, as values with the fields of the OpenAPI document's objects."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime  # noqa: TC003 - the types of fields say how they are read
from typing import TYPE_CHECKING, Any, cast

from cidrgate.client.decoding import DIGITS, UnexpectedJsonError, value_of
from cidrgate.errors import Confirmation, Problem
from cidrgate.serialization import EntryInfo

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cidrgate.errors import ProblemCode

__all__ = [
    "UnusedEntryInfo",
    "RecommendedNetworkInfo",
    "RecommendationInfo",
    "NarrowerEntryInfo",
    "LeftOutInfo",
    "CurvePointInfo",
    "AccountDeletionInfo",
    "AccountChange",
    "AccountEvaluationInfo",
    "AccountInfo",
    "AccountProblem",
    "AffectedNetworkInfo",
    "AffectedTrafficInfo",
    "ApplyInfo",
    "CallerInfo",
    "ChangeInfo",
    "CheckInfo",
    "DecisionInfo",
    "EntryInfo",
    "EvaluationInfo",
    "FoundEntryInfo",
    "LinkInfo",
    "ListChange",
    "ListInfo",
    "PolicyChangeInfo",
    "PolicyInfo",
    "OriginInfo",
    "PreviewInfo",
    "ProblemErrorInfo",
    "ProblemInfo",
    "ProblemTypeInfo",
    "SessionInfo",
    "StatusInfo",
    "TokenInfo",
    "TrafficTotalInfo",
    "UnknownInfo",
    "WhoAmI",
    "problem_of",
    "rules_of",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProblemErrorInfo:
    """One thing that is wrong: a broken rule, or an invalid part of a request.

    Attributes:
        code: The code of a rule, or what is wrong with a part of the request. Later versions may add codes.
        detail: What is wrong and how to correct it.
        pointer: The part of the body, as a JSON pointer.
        parameter: The parameter of the path or the query.
        header: The header.
        text: Of a rule: the submitted text.
        position: Of a rule: the position in the submission, from 0.
        conflicts: Of a rule: the networks that the text conflicts with.
        more_conflicts: Of a rule: the number of further conflicts.
        hint: Of a rule: how to correct it.
        suggestions: Of a rule: what could be submitted instead of the text.
    """

    code: str
    detail: str
    pointer: str | None = None
    parameter: str | None = None
    header: str | None = None
    text: str | None = None
    position: int | None = None
    conflicts: list[str] = field(default_factory=list, hash=False)
    more_conflicts: int = 0
    hint: str | None = None
    suggestions: list[str] = field(default_factory=list, hash=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProblemInfo:
    """Problem details (RFC 9457), as the service and the gates answer with them.

    Attributes:
        type: The path of the type's page: the prefix of the service, if it has one, `/problems/` and the code.
        title: The title of the type.
        status: The HTTP status.
        detail: What is wrong and how to correct it.
        code: The type, for programs; `http_error` for the response of something else, such as a proxy. Later versions
            may add codes.
        errors: What is wrong in particular.
        more_errors: The number of errors that are not in `errors`.
        confirm: The values of `confirm` that the change needs.
        data: What the problem is about, as JSON. The errors of the client have it as attributes.
        outcome: `unknown` if the change may or may not be stored.
        address: The client address, if it may not use the service.
        request_id: Identifies a denial in the operator's log.
    """

    type: str
    title: str
    status: int
    detail: str
    code: str
    errors: list[ProblemErrorInfo] = field(default_factory=list, hash=False)
    more_errors: int = 0
    confirm: list[Confirmation] = field(default_factory=list, hash=False)
    data: dict[str, Any] = field(default_factory=dict, hash=False)
    outcome: str | None = None
    address: str | None = None
    request_id: str | None = None

    def rules(self) -> list[Problem]:
        """Return the broken rules, as the library has them."""
        return rules_of(self.errors)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProblemTypeInfo:
    """A type of problem."""

    type: str
    code: str
    title: str
    status: int | None
    meaning: str
    advice: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountInfo:
    """An account.

    Attributes:
        name: The name.
        parent: The account whose list it inherits.
        entry_count: The number of entries that count for it, without expired ones.
        enforced: Whether unlisted addresses are denied.
        version: The number of changes of its own list and mode.
        created_at: When it was created.
        mode: The mode of the list that counts, as in `cidrgate.values.Mode`. Later versions may add values.
        mode_until: When that mode expires; None for never.
        mode_reason: Why that mode was set.
        closed: Whether the list that counts is enforced even while it is empty.
    """

    name: str
    parent: str | None
    entry_count: int
    enforced: bool
    version: int
    created_at: datetime
    mode: str = "enforce"
    mode_until: datetime | None = None
    mode_reason: str | None = None
    closed: bool = False
    display_name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountDeletionInfo:
    """What the deletion of an account deleted.

    Attributes:
        account: The name.
        parent: The account whose list it inherited.
        display_name: Its name for people.
        version: Its last version.
        entries: The entries of its own list.
        subaccounts: The subaccounts that were deleted with it.
    """

    account: str
    parent: str | None
    display_name: str | None
    version: int
    entries: list[EntryInfo] = field(hash=False)
    subaccounts: list[str] = field(hash=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyInfo:
    """The policy of the service, or of an account.

    Attributes:
        account: The account; None for the service.
        version: The version of the account, or of the policy of the service.
        etag: The version as an entity tag.
        stored: The options that are stored for it; None where nothing is stored.
        effective: The options that apply.
    """

    account: str | None
    version: int
    etag: str
    stored: dict[str, int | bool | None] = field(hash=False)
    effective: dict[str, int | bool] = field(hash=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyChangeInfo(PolicyInfo):
    """The policy after a change, and the lists that it does not fit.

    Attributes:
        over_limit: The first 1,000 accounts with more entries than the new limit.
        special: The first 1,000 accounts with special-purpose ranges that are not allowed any more.
        more_over_limit: The number of further accounts over the limit.
        more_special: The number of further accounts with special-purpose ranges.
    """

    over_limit: list[str] = field(hash=False)
    special: list[str] = field(hash=False)
    more_over_limit: int
    more_special: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundEntryInfo(EntryInfo):
    """An entry that a search across accounts found.

    Attributes:
        allows: Whether it allows the addresses of its network now, for its account and the subaccounts of that.
        subaccount_count: The number of subaccounts of its account, which inherit the list.
    """

    allows: bool
    subaccount_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ListInfo:
    """A whole list, in address order."""

    account: str
    list_account: str
    version: int
    etag: str
    enforced: bool
    editable: bool
    max_entries: int
    items: list[EntryInfo] = field(hash=False)
    mode: str = "enforce"


@dataclass(frozen=True, slots=True, kw_only=True)
class ListChange:
    """The effect of a change on a list.

    Attributes:
        account: The account whose list changed.
        version: The version of the list after the change; pass it as `expect_version` of the next.
        etag: The version as an entity tag.
        enforced: Whether unlisted addresses are denied after the change.
        entry_count: The number of entries that count after the change, without expired ones.
        before: The entries that the change removed or edited, as they were.
        after: The entries that it added or edited, as they are.
        mode: The mode of the list after the change.
        existing: With `if_missing`, the entries that cover submitted networks already.
    """

    account: str
    version: int
    etag: str
    enforced: bool
    entry_count: int
    before: list[EntryInfo] = field(hash=False)
    after: list[EntryInfo] = field(hash=False)
    mode: str = "enforce"
    existing: list[EntryInfo] = field(default_factory=list, hash=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountChange:
    """How an account differs from what was declared.

    Attributes:
        account: The account.
        created: Whether the account is created.
        parent: The account whose list it inherits, or None.
        version: The version of the list before the change.
        before: The entries that are removed or edited, as they were before.
        after: The entries that are added or edited, as they are afterwards.
        kept: The networks that are not declared and stay.
        confirm: The confirmations that the change needs.
    """

    account: str
    created: bool
    parent: str | None
    version: int
    before: list[EntryInfo] = field(hash=False)
    after: list[EntryInfo] = field(hash=False)
    kept: list[str] = field(hash=False)
    confirm: list[Confirmation] = field(hash=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountProblem:
    """Why an account cannot be what was declared.

    Attributes:
        account: The account.
        code: The type of the problem.
        detail: What is wrong and how to correct it.
        errors: The broken rules, as JSON objects; `position` counts the declared entries of the account.
        confirm: The service's names of the confirmations that the change needs; empty if none would help.
    """

    account: str
    code: str
    detail: str
    errors: list[dict[str, Any]] = field(hash=False)
    confirm: list[Confirmation] = field(default_factory=list, hash=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplyInfo:
    """What `apply_lists` changed, or would change.

    Attributes:
        drift: Whether an account differed from what was declared, or cannot be that.
        applied: Whether the changes were made.
        changes: The accounts that differ.
        unchanged_count: How many accounts are what was declared.
        kept_count: How many entries are not declared and stay.
        versions: The version of each account before the change, 0 of one that did not exist; pass it as
            `expect_versions`.
        refused: The accounts that cannot be what was declared.
        problems: Why they cannot.
        evaluation: Of a dry run: what the changes would do to the requests of the past; None if the service stores no
            traffic.
        evaluation_missing: Of a dry run: why there is no evaluation; None if there is one.
    """

    drift: bool
    applied: bool
    changes: list[AccountChange] = field(hash=False)
    unchanged_count: int
    kept_count: int
    versions: dict[str, int] = field(hash=False)
    refused: list[str] = field(hash=False)
    problems: list[AccountProblem] = field(hash=False)
    evaluation: EvaluationInfo | None = None
    evaluation_missing: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallerInfo:
    """What a change means for the caller.

    Attributes:
        address: The client address of the request; None if it is unknown.
        allowed_before: Whether it is allowed before the change.
        allowed_after: Whether it is allowed after the change.
        matched_cidr: The entry that allows it after the change.
        would_lock_out: Whether the change must be confirmed with `lock_out`.
    """

    address: str | None
    allowed_before: bool
    allowed_after: bool
    matched_cidr: str | None
    would_lock_out: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficTotalInfo:
    """A sum of observed requests: from how many single addresses and from how many networks they came."""

    addresses: int
    networks: int
    requests: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AffectedNetworkInfo:
    """An address or a network whose requests a change affects; see `cidrgate.foresight.AffectedNetwork`."""

    account: str
    network: str
    requests: int
    first_seen: datetime
    last_seen: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class AffectedTrafficInfo:
    """A sum of requests that a change affects; see `cidrgate.foresight.AffectedTraffic`."""

    addresses: int
    networks: int
    requests: int
    accounts: int
    named: list[AffectedNetworkInfo] = field(hash=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountEvaluationInfo:
    """What a change would do to the observed requests of one account."""

    account: str
    newly_denied: TrafficTotalInfo
    newly_allowed: TrafficTotalInfo
    partly_denied: TrafficTotalInfo
    partly_allowed: TrafficTotalInfo
    denied_if_unlisted: TrafficTotalInfo | None = None
    allowed_if_unlisted: TrafficTotalInfo | None = None
    allowed_if_created: TrafficTotalInfo | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownInfo:
    """Something that an evaluation does not know. Later versions may add codes."""

    code: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationInfo:
    """What a change would do to the requests of the past; see `cidrgate.foresight.Evaluation`."""

    days: int | None
    since: datetime | None
    until: datetime
    lists: int
    newly_denied: AffectedTrafficInfo
    newly_allowed: AffectedTrafficInfo
    partly_denied: AffectedTrafficInfo
    partly_allowed: AffectedTrafficInfo
    still_allowed: TrafficTotalInfo
    still_denied: TrafficTotalInfo
    still_mixed: TrafficTotalInfo
    accounts: list[AccountEvaluationInfo] = field(hash=False)
    more_accounts: int
    unknown: list[UnknownInfo] = field(hash=False)
    denied_if_unlisted: AffectedTrafficInfo | None = None
    allowed_if_unlisted: AffectedTrafficInfo | None = None
    allowed_if_created: AffectedTrafficInfo | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewInfo:
    """The effect that a change would have. It is true if the change could be made.

    Attributes:
        account: The account of the list.
        version: The version of the list that the preview is based on.
        ok: Whether the change could be made.
        errors: Why it could not be made.
        before: The entries that it would remove or edit, as they are now.
        after: The entries that it would add or edit; a new one has a negative id.
        enforcement_begins: Whether every unlisted address would lose access.
        enforcement_ends: Whether every address would gain access.
        loses_access: The networks that lose access.
        gains_access: The networks that gain access.
        caller: The effect on the caller; None if the change cannot be made.
        confirm: The values of `confirm` that the change needs.
        more_errors: The number of errors that are not in `errors`.
        more_lose_access: The number of networks that lose access beyond those in `loses_access`.
        more_gain_access: The number of networks that gain access beyond those in `gains_access`.
        evaluation: What the change would do to the requests of the past; None if the service stores no traffic, or the
            change cannot be made.
        evaluation_missing: Why there is no evaluation; None if there is one.
    """

    account: str
    version: int
    ok: bool
    errors: list[ProblemErrorInfo] = field(hash=False)
    before: list[EntryInfo] = field(hash=False)
    after: list[EntryInfo] = field(hash=False)
    enforcement_begins: bool
    enforcement_ends: bool
    loses_access: list[str] = field(hash=False)
    gains_access: list[str] = field(hash=False)
    caller: CallerInfo | None
    confirm: list[Confirmation] = field(hash=False)
    more_errors: int = 0
    more_lose_access: int = 0
    more_gain_access: int = 0
    evaluation: EvaluationInfo | None = None
    evaluation_missing: str | None = None

    def __bool__(self) -> bool:
        """Return whether the change could be made."""
        return self.ok

    @property
    def problems(self) -> list[Problem]:
        """The broken rules, as the library has them."""
        return rules_of(self.errors)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecommendedNetworkInfo:
    """One entry of a recommended list: how many addresses were observed inside, and their requests."""

    cidr: str
    observed: int
    requests: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePointInfo:
    """The best list of one number of entries: how many addresses it allows that nobody was seen to use."""

    entries: int
    extra_ipv4: int
    extra_ipv6: int = field(metadata={DIGITS: True})


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOutInfo:
    """What a recommended list does not cover, and why. Later versions may add reasons."""

    network: str
    reason: str
    requests: int
    explanation: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UnusedEntryInfo:
    """An entry that no request needed, and when an address of it was seen last."""

    id: int
    cidr: str
    last_seen: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NarrowerEntryInfo:
    """An entry of which the observed addresses fit into a narrower network."""

    id: int
    cidr: str
    narrower: str
    fewer_addresses: int = field(metadata={DIGITS: True})
    observed: int
    requests: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RecommendationInfo:
    """The best list for the recorded traffic of an account; see `cidrgate.foresight.Recommendation`.

    Attributes:
        account: The account.
        version: The version of its list; pass it as `expect_version` to a change.
        days: For how many days in UTC, with today, traffic was read.
        since: The begin of the traffic.
        networks: The entries, in address order.
        extra_ipv4: The IPv4 addresses that the list allows and that nobody was seen to use, without those of forced
            networks and of networks that were observed.
        extra_ipv6: The same for IPv6.
        observed: How many addresses, or truncated networks, are covered.
        requests: How many requests they made.
        requests_left_out: How many requests are not covered.
        left_out: The first 1,000 addresses that are not covered, by reason.
        more_left_out: How many there are beyond those.
        curve: For each number of entries that can cover everything: the extra addresses of the best list.
        unused: The entries of the account that no request needed.
        narrower: The entries of the account that could be narrower.
        unknown: What is not known, with the codes `incomplete`, `short_window` and `truncated` of an evaluation.
        observed_networks: How many of the observed are truncated networks, of which the list allows every address.
        requests_newly_allowed: How many denied requests the list would allow, because an entry covers them.
    """

    account: str
    version: int
    days: int
    since: datetime
    networks: list[RecommendedNetworkInfo] = field(hash=False)
    extra_ipv4: int
    extra_ipv6: int = field(metadata={DIGITS: True})
    observed: int
    requests: int
    requests_left_out: int
    left_out: list[LeftOutInfo] = field(hash=False)
    more_left_out: int
    curve: list[CurvePointInfo] = field(hash=False)
    unused: list[UnusedEntryInfo] = field(hash=False)
    narrower: list[NarrowerEntryInfo] = field(hash=False)
    unknown: list[UnknownInfo] = field(default_factory=list, hash=False)
    observed_networks: int = 0
    requests_newly_allowed: int = 0

    @property
    def cidrs(self) -> list[str]:
        """The list, for `replace_entries`."""
        return [network.cidr for network in self.networks]


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckInfo:
    """Whether an address may act for an account. It is true if the address is allowed."""

    account: str
    address: str
    allowed: bool
    mode: str = "enforce"

    def __bool__(self) -> bool:
        """Return whether the address is allowed."""
        return self.allowed


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionInfo:
    """Why an address may act for an account, or why not. It is true if the address is allowed.

    Attributes:
        account: The account that was asked about.
        address: The address.
        allowed: Whether it is allowed.
        reason: Why, as in `cidrgate.Decision`. Later versions may add values.
        list_account: The account whose list decided: the parent for a subaccount.
        entry: The longest matching entry.
        nearest: The entry that shares the most leading bits with an address that is not listed.
        mode: The mode of the list. With `report_only` an address that is not listed is allowed.
    """

    account: str
    address: str
    allowed: bool
    reason: str
    list_account: str
    entry: EntryInfo | None
    nearest: EntryInfo | None
    mode: str = "enforce"

    def __bool__(self) -> bool:
        """Return whether the address is allowed."""
        return self.allowed


@dataclass(frozen=True, slots=True, kw_only=True)
class OriginInfo:
    """How the actor of a change is known, and from where the change came; see `cidrgate.Origin`."""

    kind: str
    id: str | None = None
    via: str | None = None
    on_behalf_of: str | None = None
    address: str | None = None
    request_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeInfo:
    """One change of a list, or an event of the store, from the change log; see `cidrgate.Change`."""

    sequence: int
    at: datetime
    actor: str | None
    account: str | None
    action: str
    before: list[EntryInfo] = field(hash=False)
    after: list[EntryInfo] = field(hash=False)
    details: dict[str, Any] | None = field(default=None, hash=False)
    origin: OriginInfo | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenInfo:
    """A token; only the first response to its creation contains the secret."""

    id: int
    name: str
    scopes: list[str] = field(hash=False)
    created_at: datetime
    created_by: str | None
    expires_at: datetime | None
    revoked_at: datetime | None
    token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkInfo:
    """A one-time link to the console; only the first response to its creation contains the URL."""

    id: str
    name: str
    scopes: list[str] = field(hash=False)
    created_by: str | None
    expires_at: datetime
    url: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionInfo:
    """A session of the console."""

    id: str
    name: str
    scopes: list[str] = field(hash=False)
    token_id: int | None
    by_link: bool
    address: str | None
    created_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class WhoAmI:
    """The name, the scopes and the address of the caller."""

    name: str
    scopes: list[str] = field(hash=False)
    address: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusInfo:
    """Whether the service responds, or is ready."""

    status: str


def rules_of(errors: Iterable[ProblemErrorInfo]) -> list[Problem]:
    """Return the broken rules among errors, as the library has them."""
    return [
        Problem(
            code=cast("ProblemCode", one.code),
            text=one.text or "",
            position=one.position,
            conflicts=tuple(one.conflicts),
            hint=one.hint or "",
            more_conflicts=one.more_conflicts,
            suggestions=tuple(one.suggestions),
        )
        for one in errors
        if one.position is not None
    ]


def problem_of(record: object) -> ProblemInfo:
    """Return a JSON object as problem details.

    Raises:
        UnexpectedJsonError: If it is none of the service: those of others have no `errors`.
    """
    if isinstance(record, dict) and "errors" not in record:
        raise UnexpectedJsonError(None, ".errors")
    return value_of(ProblemInfo, record)
