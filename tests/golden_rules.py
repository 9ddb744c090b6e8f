"""The rules written as slowly and plainly as they are said, on `ipaddress` alone.

Also what tests of the rules draw: for each rule a submission that breaks it, and for each option of the policy its
values. This is the one place in the tests that names all rules and all options.
"""

from __future__ import annotations

import re
from dataclasses import fields
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from cidrgate import Policy

if TYPE_CHECKING:
    from collections.abc import Sequence

Network = IPv4Network | IPv6Network
Found = tuple[str, int, frozenset[str]]

MAPPED = IPv6Network("::ffff:0:0/96")

BROKEN: dict[str, tuple[str, list[str], Policy]] = {
    "invalid_format": ("8.8.8.8", [], Policy()),
    "special_range": ("10.0.0.0/8", [], Policy()),
    "duplicate_entry": ("8.8.8.0/24", ["8.8.8.0/24"], Policy()),
    "subset_exists": ("8.8.8.8/32", ["8.8.8.0/24"], Policy()),
    "superset_conflict": ("8.8.0.0/16", ["8.8.8.0/24"], Policy()),
    "limit_reached": ("9.9.9.0/24", ["8.8.8.0/24", "1.1.1.1/32"], Policy(max_entries=2)),
}
"""For each rule a submission that breaks it alone, the list that it meets, and the policy."""

OPTIONS: dict[str, st.SearchStrategy[Any]] = {
    "max_entries": st.integers(1, 8),
    "allow_special": st.booleans(),
    "widest_ipv4": st.just(0),
    "widest_ipv6": st.just(0),
}
"""For each option of the policy the values that tests draw."""

assert OPTIONS.keys() == {option.name for option in fields(Policy)}, (
    "give the values that tests draw for each option of the policy in OPTIONS of tests/golden_rules.py"
)

policies: st.SearchStrategy[Policy] = st.builds(Policy, **OPTIONS)
PERMISSIVE = Policy(max_entries=1_000, allow_special=True)
"""A policy under which networks only have to be well written and apart."""


def text_of(block: Network) -> str:
    """Canonical text; Python 3.13 writes the IPv4-mapped block with a dotted quad."""
    return "::ffff:0:0/96" if block == MAPPED else str(block)


# Written down a second time on purpose, from RFC 6890 and its successors: block, is it fine to list?
SPECIAL = {
    ip_network(block): fine
    for fine, blocks in {
        False: (
            "0.0.0.0/8 0.0.0.0/32 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 "
            "192.0.0.0/29 192.0.0.8/32 192.0.0.170/32 192.0.0.171/32 192.0.2.0/24 192.88.99.0/24 192.88.99.2/32 "
            "192.168.0.0/16 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 224.0.0.0/4 240.0.0.0/4 255.255.255.255/32 "
            "::/128 ::1/128 ::ffff:0:0/96 64:ff9b:1::/48 100::/64 100:0:0:1::/64 2001::/23 2001::/32 2001:2::/48 "
            "2001:10::/28 2001:db8::/32 2002::/16 3fff::/20 5f00::/16 fc00::/7 fe80::/10 ff00::/8"
        ),
        True: (
            "192.0.0.9/32 192.0.0.10/32 192.31.196.0/24 192.52.193.0/24 192.175.48.0/24 64:ff9b::/96 2001:1::1/128 "
            "2001:1::2/128 2001:1::3/128 2001:3::/32 2001:4:112::/48 2001:20::/28 2001:30::/28 2620:4f:8000::/48"
        ),
    }.items()
    for block in blocks.split()
}


def inside(inner: Network, outer: Network) -> bool:
    """Whether one network covers another, or equals it."""
    if isinstance(inner, IPv4Network):
        return isinstance(outer, IPv4Network) and inner.subnet_of(outer)
    return isinstance(outer, IPv6Network) and inner.subnet_of(outer)


def parse(text: str) -> Network | None:
    """A network as written, or None when it is no strict `address/length`."""
    if not re.fullmatch(r"[0-9a-fA-F:.]+/(0|[1-9][0-9]{0,2})", text):
        return None
    try:
        return ip_network(text)
    except ValueError:
        return None


def unmapped(network: Network) -> Network:
    """The IPv4 network that an IPv4-mapped one stands for."""
    if isinstance(network, IPv6Network) and network.subnet_of(MAPPED):
        return IPv4Network((int(network.network_address) & 0xFFFFFFFF, network.prefixlen - 96))
    return network


def innermost_blocks(network: Network) -> set[Network]:
    """The most specific block around each address of a network.

    It can only change where a block begins or has ended, so one address of each such stretch speaks for all.
    """
    first, last = int(network.network_address), int(network.broadcast_address)
    same_family = [block for block in SPECIAL if block.version == network.version]
    edges = {edge for block in same_family for edge in (int(block[0]), int(block[-1]) + 1) if first <= edge <= last}
    found = set()
    for offset in {0, *(edge - first for edge in edges)}:
        around = [block for block in same_family if network[offset] in block]
        if around:
            found.add(max(around, key=lambda block: block.prefixlen))
    return found


def special_blocks(network: Network) -> frozenset[str]:
    """The blocks that forbid a network: the innermost one around it, or else all inside it."""
    if inside(network, MAPPED):
        return frozenset({text_of(MAPPED)})
    forbidding = [block for block in innermost_blocks(network) if not SPECIAL[block]]
    around = [block for block in forbidding if inside(network, block)]
    return frozenset(text_of(block) for block in around or forbidding)


def golden_validate(pieces: Sequence[str], existing: Sequence[str], policy: Policy) -> tuple[set[Found], list[str]]:
    """Every problem as (code, position, conflicts), and the canonical text of the pieces that are CIDRs."""
    found: set[Found] = set()
    canonical: list[str] = []
    before = [ip_network(cidr) for cidr in existing]
    counted: list[int] = []
    for position, text in enumerate(pieces):
        written = parse(text)
        if written is None:
            found.add(("invalid_format", position, frozenset()))
            counted.append(position)
            continue
        network = unmapped(written)
        canonical.append(str(network))
        if not policy.allow_special and special_blocks(written):
            found.add(("special_range", position, special_blocks(written)))
        if network in before:
            found.add(("duplicate_entry", position, frozenset({str(network)})))
            continue
        counted.append(position)
        wider = frozenset(str(other) for other in before if inside(network, other))
        narrower = frozenset(str(other) for other in before if inside(other, network))
        if wider:
            found.add(("subset_exists", position, wider))
        if narrower:
            found.add(("superset_conflict", position, narrower))
        before.append(network)
    if counted and len(existing) + len(counted) > policy.max_entries:
        found.add(("limit_reached", counted[max(0, policy.max_entries - len(existing))], frozenset()))
    return found, canonical
