"""The table of special-purpose blocks: against a second writing of it, and against `ipaddress`."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given, strategies as st

from cidrgate import PrefixTrie
from cidrgate.rules import SPECIAL_RANGES, special_block, special_blocks
from cidrgate.rules.special_ranges import special_networks
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


@pytest.mark.parametrize(
    ("cidr", "blocks"),
    [
        ("2001:20::/27", []),  # two reachable blocks side by side leave nothing to 2001::/23 around them
        ("2001:1::2/127", []),
        ("2001:1::/126", ["2001::/23"]),
        ("2001::/26", ["2001::/23"]),
        ("192.0.0.8/31", ["192.0.0.8/32"]),
        ("192.0.0.170/31", ["192.0.0.170/32", "192.0.0.171/32"]),
        ("192.0.0.10/31", ["192.0.0.0/24"]),
        ("100::/63", ["100::/64", "100:0:0:1::/64"]),
        ("::fffe:0:0/95", ["::ffff:0:0/96"]),
        ("2620:4f:8000::/47", []),
        ("192.175.48.128/25", []),
    ],
)
def test_a_network_of_several_blocks_is_judged_by_all_its_addresses(cidr: str, blocks: list[str]) -> None:
    assert [block.cidr for block in special_blocks(cidr)] == blocks
    assert golden_rules.special_blocks(ip_network(cidr)) == frozenset(blocks)
    named = special_block(cidr)
    assert (named.cidr if named else None) == next(iter(blocks), None)


@pytest.mark.parametrize("block", SPECIAL_RANGES, ids=lambda block: block.cidr)
def test_each_block_is_judged_as_registered(block: object) -> None:
    cidr = block.cidr  # type: ignore[attr-defined]
    if block.globally_reachable:  # type: ignore[attr-defined]
        assert special_blocks(cidr) == ()
    elif not cidr.startswith("::ffff:"):
        assert special_blocks(cidr) == (block,)


def near(cidr: str) -> st.SearchStrategy[str]:
    """Networks around a block, inside of it and beside it."""
    block = ip_network(cidr)
    first, bits = int(block.network_address), block.max_prefixlen
    return st.tuples(st.integers(-2, block.num_addresses + 1), st.integers(0, bits)).map(
        lambda drawn: str(
            ip_network(f"{type(block.network_address)((first + drawn[0]) % 2**bits)}/{drawn[1]}", strict=False)
        )
    )


@given(st.sampled_from([block.cidr for block in SPECIAL_RANGES]).flatmap(near))
def test_a_network_is_special_if_it_overlaps_one_of_the_special_networks(cidr: str) -> None:
    network, mapped = ip_network(cidr), ip_network("::ffff:0:0/96")
    if network.version == 6 and network.subnet_of(mapped):  # type: ignore[arg-type]
        return  # the engine reads it as IPv4
    others = [ip_network(text) for text in special_networks()] + [mapped]
    overlapped = [one for one in others if one.version == network.version and one.overlaps(network)]
    assert bool(overlapped) == bool(golden_rules.special_blocks(network))


def test_no_two_special_networks_overlap() -> None:
    trie = PrefixTrie(special_networks())
    assert list(trie) == list(special_networks())
    assert [cidr for cidr in trie if trie.covering(cidr) != [cidr]] == []
