"""The full routing table: prefixes are found again, and random addresses get pytricia's answers.

Under `make test-long` every prefix is looked up.
"""

from __future__ import annotations

import random
from ipaddress import IPv4Address, IPv6Address, ip_network

import pytest

from benchmarks.routing_table import routing_table
from cidrgate import PrefixTrie
from tests.length import length
from tests.pytricia_table import PytriciaTable

RANDOM_ADDRESSES = length(50_000, 200_000)
LOOKED_UP = length(10, 1)
"""One of so many prefixes of the table is looked up."""


@pytest.fixture(scope="module")
def prefixes() -> list[str]:
    return routing_table().prefixes


@pytest.fixture(scope="module")
def tables(prefixes: list[str]) -> tuple[PrefixTrie[str], PytriciaTable]:
    return PrefixTrie(prefixes), PytriciaTable(prefixes)


@pytest.mark.slow
def test_a_prefix_is_found_by_its_first_and_last_address(
    prefixes: list[str], tables: tuple[PrefixTrie[str], PytriciaTable]
) -> None:
    trie, peer = tables
    assert len(prefixes) == len(trie) == 1_062_046
    for text in prefixes[::LOOKED_UP]:
        network = ip_network(text)
        first = str(network.network_address)
        last = str(network.broadcast_address)
        assert trie.match(first) == peer.match(first)
        assert trie.match(last) == peer.match(last)
        # Nothing longer begins there but at the same address, so the prefix itself is among those that cover it.
        assert text in (trie.match(first), *trie.covering(text)[-1:])


@pytest.mark.slow
def test_random_addresses_get_the_same_answers(
    prefixes: list[str], tables: tuple[PrefixTrie[str], PytriciaTable]
) -> None:
    trie, peer = tables
    source = random.Random(200_000)
    addresses = []
    for number in range(RANDOM_ADDRESSES):
        if number % 2:
            addresses.append(str(IPv4Address(source.getrandbits(32))))
        else:
            network = ip_network(source.choice(prefixes))
            offset = source.randrange(min(network.num_addresses, 2**70))
            addresses.append(str(network.network_address + offset))
    addresses += [str(IPv6Address(source.getrandbits(125) | 1 << 125)) for _ in range(1_000)]
    expected = [peer.match(address) for address in addresses]
    assert [trie.match(address) for address in addresses] == expected
    listed = list(trie)
    found = trie.lookup_many(addresses).tolist()
    assert [listed[index] if index >= 0 else None for index in found] == expected
    assert trie.contains_many(addresses).tolist() == [match is not None for match in expected]
