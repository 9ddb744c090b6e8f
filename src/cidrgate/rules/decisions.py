"""What a list says about one address, and the order people see a list in. Pure functions on entries."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING, TypeAlias

from cidrgate._engine import PrefixTrie
from cidrgate.errors import InvalidAddressError
from cidrgate.values import Decision, Entry, ListState

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

__all__ = ["Address", "decide", "enforced", "in_address_order", "list_state"]

Address: TypeAlias = str | bytes | IPv4Address | IPv6Address


def in_address_order(entries: Collection[Entry]) -> list[Entry]:
    """The entries of one list, IPv4 before IPv6, each by network.

    Args:
        entries: Entries with canonical and distinct CIDRs.
    """
    by_cidr = {entry.cidr: entry for entry in entries}
    return [by_cidr[cidr] for cidr in PrefixTrie(by_cidr)]


def enforced(entries: Collection[object]) -> bool:
    """Whether addresses that a list does not hold are denied: whether it has entries at all, expired ones too.

    An entry that ends by itself opens nothing: a list of none but expired entries denies every address, until somebody
    removes them. Every layer asks here. Over many accounts the store answers the same with
    `Transaction.list_states` and `StoredList.enforced`, and a matcher with `Matcher.enforced`.

    Args:
        entries: The whole list that counts for the account: for a subaccount its parent's.

    Example:
        >>> enforced([]), enforced(["8.8.8.0/24"])
        (False, True)
    """
    return len(entries) > 0


def list_state(entries: Collection[Entry], at: datetime) -> ListState:
    """What a list comes to in overviews.

    Args:
        entries: The whole list, expired entries too.
        at: The time of the question; aware.
    """
    return ListState(sum(entry.counts(at) for entry in entries), enforced(entries))


def decide(account: str, entries: Collection[Entry], address: Address, at: datetime) -> Decision:
    """Whether an address may act for an account that has these entries, and why.

    Agrees with `Matcher.allows`, except that an unreadable address is a denial here and an exception there. An expired
    entry matches nothing, but a list of none but expired entries is still enforced: an entry that ends by itself
    opens nothing.

    Args:
        account: The account whose list decides.
        entries: Its whole list, expired entries too.
        address: Text, packed bytes (4 or 16), or an `ipaddress` object.
        at: The time of the question; aware.

    Example:
        >>> from datetime import UTC, datetime
        >>> decide("acct-1", [], "9.9.9.9", datetime.now(UTC))
        Decision(allowed=True, reason='not_enforced', account='acct-1', entry=None, nearest=None)
        >>> decide("acct-1", [], "9.9.9", datetime.now(UTC)).reason
        'invalid_address'
    """
    matching = [entry for entry in entries if entry.matches(at)]
    trie = PrefixTrie({entry.cidr: entry for entry in matching})
    try:
        matched = trie.lookup(address)
    except InvalidAddressError:
        return Decision(allowed=False, reason="invalid_address", account=account)
    if not enforced(entries):
        return Decision(allowed=True, reason="not_enforced", account=account)
    if matched is not None:
        return Decision(allowed=True, reason="matched", account=account, entry=matched)
    return Decision(
        allowed=False, reason="not_listed", account=account, nearest=_nearest(matching, ip_address(address))
    )


def _nearest(entries: Collection[Entry], address: IPv4Address | IPv6Address) -> Entry | None:
    """The entry of the address's family that shares the most leading bits with it; the first of equals."""
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    nearest: Entry | None = None
    fewest_differing = address.max_prefixlen + 1
    for entry in in_address_order(entries):
        network = ip_network(entry.cidr).network_address
        if network.version == address.version:
            differing = (int(network) ^ int(address)).bit_length()
            if differing < fewest_differing:
                nearest, fewest_differing = entry, differing
    return nearest
