"""The routing table that benchmarks measure with, and the lists made of it."""

from __future__ import annotations

import gzip
from collections import Counter
from ipaddress import ip_network
from itertools import combinations
from typing import TYPE_CHECKING

from hypothesis import given, strategies as st

from benchmarks import routing_table as source
from benchmarks.routing_table import generated_table, routing_table, spread_over_accounts
from cidrgate import NewEntry, Policy, PrefixTrie
from cidrgate.rules import special_block, validate_replacement

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

SIZE = 1_062_046
SMALL_IPV4 = {length: -(-count // 500) for length, count in source.IPV4_LENGTHS.items()}
SMALL_IPV6 = {length: -(-count // 500) for length, count in source.IPV6_LENGTHS.items()}


def lengths_of(prefixes: list[str], colon: bool) -> dict[int, int]:
    return dict(Counter(int(text.rpartition("/")[2]) for text in prefixes if (":" in text) == colon))


def test_a_generated_table_has_the_asked_lengths_and_nested_prefixes() -> None:
    table = generated_table(SMALL_IPV4, SMALL_IPV6)
    assert lengths_of(table, colon=False) == SMALL_IPV4
    assert lengths_of(table, colon=True) == SMALL_IPV6
    trie = PrefixTrie(table)
    assert list(trie) == table
    for colon in (False, True):
        assert any(len(trie.covering(text)) > 1 for text in table if (":" in text) == colon)


def test_a_generated_table_depends_on_its_seed_alone() -> None:
    table = generated_table(SMALL_IPV4, SMALL_IPV6)
    assert generated_table(SMALL_IPV4, SMALL_IPV6) == table
    assert generated_table(SMALL_IPV4, SMALL_IPV6, seed=1) != table


def test_without_a_file_a_table_of_the_full_size_is_generated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CIDRGATE_ROUTING_TABLE", raising=False)
    monkeypatch.setattr(source, "_NEAR", tmp_path / "absent.txt.gz")
    table = routing_table()
    assert len(table.prefixes) == sum(source.IPV4_LENGTHS.values()) + sum(source.IPV6_LENGTHS.values()) == SIZE
    assert "generated from a seed" in table.source
    assert str(tmp_path) not in table.source


def test_a_named_file_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "table.txt.gz"
    with gzip.open(file, "wt") as lines:
        lines.write("9.9.9.0/24\n8.8.8.0/24\n")
    monkeypatch.setenv("CIDRGATE_ROUTING_TABLE", str(file))
    table = routing_table()
    assert table.prefixes == ["8.8.8.0/24", "9.9.9.0/24"]
    assert "real" in table.source
    assert str(tmp_path) not in table.source


@st.composite
def networks(draw: st.DrawFn) -> str:
    length = draw(st.integers(8, 28))
    bits = draw(st.integers(0, 15)) << 24 | draw(st.sampled_from([0, 1 << 20, 3 << 14, 5]))
    return f"{ip_network((bits >> (32 - length) << (32 - length), length))}"


@given(st.lists(networks(), max_size=30), st.integers(1, 5), st.integers(1, 4))
def test_lists_keep_the_rules_and_use_no_prefix_twice(prefixes: list[str], accounts: int, most: int) -> None:
    lists = spread_over_accounts(prefixes, accounts, most)
    used = [cidr for held in lists.values() for cidr in held]
    assert len(lists) <= accounts
    assert len(used) == len(set(used))
    assert set(used) <= {text for text in prefixes if special_block(text) is None}
    for held in lists.values():
        assert validate_replacement([NewEntry(cidr) for cidr in held], Policy(max_entries=most)) == held
        assert not any(ip_network(one).overlaps(ip_network(other)) for one, other in combinations(held, 2))


def test_a_table_that_fits_is_used_whole_and_one_that_does_not_evenly() -> None:
    flat = [f"11.{middle}.{last}.0/24" for middle in range(4) for last in range(100)]
    assert sum(map(len, spread_over_accounts(flat, 40, 10).values())) == 400
    used = [cidr for held in spread_over_accounts(flat, 20, 10).values() for cidr in held]
    assert len(used) == 200
    assert Counter(cidr.split(".")[1] for cidr in used) == dict.fromkeys("0123", 50)
