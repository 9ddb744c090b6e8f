"""The peers, each behind the same two functions: build a table, ask it about many addresses one at a time."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any

import netaddr
import pytricia
import radix
import SubnetTree

from benchmarks.mmdb import MappedTable, mapped_table
from cidrgate import PrefixTrie

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["PEERS", "Peer"]


@dataclass(frozen=True, slots=True)
class Peer:
    """A library that answers whether an address is in a table.

    Attributes:
        name: As people know it.
        build: From prefixes of one family as text to a table.
        ask: Asks a table about each address, one `str` at a time, in the way its documentation shows.
        scales: Whether a full routing table is reasonable.
        builds: Whether the library builds tables itself. Otherwise `build` is code of these benchmarks, and only its
            result is measured.
    """

    name: str
    build: Callable[[Sequence[str]], Any]
    ask: Callable[[Any, Sequence[str]], None]
    scales: bool = True
    builds: bool = True


def _ask_by_in(table: Any, addresses: Sequence[str]) -> None:
    for address in addresses:
        address in table  # noqa: B015


def _build_pytricia(prefixes: Sequence[str]) -> Any:
    table = pytricia.PyTricia(128 if ":" in prefixes[0] else 32)
    for prefix in prefixes:
        table[prefix] = True
    return table


def _build_frozen_pytricia(prefixes: Sequence[str]) -> Any:
    table = _build_pytricia(prefixes)
    table.freeze()
    return table


def _build_radix(prefixes: Sequence[str]) -> Any:
    table = radix.Radix()
    for prefix in prefixes:
        table.add(prefix)
    return table


def _ask_radix(table: Any, addresses: Sequence[str]) -> None:
    for address in addresses:
        table.search_best(address)


def _build_subnet_tree(prefixes: Sequence[str]) -> Any:
    table = SubnetTree.SubnetTree()
    for prefix in prefixes:
        table[prefix] = True
    return table


def _ask_netaddr(table: Any, addresses: Sequence[str]) -> None:
    for address in addresses:
        netaddr.IPAddress(address) in table  # noqa: B015


def _ask_mmdb(table: MappedTable, addresses: Sequence[str]) -> None:
    get = table.reader.get
    for address in addresses:
        get(address)


def _ask_linear(table: Any, addresses: Sequence[str]) -> None:
    for text in addresses:
        address = ip_address(text)
        any(address in network for network in table)


PEERS = (
    Peer("cidrgate", PrefixTrie, _ask_by_in),
    Peer("pytricia", _build_pytricia, _ask_by_in),
    Peer("pytricia, frozen", _build_frozen_pytricia, _ask_by_in),
    Peer("py-radix", _build_radix, _ask_radix),
    Peer("pysubnettree", _build_subnet_tree, _ask_by_in),
    Peer("maxminddb, membership only", mapped_table, _ask_mmdb, builds=False),
    Peer("netaddr.IPSet", netaddr.IPSet, _ask_netaddr, scales=False),
    Peer("ipaddress, linear", lambda prefixes: [ip_network(prefix) for prefix in prefixes], _ask_linear, scales=False),
)
