"""`PrefixTrie` against a linear search on `ipaddress`, and against pytricia."""

from __future__ import annotations

import pickle
import random
from ipaddress import ip_network

import pytest
from hypothesis import given, strategies as st

from cidrgate import InvalidAddressError, PrefixTrie
from tests.golden import GoldenTrie, read_network
from tests.pytricia_table import PytriciaTable
from tests.strategies import addresses_near, prefix_lists, prefixes


@given(prefix_lists, st.data())
def test_longest_match_is_that_of_a_linear_search(texts: list[str], data: st.DataObject) -> None:
    trie, golden = PrefixTrie(texts), GoldenTrie(texts)
    for address in data.draw(st.lists(addresses_near(texts), max_size=10)):
        expected = golden.match(address)
        assert trie.match(address) == trie.lookup(address) == expected
        assert (address in trie) == (expected is not None)
        assert trie.lookup_many([address]).tolist() == [golden.index(address)]
        assert trie.contains_many([address]).tolist() == [expected is not None]


@given(prefix_lists, st.data())
def test_longest_match_is_that_of_pytricia(texts: list[str], data: st.DataObject) -> None:
    trie, peer = PrefixTrie(texts), PytriciaTable(texts)
    for address in data.draw(st.lists(addresses_near(texts), max_size=10)):
        assert trie.match(address) == peer.match(address)


@given(prefix_lists, st.lists(prefixes, max_size=5))
def test_covering_and_covered_are_those_of_a_linear_search(texts: list[str], others: list[str]) -> None:
    trie, golden = PrefixTrie(texts), GoldenTrie(texts)
    for text in [*others, *texts[:5], "0.0.0.0/0", "::/0"]:
        assert trie.covering(text) == golden.covering(text)
        assert trie.covered(text) == golden.covered(text)


@given(prefix_lists)
def test_iteration_is_in_address_order_without_repetition(texts: list[str]) -> None:
    trie, golden = PrefixTrie(texts), GoldenTrie(texts)
    assert list(trie) == [str(network) for network in golden.networks]
    assert len(trie) == len(golden.networks)


@given(prefix_lists, prefix_lists, st.randoms(use_true_random=False))
def test_equality_is_that_of_the_sets(texts: list[str], others: list[str], source: random.Random) -> None:
    shuffled = texts * 2
    source.shuffle(shuffled)
    assert PrefixTrie(texts) == PrefixTrie(shuffled)
    assert hash(PrefixTrie(texts)) == hash(PrefixTrie(shuffled))
    assert (PrefixTrie(texts) == PrefixTrie(others)) == (set(PrefixTrie(texts)) == set(PrefixTrie(others)))


@given(st.lists(st.tuples(prefixes, st.integers()), max_size=40), st.data())
def test_values_belong_to_their_prefixes(pairs: list[tuple[str, int]], data: st.DataObject) -> None:
    values = dict(pairs)
    trie = PrefixTrie(values)
    for address in data.draw(st.lists(addresses_near(list(values)), max_size=5)):
        match = trie.match(address)
        assert trie.lookup(address) == (None if match is None else values[match])
    assert PrefixTrie(values) == trie
    assert pickle.loads(pickle.dumps(trie)) == trie


def test_of_several_spellings_the_last_value_counts() -> None:
    trie = PrefixTrie({"2600::/16": 1, "2600:0::/16": 2, "::ffff:8.8.8.0/120": 3, "8.8.8.0/24": 4})
    assert (trie.lookup("2600::1"), trie.lookup("8.8.8.8"), list(trie)) == (2, 4, ["8.8.8.0/24", "2600::/16"])
    assert trie != PrefixTrie(list(trie))
    assert trie != PrefixTrie({"2600::/16": 2, "8.8.8.0/24": 5})


@given(prefix_lists)
def test_a_copy_by_pickle_is_equal(texts: list[str]) -> None:
    trie = PrefixTrie(texts)
    copy = pickle.loads(pickle.dumps(trie))
    assert copy == trie
    assert hash(copy) == hash(trie)
    assert copy.nbytes == trie.nbytes


def around(source: random.Random, count: int, family: int) -> list[str]:
    """Prefixes of all lengths that share their first bits, so that every kind of node is grown."""
    bits = 32 if family == 4 else 128
    found = []
    for _ in range(count):
        length = source.choice([8, 9, 15, 16, 17, 20, 23, 24, 25, 28, 31, 32] if family == 4 else range(12, 129))
        number = 0x08000000 if family == 4 else 0x2600 << 112
        number |= source.getrandbits(bits - 16) << source.choice([0, 4, 8]) & (2 ** (bits - 8) - 1)
        found.append(str(read_network(str(ip_network((number, length), strict=False)))))
    return found


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("count", [1, 2, 63, 64, 65, 66, 300, 2_000, 4_095, 4_096, 4_200, 30_000])
def test_every_size_of_table_answers_like_pytricia(family: int, count: int) -> None:
    source = random.Random(count * family)
    texts = around(source, count, family) + (["0.0.0.0/0", "::/0"] if count % 2 else [])
    trie, peer = PrefixTrie(texts), PytriciaTable(texts)
    asked = []
    for text in source.choices(texts, k=3_000):
        network = ip_network(text)
        first, last = int(network[0]), int(network[-1])
        number = source.choice([first, last, max(0, first - 1), min(last + 1, 2**network.max_prefixlen - 1)])
        asked.append(str(type(network[0])(number)))
    expected = [peer.match(address) for address in asked]
    assert [trie.match(address) for address in asked] == expected
    listed = list(trie)
    indices = trie.lookup_many(asked).tolist()
    assert [listed[index] if index >= 0 else None for index in indices] == expected
    assert trie.contains_many(asked * 2).tolist() == [match is not None for match in expected] * 2


def test_a_trie_of_nothing_has_nothing() -> None:
    trie = PrefixTrie()
    assert (len(trie), list(trie), "8.8.8.8" in trie, trie.match("::"), trie.lookup("8.8.8.8")) == (
        0,
        [],
        False,
        None,
        None,
    )
    assert trie.covered("0.0.0.0/0") == trie.covering("8.8.8.8/32") == []
    assert trie == PrefixTrie([])
    assert trie != "a str"


def test_a_wrong_prefix_is_named() -> None:
    with pytest.raises(InvalidAddressError, match=r"8\.8\.8\.8/24"):
        PrefixTrie(["8.8.8.0/24", "8.8.8.8/24"])
    for method in (PrefixTrie().covering, PrefixTrie().covered):
        with pytest.raises(InvalidAddressError, match="not a network prefix"):
            method("8.8.8.8")
