"""Lists for the programs, and the addresses that they are asked about."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from random import Random
from typing import TYPE_CHECKING

from cidrgate import Matcher, PrefixTrie
from cidrgate.formatters import AccountList

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["HOSTILE_NAMES", "LISTS", "LONG_NAMES", "addresses_of", "names", "verdict"]

HOSTILE_NAMES = [
    'a"b',
    "a'b",
    "x;y",
    "a b",
    "{ }",
    "}",
    "#",
    "# a",
    "//",
    "$account",
    "${cidrgate_d}",
    "$cidrgate_list_1",
    "1",
    "0",
    "\\",
    "ends\\",
    "\\\\",
    "\\1",
    "\\n",
    "\\x41",
    "%{x}",
    "%[src]",
    "default",
    "include",
    "hostnames",
    "volatile",
    "~",
    "~^.*$",
    "~*.*",
    "^(.+)$",
    ".*",
    "*.example",
    ".example",
    "-f",
    "@x",
    "a,b",
    "a:b",
    "a=b&c",
    "`id`",
    "$(id)",
    "drop",
    "account",
    "Zoë",
    "zoë",
    "z\u00f6\u00e9 \U0001f600",
    "Case",
    "CASE",
    "<a>",
    "null",
    "true",
    "8.8.8.0/24",
]
LONG_NAMES = ["$" * 255, "\\" * 255, "\u00e9" * 255, "x" * 46, "y" * 47, '"' * 255]
"""Names that some programs can only hold in another way, or not at all."""


def _random_lists(random: Random) -> Iterator[tuple[str, ...]]:
    for _ in range(6):
        trie = PrefixTrie([])
        for _ in range(30):
            width = random.choice([32, 128])
            length = random.randint(1, width)
            number = random.getrandbits(width) >> (width - length) << (width - length)
            cidr = f"{IPv4Address(number) if width == 32 else IPv6Address(number)}/{length}"
            if not trie.covering(cidr) and not trie.covered(cidr):
                trie = PrefixTrie([*trie, cidr])
        yield tuple(trie)


def _lists() -> Iterator[AccountList]:
    yield AccountList(account="acct-1", subaccounts=("sub-1", "sub $2"), cidrs=("8.8.8.0/25", "2606:4700::/33"))
    yield AccountList(account="one-address", cidrs=("1.1.1.1/32", "2620:fe::9/128"))
    yield AccountList(account="closed", cidrs=())
    yield AccountList(account="open", subaccounts=("open-sub",), cidrs=None)
    yield AccountList(account="every-ipv4", cidrs=("0.0.0.0/0",))
    yield AccountList(account="every-ipv6", cidrs=("::/0",))
    yield AccountList(account="edges", cidrs=("0.0.0.0/32", "255.255.255.252/31", "::/127", "fe00::/8"))
    for number, cidrs in enumerate(_random_lists(Random(7))):
        yield AccountList(account=f"random-{number}", cidrs=cidrs)
    for number, name in enumerate(HOSTILE_NAMES):
        yield AccountList(account=name, cidrs=(f"9.9.{number}.0/24", f"2620:fe:{number:x}::/48"))


LISTS = tuple(_lists())


def names(one: AccountList) -> tuple[str, ...]:
    """The accounts with a list."""
    return (one.account, *one.subaccounts)


def _can_be_a_client(address: IPv4Address | IPv6Address) -> bool:
    mapped = isinstance(address, IPv6Address) and address.ipv4_mapped is not None
    return not (address.is_multicast or address.is_unspecified or address == _BROADCAST or mapped)


def addresses_of(cidrs: Iterable[str]) -> list[str]:
    """The first and the last address of each network, and those beside them, if a client can have them."""
    found = {"8.8.8.8", "9.9.0.9", "2606:4700::1"}
    for cidr in cidrs:
        network = ip_network(cidr)
        kind = type(network.network_address)
        first, last = int(network.network_address), int(network.broadcast_address)
        found |= {
            str(kind(number))
            for number in (first - 1, first, last, last + 1)
            if 0 <= number < 1 << network.max_prefixlen
        }
    return sorted(map(str, filter(_can_be_a_client, map(ip_address, found))))


_BROADCAST = IPv4Address("255.255.255.255")
MATCHER = Matcher()
for _one in LISTS:
    if _one.cidrs is not None:
        MATCHER.publish(_one.account, list(_one.cidrs) or ["192.0.2.0/32"])  # an empty list would not be enforced
        for _name in _one.subaccounts:
            MATCHER.link(_name, parent=_one.account)


def verdict(account: str, address: str) -> bool:
    """What cidrgate decides, for an account that exists."""
    return MATCHER.allows(account, address)
