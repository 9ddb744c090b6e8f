"""The table of special-purpose blocks: against a second writing of it, and against `ipaddress`."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cidrgate.rules import SPECIAL_RANGES, special_blocks
from tests import golden_rules

# Where the registry and the standard library's `is_global` say different things, the registry counts here: it has
# changed since, or the library follows an older reading (multicast, 6to4 and the relay block count as global there).
DIFFER = [
    ip_network(text)
    for text in [
        *["192.0.0.0/24", "192.88.99.0/24", "224.0.0.0/4", "ff00::/8", "2001::/23", "2002::/16", "64:ff9b:1::/48"],
        *["100:0:0:1::/64", "3fff::/20", "5f00::/16", "fec0::/10", "::ffff:0:0/96"],
    ]
]


def test_both_writings_of_the_table_agree() -> None:
    table = {ip_network(block.cidr): bool(block.globally_reachable) for block in SPECIAL_RANGES}
    assert table == golden_rules.SPECIAL
    assert all(block.name and block.rfc.startswith("RFC ") for block in SPECIAL_RANGES)


@given(st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)))
def test_single_addresses_agree_with_the_standard_library(address: object) -> None:
    network = ip_network(str(address))
    if any(network.version == other.version and network.overlaps(other) for other in DIFFER):
        return
    assert bool(special_blocks(str(network))) == (not ip_address(str(address)).is_global)


@pytest.mark.parametrize("block", SPECIAL_RANGES, ids=lambda block: block.cidr)
def test_each_block_is_judged_as_registered(block: object) -> None:
    cidr = block.cidr  # type: ignore[attr-defined]
    if block.globally_reachable:  # type: ignore[attr-defined]
        assert special_blocks(cidr) == ()
    elif not cidr.startswith("::ffff:"):
        assert special_blocks(cidr) == (block,)
