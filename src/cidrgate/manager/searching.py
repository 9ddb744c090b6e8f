"""Searches across all accounts: which entries cover or overlap a network."""

from __future__ import annotations

from datetime import UTC, datetime
from ipaddress import ip_address
from typing import TYPE_CHECKING

from cidrgate.errors import InvalidAddressError
from cidrgate.manager.queries import in_sql
from cidrgate.rules.asked_networks import asked_network
from cidrgate.stores.search import WantedNetwork
from cidrgate.values import FoundEntry, prefix_text

if TYPE_CHECKING:
    from cidrgate.stores import Store
    from cidrgate.values import Address, Prefix

__all__ = ["find_entries", "network_of"]


def find_entries(
    store: Store,
    covers: Address | Prefix | None,
    overlaps: Address | Prefix | None,
    *,
    after: int = 0,
    limit: int | None = None,
) -> list[FoundEntry]:
    """Return the entries of all accounts that cover or overlap a network, in the order in which they were added."""
    if covers is not None and overlaps is None:
        wanted = WantedNetwork(network_of(covers), overlaps=False)
    elif overlaps is not None and covers is None:
        wanted = WantedNetwork(network_of(overlaps), overlaps=True)
    else:
        raise TypeError("name either the network that entries cover, or the one that they overlap")
    after, limit = in_sql(after, "after"), in_sql(limit, "limit")
    with store.read() as transaction:
        found = transaction.find_entries(wanted, after=after, limit=limit)
    at = datetime.now(UTC)
    return [FoundEntry(entry=row.entry, allows=row.entry.matches(at), subaccounts=row.subaccounts) for row in found]


def network_of(asked: Address | Prefix) -> str:
    """Return what somebody asks about as canonical text; an address is its /32 or /128.

    Raises:
        InvalidAddressError: If it is neither an address nor a network.

    Example:
        >>> network_of("8.8.8.8"), network_of("::ffff:8.8.8.0/120"), network_of(bytes(16))
        ('8.8.8.8/32', '8.8.8.0/24', '::/128')
    """
    if isinstance(asked, bytes):
        if len(asked) not in (4, 16):
            raise InvalidAddressError(f"an address has 4 or 16 bytes, not {len(asked)}")
        asked = ip_address(asked)
    return asked_network(prefix_text(asked))
