"""What entries were used for: which are unused, and which could be narrower."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any

from cidrgate._engine import PrefixTrie, SmallestCover
from cidrgate.foresight.observed import read_observed
from cidrgate.rules.networks import address_count
from cidrgate.values import zoned_time

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from cidrgate.foresight.observed import Observed
    from cidrgate.values import Entry

__all__ = ["NarrowerNetwork", "UnusedEntry", "narrower", "unused"]


@dataclass(frozen=True, slots=True, kw_only=True)
class UnusedEntry:
    """An entry that no request needed.

    Attributes:
        entry: The entry.
        last_seen: When an address of it was seen last, before the time asked about; None if it never was, or if what
            was observed has no times.
    """

    entry: Entry
    last_seen: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NarrowerNetwork:
    """An entry of which the observed addresses fit into a narrower network.

    Attributes:
        entry: The entry.
        cidr: The narrowest network that contains every observed address of the entry.
        fewer: How many addresses less it allows.
        observed: How many different addresses, or truncated networks, were seen inside.
        requests: How many requests they made.
    """

    entry: Entry
    cidr: str
    fewer: int
    observed: int
    requests: int


def unused(entries: Iterable[Entry], observed: Observed, since: datetime | None = None) -> tuple[UnusedEntry, ...]:
    """Return the entries of which no address was allowed since a time.

    An entry is used if an allowed observation overlaps it: of a truncated network, nobody knows which addresses acted.
    An entry that was added after `since` is too young to be called unused.

    Args:
        entries: The entries of one list.
        observed: What was seen of the account and its subaccounts.
        since: The begin of the time in question, with a time zone; None for everything that was observed.

    Raises:
        TypeError: If `since` is no time.
        ValueError: If it has no time zone, or no form in UTC.

    Example:
        >>> from cidrgate import RuleManager
        >>> with RuleManager.open("memory://") as manager:
        ...     account = manager.create_account("acct-1")
        ...     entries = manager.add("acct-1", "8.8.8.0/24, 9.9.9.9/32").entries
        >>> [one.entry.cidr for one in unused(entries, ["8.8.8.8"])]
        ['9.9.9.9/32']
    """
    since = None if since is None else zoned_time(since, "since")
    seen = read_observed(observed)
    ever = PrefixTrie(seen.requests)
    times = seen.last_seen
    lately = PrefixTrie([one for one in ever if since is None or one not in times or times[one] >= since])
    return tuple(
        UnusedEntry(
            entry=entry,
            last_seen=max((times[one] for one in _overlapping(ever, entry.cidr) if one in times), default=None),
        )
        for entry in entries
        if (since is None or entry.created_at <= since) and not _overlapping(lately, entry.cidr)
    )


def narrower(
    entries: Iterable[Entry], observed: Observed, since: datetime | None = None
) -> tuple[NarrowerNetwork, ...]:
    """Return the entries of which all observed addresses fit into a narrower network.

    The narrower network keeps every rule that the entry keeps. An entry of which nothing was seen is not among them:
    see `unused`.

    Args:
        entries: The entries of one list.
        observed: What was seen of the account and its subaccounts.
        since: Leave out observations that end before this time, with a time zone; None for everything.

    Raises:
        TypeError: If `since` is no time.
        ValueError: If it has no time zone, or no form in UTC.

    Example:
        >>> from cidrgate import RuleManager
        >>> with RuleManager.open("memory://") as manager:
        ...     account = manager.create_account("acct-1")
        ...     entries = manager.add("acct-1", "8.8.0.0/16").entries
        >>> [(one.cidr, one.fewer, one.observed) for one in narrower(entries, ["8.8.8.8", "8.8.8.9", "9.9.9.9"])]
        [('8.8.8.8/31', 65534, 2)]
    """
    seen = read_observed(observed, since=since)
    trie = PrefixTrie(seen.requests)
    found = []
    for entry in entries:
        if trie.covering(entry.cidr):
            continue
        inside = trie.covered(entry.cidr)
        if not inside:
            continue
        [cidr] = SmallestCover(inside, (), 1, 0, 0, bar_mapped=False).networks(1)
        if ip_network(cidr) != ip_network(entry.cidr):
            found.append(
                NarrowerNetwork(
                    entry=entry,
                    cidr=cidr,
                    fewer=address_count(entry.cidr) - address_count(cidr),
                    observed=len(inside),
                    requests=sum(seen.requests[network] for network in inside),
                )
            )
    return tuple(found)


def _overlapping(trie: PrefixTrie[Any], cidr: str) -> set[str]:
    return {*trie.covering(cidr), *trie.covered(cidr)}
