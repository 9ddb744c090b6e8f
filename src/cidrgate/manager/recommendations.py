"""Recommendations for one account: the best list for its recorded traffic, and what its entries were used for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time
from ipaddress import ip_network
from typing import TYPE_CHECKING

from cidrgate.errors import NoTrafficError, RecommendationError
from cidrgate.foresight.evaluation import DecidingNow, first_day, incomplete_accounts, short_window
from cidrgate.foresight.recommending import truncated_networks
from cidrgate.foresight.sentences import days_text
from cidrgate.foresight.usage import narrower, unused
from cidrgate.manager.accounts import existing_account, list_owner, refuse_subaccount
from cidrgate.manager.queries import changes_of_present_account

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cidrgate.foresight.evaluation import Unknown
    from cidrgate.foresight.recommending import Recommendation
    from cidrgate.foresight.usage import NarrowerNetwork, UnusedEntry
    from cidrgate.stores import Store, Transaction
    from cidrgate.values import Account, Entry, Observation

__all__ = ["MOST_OBSERVED", "AccountRecommendation", "PastOfList", "past_of_list", "recommendation_for"]

_MOST_CHANGES = 10_000
"""How many changes of the list are read; after more of them, no entry is called unused."""

MOST_OBSERVED = 100_000
"""How many addresses and networks a recommendation is made for; more would take longer than a request may."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountRecommendation:
    """The best list for the recorded traffic of an account, and a review of the list that it has.

    Attributes:
        account: The account.
        days: For how many days in UTC, with today, traffic was read.
        since: The begin of the traffic: the begin of the first of these days in UTC, or of a later one if none was
            recorded before. With `short_window` in `unknown`, the first request came at some time of that day.
        recommendation: The best list.
        entries: The entries of the account that allow something now.
        unused: Those of them that no request needed, and that have allowed the same since the first day.
        narrower: Those of them of which the observed addresses fit into a narrower network.
        unknown: What is not known, with the codes `incomplete`, `short_window` and `truncated` of an evaluation.
    """

    account: Account
    days: int
    since: datetime
    recommendation: Recommendation
    entries: tuple[Entry, ...]
    unused: tuple[UnusedEntry, ...]
    narrower: tuple[NarrowerNetwork, ...]
    unknown: tuple[Unknown, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PastOfList:
    """A list, and the recorded traffic of every account that has it.

    Attributes:
        owner: The account whose list it is.
        entries: The entries that allow something now.
        settled: Those of them that did so since `asked_since`.
        observations: What was observed of the account and its subaccounts, as `DecidingNow` decides about it.
        asked_since: The begin of the first day that was asked for. A younger entry is not called unused.
        since: The begin of the traffic; that of a later day if none was recorded before.
        unknown: What is not known: whether every address was kept, and for the whole time.
    """

    owner: Account
    entries: tuple[Entry, ...]
    settled: tuple[Entry, ...]
    observations: list[Observation]
    asked_since: datetime
    since: datetime
    unknown: tuple[Unknown, ...]


def past_of_list(
    store: Store, account: str, days: int, *, own_list: bool = False, most: int | None = None
) -> PastOfList:
    """Return the list of an account, and the traffic of the last days.

    Args:
        store: The store of the lists and of their traffic.
        account: The account.
        days: How many days in UTC to look back, with today.
        own_list: Whether the account must have a list of its own.
        most: The most observations to read; None for all.

    Raises:
        AccountNotFoundError: If there is no such account.
        SubaccountError: If it must have a list of its own, and inherits one.
        NoTrafficError: If no traffic of it is stored.
        StoreError: If the store cannot be read.
    """
    from cidrgate.stores.incomplete_days import accounts_with_incomplete_days  # they need SQLAlchemy
    from cidrgate.stores.observations import first_observed, observations_of_family

    now = datetime.now(UTC)
    first = first_day(now, days)
    # Traffic is stored by day in UTC, and today is one of the days.
    asked = datetime.combine(first, time(), UTC)
    with store.read() as transaction:
        found = existing_account(transaction, account)
        if own_list:
            refuse_subaccount(found)
        owner = list_owner(transaction, found)
        entries = transaction.entries(owner)
        observations = observations_of_family(transaction, owner, first, most)
        begun = first_observed(transaction)
        incomplete = accounts_with_incomplete_days(transaction, [owner], first)
        changed = _changed_since(transaction, owner.name, asked)
    if begun is None or not observations:
        raise NoTrafficError(
            f"no traffic of account {account!r} was recorded {days_text(days)}: start the processes that decide with "
            "--traffic addresses or --traffic networks"
        )
    listed = tuple(entry for entry in entries if entry.matches(now))
    since = max(asked, begun)
    unknown = [*short_window(begun, asked, days)]
    if incomplete:
        which = f"account {incomplete[0]!r}" if len(incomplete) == 1 else f"{len(incomplete):,} accounts"
        unknown.append(incomplete_accounts(which))
    account_now = owner.value()
    return PastOfList(
        owner=account_now,
        entries=listed,
        settled=() if changed is None else tuple(entry for entry in listed if entry.id not in changed),
        observations=DecidingNow(entries, account_now, now).decided(observations),
        asked_since=asked,
        since=since,
        unknown=tuple(unknown),
    )


def _changed_since(transaction: Transaction, account: str, at: datetime) -> set[int] | None:
    """Return the ids of the entries that allow more than before because of a change since a time.

    Returns:
        The ids; None if there were too many changes.
    """
    changes = changes_of_present_account(transaction, account, since=at, limit=_MOST_CHANGES)
    if len(changes) == _MOST_CHANGES:
        return None
    found = set()
    for change in changes:
        earlier = {entry.id: entry for entry in change.before if entry.matches(change.at)}
        for entry in change.after:
            before = earlier.get(entry.id)
            is_new = before is None and entry.created_at >= change.at  # its age says the same
            if not is_new and (before is None or not _is_within(entry.cidr, before.cidr)):
                found.add(entry.id)
    return found


def _is_within(cidr: str, other: str) -> bool:
    inner, outer = ip_network(cidr), ip_network(other)
    return inner.version == outer.version and inner.subnet_of(outer)  # type: ignore[arg-type]


def recommendation_for(
    store: Store,
    account: str,
    days: int,
    best_list: Callable[[Iterable[Observation]], Recommendation],
) -> AccountRecommendation:
    """Return the best list for the recorded traffic of an account, as `RuleManager.recommend` describes it.

    Args:
        store: The store of the lists and of their traffic.
        account: The account.
        days: How many days in UTC to look back, with today.
        best_list: Returns the best list for observations: `recommend` with its limits.
    """
    past = past_of_list(store, account, days, own_list=True, most=MOST_OBSERVED + 1)
    if len(past.observations) > MOST_OBSERVED:
        less = "read them with `cidrgate recommend`" if days == 1 else f"ask for fewer than {days:,} days"
        raise RecommendationError(
            f"more than {MOST_OBSERVED:,} addresses were observed {days_text(days)}, which is too many: {less}"
        )
    found = best_list(past.observations)
    return AccountRecommendation(
        account=past.owner,
        days=days,
        since=past.since,
        recommendation=found,
        entries=past.entries,
        unused=unused(past.settled, past.observations, past.asked_since),
        narrower=narrower(past.entries, past.observations, past.asked_since),
        unknown=(*past.unknown, *truncated_networks(found)),
    )
