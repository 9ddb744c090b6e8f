"""The decision of a list about one address, and the display order of a list. Pure functions on entries."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address
from socket import AF_INET, AF_INET6, inet_pton
from typing import TYPE_CHECKING

from cidrgate._engine import PrefixTrie
from cidrgate.errors import InvalidAddressError
from cidrgate.values import Account, Decision, Entry, ListState, account_text, list_state_of, text_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from datetime import datetime

    from cidrgate.values import Address

__all__ = ["decide", "enforced", "has_list", "in_address_order", "list_state"]


def in_address_order(entries: Collection[Entry]) -> list[Entry]:
    """Return the entries of one list in address order: IPv4 before IPv6.

    Args:
        entries: Entries with canonical and distinct CIDRs.
    """
    by_cidr = {entry.cidr: entry for entry in entries}
    return [by_cidr[cidr] for cidr in PrefixTrie(by_cidr)]


def has_list(entries: Collection[object], account: Account | None) -> bool:
    """Return whether there is a list that can be enforced: it has any entry, expired or not, or the account is closed.

    Args:
        entries: The account's whole effective list: for a subaccount, its parent's list.
        account: The account whose list it is; None for an account with the default settings.

    Example:
        >>> has_list([], None), has_list(["8.8.8.0/24"], None)
        (False, True)
    """
    return len(entries) > 0 or (account is not None and account.closed)


def enforced(entries: Collection[object], account: Account | None, at: datetime) -> bool:
    """Return whether a list denies the addresses it does not contain: it is a list, and its mode is `enforce`.

    The expiry of an entry never allows more addresses: a list with only expired entries denies every address until
    someone removes them. Every layer uses this function. For many accounts, `Transaction.list_states` of the store and
    `Matcher.enforced` give the same result.

    Args:
        entries: The account's whole effective list: for a subaccount, its parent's list.
        account: The account whose list it is; None for an account with the default settings.
        at: The time to check the expiry of a mode against, with a time zone.
    """
    return has_list(entries, account) and (account is None or account.mode_at(at) == "enforce")


def list_state(entries: Collection[Entry], account: Account, at: datetime) -> ListState:
    """Return the summary of a list.

    Args:
        entries: The whole list, including expired entries.
        account: The account whose list it is.
        at: The time to check expiries against, with a time zone.
    """
    return list_state_of(sum(entry.counts(at) for entry in entries), has_list(entries, account), account, at)


def decide(account: Account | str, entries: Collection[Entry], address: Address, at: datetime) -> Decision:
    """Decide whether an address may act for an account with these entries, and why.

    The result agrees with `Matcher.allows` and with a gate, except for an invalid address. Here it is denied for every
    account. `Matcher.allows` raises an exception, and a gate denies it only if the account is enforced. An expired
    entry matches nothing, but a list with only expired entries is still enforced: the expiry of an entry never allows
    more addresses.

    Args:
        account: The account whose list decides, or the name of an account with the default settings.
        entries: Its whole list, including expired entries.
        address: Text, packed bytes (4 or 16), or an `ipaddress` object.
        at: The time to check expiries against, with a time zone.

    Example:
        >>> from datetime import UTC, datetime
        >>> decide("acct-1", [], "9.9.9.9", datetime.now(UTC))
        Decision(allowed=True, reason='not_enforced', account='acct-1', entry=None, nearest=None, mode='enforce')
        >>> decide("acct-1", [], "9.9.9", datetime.now(UTC)).reason
        'invalid_address'
    """
    name, owner = (account.name, account) if isinstance(account, Account) else (account_text(account), None)
    mode = "enforce" if owner is None else owner.mode_at(at)
    matching = [entry for entry in entries if entry.matches(at)]
    trie = PrefixTrie({entry.cidr: entry for entry in matching})
    try:
        matched = trie.lookup(address)
    except InvalidAddressError:
        return Decision(allowed=False, reason="invalid_address", account=name, mode=mode)
    if matched is not None:
        return Decision(allowed=True, reason="matched", account=name, entry=matched, mode=mode)
    if mode == "off" or not has_list(entries, owner):
        return Decision(allowed=True, reason="not_enforced", account=name, mode=mode)
    nearest = _nearest(trie.values(), _object_of(address))
    return Decision(allowed=mode != "enforce", reason="not_listed", account=name, nearest=nearest, mode=mode)


def _object_of(address: Address) -> IPv4Address | IPv6Address:
    if isinstance(address, IPv4Address | IPv6Address):  # an interface is its address
        return address
    return ip_address(text_of(address) if isinstance(address, str) else address)


def _nearest(entries: Iterable[Entry], address: IPv4Address | IPv6Address) -> Entry | None:
    """Return the entry of the address's family that shares the most leading bits with it; the first if several do."""
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    family, number = (AF_INET if address.version == 4 else AF_INET6), int(address)
    nearest: Entry | None = None
    fewest_differing = address.max_prefixlen + 1
    for entry in entries:
        if (":" in entry.cidr) == (family == AF_INET6):
            network_address = inet_pton(family, entry.cidr.partition("/")[0])
            differing = (int.from_bytes(network_address, "big") ^ number).bit_length()
            if differing < fewest_differing:
                nearest, fewest_differing = entry, differing
    return nearest
