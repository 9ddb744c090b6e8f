"""Evaluation: which of the requests of the past a changed list would decide in another way.

A list is the networks that it allows. Observations are of single addresses, or of networks if addresses were truncated.
A list can allow a part of such a network; nobody knows then which of its requests came from that part, and the
evaluation says so.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time
from functools import cached_property
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_network
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeAlias, TypeVar

from cidrgate._engine import PrefixTrie
from cidrgate.rules.decisions import enforced
from cidrgate.values import check_type, several_texts, whole_number, zoned_time

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from cidrgate.values import Account, Entry, Observation

__all__ = [
    "MOST_DAYS",
    "MOST_NAMED",
    "AccountEvaluation",
    "AffectedNetwork",
    "AffectedTraffic",
    "ChangedList",
    "DecidingNow",
    "Evaluation",
    "PastTraffic",
    "TrafficTotal",
    "UnaddressedRequests",
    "Unknown",
    "UnknownCode",
    "allowed_networks",
    "evaluate",
    "first_day",
    "incomplete_accounts",
    "is_address",
    "is_begin_of_day",
    "minute_text",
    "short_window",
]

MOST_DAYS = 36_600
"""For how many days in UTC traffic can be asked for: a hundred years, more than any is kept."""

MOST_NAMED = 1_000
"""How many networks, and how many accounts, an evaluation names; it counts the others."""

_Ranked = TypeVar("_Ranked")

UnknownCode: TypeAlias = Literal[
    "no_traffic", "short_window", "truncated", "incomplete", "later", "unlisted", "no_address", "former_name"
]
"""Why an evaluation does not know something. Later versions may add values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficTotal:
    """A sum of observed requests.

    Attributes:
        addresses: From how many single addresses they came.
        networks: From how many networks, of which the addresses were truncated, they came.
        requests: How many requests they are.
        without_address: How many of them had no client address that could be read. Only a log says that.
    """

    addresses: int = 0
    networks: int = 0
    requests: int = 0
    without_address: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class AffectedNetwork:
    """An address or a network whose requests a change affects.

    Attributes:
        account: The account for which it acted.
        network: The address as a canonical CIDR, or a wider network if addresses were truncated.
        requests: How many requests were observed, allowed and denied.
        first_seen: The time of the first of them, with a time zone.
        last_seen: The time of the last of them, with a time zone.
    """

    account: str
    network: str
    requests: int
    first_seen: datetime
    last_seen: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class AffectedTraffic(TrafficTotal):
    """A sum of requests that a change affects, with the networks from which most of them came.

    Attributes:
        addresses: From how many single addresses they came; an address that acted for two accounts counts twice.
        networks: From how many networks, of which the addresses were truncated, they came.
        requests: How many requests they are.
        without_address: How many of them had no client address that could be read. They are not named.
        accounts: For how many accounts they were.
        named: The first `MOST_NAMED` of these addresses and networks, those with the most requests first.
    """

    accounts: int = 0
    named: tuple[AffectedNetwork, ...] = ()

    @property
    def more(self) -> int:
        """How many addresses and networks are not named."""
        return self.addresses + self.networks - len(self.named)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountEvaluation:
    """What a change would do to the observed requests of one account.

    Attributes:
        account: The account.
        newly_denied: What would be denied and is allowed now.
        newly_allowed: What would be allowed and is denied now.
        partly_denied: Networks of which a part would be denied that is allowed now.
        partly_allowed: Networks of which a part would be allowed that is denied now.
        denied_if_unlisted: What is allowed now, if the account is deleted or renamed.
        allowed_if_unlisted: What is denied now, if the account is deleted or renamed.
        allowed_if_created: What would be allowed, if the account is created.
    """

    account: str
    newly_denied: TrafficTotal
    newly_allowed: TrafficTotal
    partly_denied: TrafficTotal
    partly_allowed: TrafficTotal
    denied_if_unlisted: TrafficTotal = field(default_factory=TrafficTotal)
    allowed_if_unlisted: TrafficTotal = field(default_factory=TrafficTotal)
    allowed_if_created: TrafficTotal = field(default_factory=TrafficTotal)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """Something that an evaluation does not know.

    Attributes:
        code: `no_traffic` for accounts of which no request was observed, `short_window` if requests were perhaps
            observed for a shorter time than was asked, `truncated` for networks of which the change affects a part,
            `incomplete` for accounts of which not every address was kept, `later` for what is decided once a mode or an
            entry ends, `unlisted` for accounts that gates do not know before or after the change: `unlisted` decides,
            `no_address` for requests without a readable client address, if the change begins to enforce a list:
            recorded traffic lacks them. `former_name` for given observations with a name that an account had before.
        text: What is not known, and why, in one sentence.
    """

    code: UnknownCode
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What a change of lists would do to the requests that were observed.

    It compares the lists as they are now with the lists after the change, whatever was decided when the requests came.
    An address that was not observed is in no number: `unknown` says what else is not known.

    An account that the change creates does not exist now, so that gates answer by their setting `unlisted`. Of such an
    account `newly_denied`, `partly_denied` and the sums of what stays hold for gates that allow unknown accounts, and
    `allowed_if_created` for gates that deny them: nothing is newly denied there.

    Attributes:
        days: For how many days in UTC, with that of `until`, the observations count; None for all of them.
        since: From when on requests were observed; None if that is unknown, because there are none. For stored traffic,
            the begin of a day in UTC: with `short_window` in `unknown`, the first request came at some time of it.
        until: When the evaluation was made.
        lists: How many lists the change alters.
        newly_denied: What would be denied and is allowed now.
        newly_allowed: What would be allowed and is denied now.
        partly_denied: Networks of which a part would be denied that is allowed now. Which of their requests came from
            that part is unknown.
        partly_allowed: Networks of which a part would be allowed that is denied now, in the same way. A network can be
            in both.
        denied_if_unlisted: What is allowed now, for accounts that the change deletes or renames: gates whose `unlisted`
            is `deny` or `deny_unknown` would deny it. A network of which a part is allowed now is here, and also in
            `allowed_if_unlisted`.
        allowed_if_unlisted: What is denied now, for such accounts: gates whose `unlisted` is `allow` would allow it.
        allowed_if_created: What would be allowed, for accounts that the change creates: gates whose `unlisted` is
            `deny` or `deny_unknown` deny it now. It counts in `still_allowed` too, or in another sum if it is a network
            of which a part would be allowed.
        still_allowed: What is allowed before and after the change.
        still_denied: What is denied before and after the change.
        still_mixed: Networks of which a part is allowed, and the same part before and after the change.
        accounts: The accounts that are affected, those with the most requests that would be denied first; the first
            `MOST_NAMED`.
        more_accounts: How many accounts are affected beyond those in `accounts`.
        unknown: What is not known. Empty only if requests of each account were observed for the whole time, and the
            change denies and allows nothing later that it does not deny or allow now.
    """

    days: int | None
    since: datetime | None
    until: datetime
    lists: int
    newly_denied: AffectedTraffic
    newly_allowed: AffectedTraffic
    partly_denied: AffectedTraffic
    partly_allowed: AffectedTraffic
    still_allowed: TrafficTotal
    still_denied: TrafficTotal
    still_mixed: TrafficTotal
    accounts: tuple[AccountEvaluation, ...]
    more_accounts: int
    unknown: tuple[Unknown, ...]
    denied_if_unlisted: AffectedTraffic = field(default_factory=AffectedTraffic)
    allowed_if_unlisted: AffectedTraffic = field(default_factory=AffectedTraffic)
    allowed_if_created: AffectedTraffic = field(default_factory=AffectedTraffic)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedList:
    """A list before and after a change, as the networks that it allows.

    Attributes:
        accounts: The accounts for which the list decides.
        before: The networks before the change, as canonical CIDRs; None for every address.
        after: The networks after the change, in the same way.
        later: Whether the change also denies or allows something later, when a mode or an entry ends, for which it does
            not do so now.
        deleted: Whether the accounts do not exist after the change. What `after` says has no meaning then.
        created: Whether the accounts do not exist before the change. What `before` says is then what gates decide that
            allow unknown accounts: None.
        renamed_to: The name that the first account has after the change, if that is another one. Every observed request
            has the old name, which no account has then.
    """

    accounts: tuple[str, ...]
    before: Collection[str] | None
    after: Collection[str] | None
    later: bool = False
    deleted: bool = False
    created: bool = False
    renamed_to: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UnaddressedRequests:
    """Requests of an account whose client had no address that could be read: a list denies them if it is enforced.

    Attributes:
        account: The account for which they were.
        requests: How many they are.
        first_seen: The time of the first of them, with a time zone.
        last_seen: The time of the last of them, with a time zone.
    """

    account: str
    requests: int
    first_seen: datetime
    last_seen: datetime


@dataclass(frozen=True, slots=True)
class PastTraffic:
    """Observed requests of accounts, and how complete they are.

    Attributes:
        observations: The observations, in any order. Several of one address are added up.
        since: From when on requests were observed; None if only the observations say it. The begin of a day in UTC
            stands for some time on that day, as stores do not tell when the first request was.
        incomplete: The accounts of which not every address was kept.
        recorded: Whether gates have recorded the requests: they record none without a readable client address.

    Raises:
        TypeError: If `incomplete` is one text.
        ValueError: If the time has no time zone or no form in UTC.
    """

    observations: Iterable[Observation | UnaddressedRequests]
    since: datetime | None = field(default=None, kw_only=True)
    incomplete: Collection[str] = field(default=(), kw_only=True)
    recorded: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        """Check the time and the accounts."""
        several_texts(self.incomplete, "incomplete", "accounts")
        if self.since is not None:
            zoned_time(self.since, "since")


def allowed_networks(entries: Collection[Entry], account: Account | None, at: datetime) -> tuple[str, ...] | None:
    """Return the networks that a list allows, as canonical CIDRs; None for every address.

    Args:
        entries: The whole list, including expired entries.
        account: The account whose list it is; None for an account with the default settings.
        at: The time at which entries match or not, with a time zone.
    """
    if not enforced(entries, account, at):
        return None
    return tuple(entry.cidr for entry in entries if entry.matches(at))


def first_day(at: datetime, days: int) -> date:
    """Return the first of some days in UTC of which the last is that of a time; no day is before the year 1.

    Example:
        >>> first_day(datetime(2026, 1, 2, tzinfo=UTC), 2), first_day(datetime(1, 1, 2, tzinfo=UTC), 30)
        (datetime.date(2026, 1, 1), datetime.date(1, 1, 1))
    """
    last = at.astimezone(UTC).date()
    return date.fromordinal(max(1, last.toordinal() - min(days, MOST_DAYS) + 1))


def evaluate(
    changes: Iterable[tuple[ChangedList, PastTraffic]],
    *,
    at: datetime,
    days: int | None = None,
    most: int = MOST_NAMED,
) -> Evaluation:
    """Return what changes of lists would do to requests of the past.

    Only one list and its traffic are in memory at a time, besides what the evaluation names.

    Args:
        changes: The lists and their traffic. No account may come twice.
        at: The time of the evaluation, with a time zone.
        days: For how many days in UTC, with that of `at`, the observations count; None for all of them.
        most: How many networks and accounts to name.

    Raises:
        TypeError: If an argument is of another type.
        ValueError: If a number is too small, or the time has no time zone or no form in UTC.

    Example:
        >>> from cidrgate.values import Observation
        >>> at = datetime(2026, 1, 2, tzinfo=UTC)
        >>> seen = Observation(
        ...     account="acct-1", network="8.8.8.8/32", allowed=True, requests=7, first_seen=at, last_seen=at
        ... )
        >>> change = ChangedList(accounts=("acct-1",), before=["8.8.8.0/24", "1.1.1.1/32"], after=["1.1.1.1/32"])
        >>> evaluation = evaluate([(change, PastTraffic([seen]))], at=at)
        >>> evaluation.newly_denied.requests, evaluation.newly_denied.named[0].network
        (7, '8.8.8.8/32')
    """
    check_type(at, datetime, "at")
    at = zoned_time(at, "at")
    begin = None if days is None else datetime.combine(first_day(at, whole_number(days, "days", least=1)), time(), UTC)
    found = _Found(whole_number(most, "most", least=0))
    for changed, traffic in changes:
        found.add(changed, traffic, begin)
    since = found.begun if begin is None or found.begun is None else max(begin, found.begun)
    return Evaluation(
        days=days,
        since=since,
        until=at,
        lists=found.lists,
        newly_denied=found.affected["newly_denied"].result(),
        newly_allowed=found.affected["newly_allowed"].result(),
        partly_denied=found.affected["partly_denied"].result(),
        partly_allowed=found.affected["partly_allowed"].result(),
        denied_if_unlisted=found.affected["denied_if_unlisted"].result(),
        allowed_if_unlisted=found.affected["allowed_if_unlisted"].result(),
        allowed_if_created=found.affected["allowed_if_created"].result(),
        still_allowed=found.still["still_allowed"].result(),
        still_denied=found.still["still_denied"].result(),
        still_mixed=found.still["still_mixed"].result(),
        accounts=tuple(found.accounts.first()),
        more_accounts=found.accounts.more,
        unknown=tuple(_unknown(found, begin, days)),
    )


@dataclass(slots=True)
class _Total:
    """A sum of requests while observations are added up."""

    addresses: int = 0
    networks: int = 0
    requests: int = 0
    without_address: int = 0

    def add(self, network: str, requests: int) -> None:
        if network == _NO_ADDRESS:
            self.without_address += requests
        elif is_address(network):
            self.addresses += 1
        else:
            self.networks += 1
        self.requests += requests

    def __iadd__(self, other: _Total) -> _Total:
        self.addresses += other.addresses
        self.networks += other.networks
        self.requests += other.requests
        self.without_address += other.without_address
        return self

    def result(self) -> TrafficTotal:
        return TrafficTotal(
            addresses=self.addresses,
            networks=self.networks,
            requests=self.requests,
            without_address=self.without_address,
        )


class _First(Generic[_Ranked]):
    """The first few of many items, by a rank. It holds at most twice as many as it keeps."""

    def __init__(self, most: int, rank: Callable[[_Ranked], Any]) -> None:
        self._most = most
        self._rank = rank
        self._items: list[_Ranked] = []
        self._count = 0

    def add(self, item: _Ranked) -> None:
        self._items.append(item)
        self._count += 1
        if len(self._items) > 2 * self._most:
            self._items = self.first()

    def first(self) -> list[_Ranked]:
        return sorted(self._items, key=self._rank)[: self._most]

    @property
    def more(self) -> int:
        return max(0, self._count - self._most)


class _Affected:
    """A sum of requests that a change affects, and the networks from which most of them came."""

    def __init__(self, most: int) -> None:
        self._total = _Total()
        self._accounts = 0
        self._named = _First[AffectedNetwork](most, lambda one: (-one.requests, one.account, one.network))

    def add(self, networks: Sequence[AffectedNetwork], total: _Total) -> None:
        """Add what is affected of one account."""
        self._total += total
        self._accounts += total.requests > 0
        for one in networks:
            self._named.add(one)

    def result(self) -> AffectedTraffic:
        total = self._total
        return AffectedTraffic(
            addresses=total.addresses,
            networks=total.networks,
            requests=total.requests,
            without_address=total.without_address,
            accounts=self._accounts,
            named=tuple(self._named.first()),
        )


_AFFECTED = (
    "newly_denied",
    "newly_allowed",
    "partly_denied",
    "partly_allowed",
    "denied_if_unlisted",
    "allowed_if_unlisted",
    "allowed_if_created",
)
_IF_UNLISTED = {True: ("denied_if_unlisted",), False: ("allowed_if_unlisted",)}
_IF_CREATED = {True: ("allowed_if_created",), False: ()}
_STILL = ("still_allowed", "still_denied", "still_mixed")
_NO_ADDRESS = ""
"""What stands in the place of a network for requests without a client address."""
_OF_ADDRESS = {
    (False, False): ("still_denied",),
    (False, True): ("newly_allowed",),
    (True, False): ("newly_denied",),
    (True, True): ("still_allowed",),
}
"""What happens to an address, by whether it is allowed before and after the change."""


@dataclass(slots=True)
class _Some:
    """How many accounts there are of a kind, and the name of the first of them."""

    count: int = 0
    first: str = ""

    def add(self, account: str) -> None:
        self.first = self.first or account
        self.count += 1


class _Found:
    """What is known of the lists that were added so far.

    Attributes:
        lists: How many lists there are.
        asked: How many accounts have these lists.
        affected: The affected traffic, by its name in an evaluation.
        still: The other traffic, in the same way.
        accounts: The affected accounts.
        begun: From when on requests of all accounts were observed; None if nothing says it.
        silent: The accounts of which no request was observed.
        incomplete: The accounts of which not every address was kept.
        unlisted: The accounts that do not exist after the change.
        renamed: The old names of accounts that have another one after the change.
        created: The accounts that do not exist before the change.
        newly_enforced: The accounts of which it is unknown which requests without an address begin to be denied.
    """

    def __init__(self, most: int) -> None:
        self.lists = 0
        self.asked = 0
        self.affected = {name: _Affected(most) for name in _AFFECTED}
        self.still = {name: _Total() for name in _STILL}
        self.accounts = _First[AccountEvaluation](most, _rank_of_account)
        self.silent = _Some()
        self.incomplete = _Some()
        self.unlisted = _Some()
        self.renamed = _Some()
        self.created = _Some()
        self.newly_enforced = _Some()
        self._said_since: datetime | None = None
        self._first_seen: datetime | None = None

    @property
    def begun(self) -> datetime | None:
        return self._first_seen if self._said_since is None else self._said_since

    def add(self, changed: ChangedList, traffic: PastTraffic, begin: datetime | None) -> None:
        """Add the traffic of one list."""
        self.lists += 1
        if traffic.since is not None and (self._said_since is None or traffic.since > self._said_since):
            self._said_since = traffic.since
        merged = _merged(traffic.observations, changed.accounts, begin)
        deciding = _Deciding(changed)
        if changed.renamed_to is None:
            old_name, of_old_name = None, deciding
        else:
            old_name, of_old_name = changed.accounts[0], _Deciding(replace(changed, deleted=True))
        self.asked += len(merged)
        for account, networks in merged.items():
            if changed.deleted:
                self.unlisted.add(account)
            elif account == old_name:
                self.renamed.add(account)
            elif changed.created:
                self.created.add(account)
            if deciding.begins and traffic.recorded:
                self.newly_enforced.add(account)
            if account in traffic.incomplete:
                self.incomplete.add(account)
            if networks:
                first = min(one.first_seen for one in networks.values())
                self._first_seen = first if self._first_seen is None else min(first, self._first_seen)
                self._add_account(account, networks, of_old_name if account == old_name else deciding)
            else:
                self.silent.add(account)

    def _add_account(self, account: str, networks: Mapping[str, _Seen], deciding: _Deciding) -> None:
        found: dict[str, list[AffectedNetwork]] = {name: [] for name in _AFFECTED}
        totals = {name: _Total() for name in (*_AFFECTED, *_STILL)}
        for network, effects in deciding.effects(networks):
            seen = networks[network]
            for effect in effects:
                totals[effect].add(network, seen.requests)
                if effect in found and network != _NO_ADDRESS:
                    found[effect].append(seen.named(account, network))
        for name in _AFFECTED:
            self.affected[name].add(found[name], totals[name])
        for name in _STILL:
            self.still[name] += totals[name]
        if any(totals[name].requests for name in _AFFECTED):
            self.accounts.add(AccountEvaluation(account=account, **{name: totals[name].result() for name in _AFFECTED}))


def _rank_of_account(one: AccountEvaluation) -> tuple[Any, ...]:
    denied = (one.newly_denied, one.denied_if_unlisted, one.partly_denied)
    allowed = (one.newly_allowed, one.allowed_if_unlisted, one.allowed_if_created, one.partly_allowed)
    numbers = (*denied, *allowed)
    return (*(-total.requests for total in numbers), one.account)


@dataclass(slots=True)
class _Seen:
    """The requests of one address or network for one account."""

    requests: int
    first_seen: datetime
    last_seen: datetime

    def named(self, account: str, network: str) -> AffectedNetwork:
        return AffectedNetwork(
            account=account,
            network=network,
            requests=self.requests,
            first_seen=self.first_seen,
            last_seen=self.last_seen,
        )


def _merged(
    observations: Iterable[Observation | UnaddressedRequests], accounts: Iterable[str], begin: datetime | None
) -> dict[str, dict[str, _Seen]]:
    """Return what was seen of each network, or of `_NO_ADDRESS`, for each account since a time; of no other account."""
    merged: dict[str, dict[str, _Seen]] = {account: {} for account in accounts}
    for one in observations:
        networks = merged.get(one.account)
        if networks is None or (begin is not None and one.last_seen < begin):
            continue
        network = _NO_ADDRESS if isinstance(one, UnaddressedRequests) else one.network
        seen = networks.get(network)
        if seen is None:
            networks[network] = _Seen(one.requests, one.first_seen, one.last_seen)
        else:
            seen.requests += one.requests
            seen.first_seen = min(seen.first_seen, one.first_seen)
            seen.last_seen = max(seen.last_seen, one.last_seen)
    return merged


def is_address(network: str) -> bool:
    """Return whether a canonical CIDR is of a single address."""
    return network.endswith("/128") or (network.endswith("/32") and ":" not in network)


class _Deciding:
    """Decides about addresses and networks before and after a change of a list."""

    def __init__(self, changed: ChangedList) -> None:
        self._before, self._after = _Allowed(changed.before), _Allowed(changed.after)
        self._deleted = changed.deleted
        self._created = changed.created
        self._was_open, self._is_open = changed.before is None, changed.after is None

    @property
    def begins(self) -> bool:
        """Whether the change begins to enforce the list of accounts that there are."""
        return self._was_open and not (self._is_open or self._deleted or self._created)

    def effects(self, networks: Collection[str]) -> Iterator[tuple[str, Sequence[str]]]:
        """Yield the networks, each with what the change does to its requests: names in an evaluation."""
        single = [network for network in networks if is_address(network)]
        addresses = [network.rpartition("/")[0] for network in single]
        allowed = zip(self._before.contains(addresses), self._after.contains(addresses), strict=True)
        for network, (before, after) in zip(single, allowed, strict=True):
            yield network, self._of_address(before, after)
        if len(single) < len(networks):
            for network in networks:
                if network == _NO_ADDRESS:
                    yield network, self._of_address(self._was_open, self._is_open)
                elif not is_address(network):
                    yield network, self._of_network(network)

    def _of_address(self, before: bool, after: bool) -> Sequence[str]:
        """Return what the change does to requests that are allowed or denied whole before and after it."""
        if self._deleted:
            return _IF_UNLISTED[before]
        return (*_OF_ADDRESS[before, after], *_IF_CREATED[self._created and after])

    def _of_network(self, network: str) -> Sequence[str]:
        """Return what the change does to the requests of a network of which the addresses are unknown."""
        whole = [network]
        if self._deleted:
            part = self._before.part(network)
            return (*(_IF_UNLISTED[True] if part else ()), *(_IF_UNLISTED[False] if part != whole else ()))
        before, after = self._before.part(network), self._after.part(network)
        return (*self._compared(whole, before, after), *_IF_CREATED[self._created and bool(after)])

    def _compared(self, whole: list[str], before: list[str], after: list[str]) -> Sequence[str]:
        """Return what happens to a network of which a part is allowed before and after the change."""
        loses, gains = not self._after.covers(before), not self._before.covers(after)
        if loses and before == whole and not after:
            return ("newly_denied",)
        if gains and after == whole and not before:
            return ("newly_allowed",)
        if loses or gains:
            return (*(("partly_denied",) if loses else ()), *(("partly_allowed",) if gains else ()))
        return ("still_allowed" if before == whole else "still_mixed" if before else "still_denied",)


class _Allowed:
    """The addresses that a list allows."""

    def __init__(self, networks: Collection[str] | None) -> None:
        self._networks = networks

    @cached_property
    def _trie(self) -> PrefixTrie[str]:
        return PrefixTrie(self._networks or ())

    @cached_property
    def _fewest(self) -> PrefixTrie[str]:
        """The same addresses as the fewest networks, so that one of them covers whatever all of them cover."""
        parsed = [ip_network(network) for network in self._networks or ()]
        of_four = [network for network in parsed if isinstance(network, IPv4Network)]
        of_six = [network for network in parsed if isinstance(network, IPv6Network)]
        return PrefixTrie([*map(str, collapse_addresses(of_four)), *map(str, collapse_addresses(of_six))])

    def contains(self, addresses: list[str]) -> list[bool]:
        """Return for each address whether the list allows it."""
        if self._networks is None:
            return [True] * len(addresses)
        found: list[bool] = self._trie.contains_many(addresses).tolist()
        return found

    def part(self, network: str) -> list[str]:
        """Return the part of a network that the list allows, as the fewest networks."""
        if self._networks is None or self._fewest.covering(network):
            return [network]
        return self._fewest.covered(network)

    def covers(self, networks: Iterable[str]) -> bool:
        """Return whether the list allows every address of some networks."""
        return self._networks is None or all(self._fewest.covering(network) for network in networks)


class DecidingNow:
    """Decides about observations as a list does now, whatever was decided then.

    A paused list that has entries decides as it does when the pause ends: a pause allows addresses that nobody listed.
    A list in the mode `report_only` denies nothing, and neither does one without entries, unless it is closed and
    enforced: what no entry allows stays as it was decided then.

    Args:
        entries: The whole list, including expired and disabled entries.
        account: The account whose list it is.
        at: The time at which entries match or not, with a time zone.
    """

    def __init__(self, entries: Collection[Entry], account: Account, at: datetime) -> None:
        self._allowed = _Allowed([entry.cidr for entry in entries if entry.matches(at)])
        self.is_paused = len(entries) > 0 and account.mode_at(at) == "off"
        self._denies_others = self.is_paused or enforced(entries, account, at)

    def allows(self, network: str, *, allowed: bool) -> bool:
        """Return whether an address or network counts as allowed.

        Of a network of which the single addresses were not kept, the list must allow every address, or deny every
        address: if it allows a part, the network counts as it was decided then.

        Args:
            network: The network, as a canonical CIDR.
            allowed: What was decided then.
        """
        part = self._allowed.part(network)
        if part == [network]:
            return True
        return allowed and (bool(part) or not self._denies_others)

    def decided(self, observations: Iterable[Observation]) -> list[Observation]:
        """Return observations of accounts that have the list, each as allowed or denied as it counts now."""
        found = []
        for one in observations:
            allowed = self.allows(one.network, allowed=one.allowed)
            found.append(one if allowed == one.allowed else replace(one, allowed=allowed))
        return found


def _unknown(found: _Found, begin: datetime | None, days: int | None) -> Iterator[Unknown]:
    """Yield what is not known."""
    if found.silent.count:
        text = f"no request for {_accounts(found.silent, found)} was observed, so nothing is known of who uses "
        yield Unknown(code="no_traffic", text=text + ("it" if found.silent.count == 1 else "them"))
    yield from short_window(found.begun, begin, days)
    partly = [found.affected[name].result() for name in ("partly_denied", "partly_allowed")]
    if any(one.networks for one in partly):
        yield Unknown(
            code="truncated",
            text="the change affects a part of networks of which the single addresses were not kept: which of their "
            "requests came from that part is not known",
        )
    if found.unlisted.count:
        which = _accounts(found.unlisted, found)
        text = (
            f"what gates answer for {which} after the deletion: their setting for unknown accounts (unlisted) says it"
        )
        yield Unknown(code="unlisted", text=text)
    if found.renamed.count:
        count = found.renamed.count
        which = f"the old name {found.renamed.first!r}" if count == 1 else f"{count:,} old names"
        text = (
            f"what gates answer to requests with {which}, which no account has after the change: their setting for "
            "unknown accounts (unlisted) says it"
        )
        yield Unknown(code="unlisted", text=text)
    if found.created.count:
        which = _accounts(found.created, found)
        text = (
            f"what gates answer for {which} now, before the {'change' if found.renamed.count else 'creation'}: their "
            "setting for unknown accounts (unlisted) says it"
        )
        yield Unknown(code="unlisted", text=text)
    if found.newly_enforced.count:
        text = (
            f"whether {_accounts(found.newly_enforced, found)} had requests without a readable client address, which "
            "are not recorded: they are allowed now and would be denied"
        )
        yield Unknown(code="no_address", text=text)
    if found.incomplete.count:
        yield incomplete_accounts(_accounts(found.incomplete, found))


def short_window(begun: datetime | None, begin: datetime | None, days: int | None) -> Iterator[Unknown]:
    """Yield that requests were perhaps observed for a shorter time than was asked.

    Args:
        begun: From when on requests were observed; None if nothing says it. The begin of a day in UTC, as stores say
            it, stands for some time on that day.
        begin: The begin of the days that were asked for; None for all observations.
        days: How many days that are.

    Example:
        >>> at = datetime(2026, 1, 2, tzinfo=UTC)
        >>> [one.text for one in short_window(at, at, 1)]
        ['the first request was observed on 2026-01-02 (UTC), perhaps late that day, so perhaps not for all of today']
        >>> list(short_window(datetime(2026, 1, 1, tzinfo=UTC), at, 1))
        []
    """
    if begun is None or begin is None or begun < begin:
        return
    all_days = "all of today" if days == 1 else f"all of the last {days:,} days"
    if is_begin_of_day(begun):
        day = f"{begun.astimezone(UTC).date().isoformat()} (UTC)"
        text = f"the first request was observed on {day}, perhaps late that day, so perhaps not for {all_days}"
    else:
        text = f"requests were observed only since {minute_text(begun)}, not for {all_days}"
    yield Unknown(code="short_window", text=text)


def minute_text(at: datetime) -> str:
    """Return a time to the minute as people read it.

    Example:
        >>> minute_text(datetime(1, 2, 3, 4, 5, 6, tzinfo=UTC))
        '0001-02-03 04:05 UTC'
    """
    return f"{at.astimezone(UTC).replace(tzinfo=None).isoformat(' ', 'minutes')} UTC"


def is_begin_of_day(at: datetime) -> bool:
    """Return whether a time is the begin of a day in UTC: stores round the time of their first request to it.

    Example:
        >>> is_begin_of_day(datetime(2026, 1, 2, tzinfo=UTC)), is_begin_of_day(datetime(2026, 1, 2, 3, tzinfo=UTC))
        (True, False)
    """
    return at.astimezone(UTC).time() == time()


def incomplete_accounts(which: str) -> Unknown:
    """Return that not every address of some accounts was kept."""
    text = f"of {which}, not every address that called is stored: others may have called that are missing here"
    return Unknown(code="incomplete", text=text)


def _accounts(some: _Some, found: _Found) -> str:
    return f"account {some.first!r}" if some.count == 1 else f"{some.count:,} of {found.asked:,} accounts"
