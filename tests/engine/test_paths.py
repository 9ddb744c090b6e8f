"""Compressed paths: tables of every shape that makes leaves, runs and skips, beside pytricia."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address, IPv6Address
from random import Random
from threading import Barrier

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from pytricia import PyTricia

from cidrgate import Matcher, PrefixTrie
from cidrgate._engine import _set_limit, _use_vector_form, _vector_forms

BITS = {4: 32, 6: 128}


def text(family: int, number: int) -> str:
    return str((IPv4Address if family == 4 else IPv6Address)(number))


def with_few_long(random: Random, found: set[tuple[int, int]]) -> set[tuple[int, int]]:
    """The prefixes cut to 64 bits, enough others of that length, and a few longer ones beside and inside of them."""
    upper = {(first >> 64 << 64, min(length, 64)) for first, length in found}
    upper |= {(random.getrandbits(24) << 104 | random.getrandbits(40) << 64, 64) for _ in range(80)}
    for _ in range(random.randrange(len(upper) // 16 + 1)):
        first, _length = random.choice(sorted(upper))
        length = random.choice([65, 66, 96, 127, 128])
        upper.add(((first | random.getrandbits(64)) >> (128 - length) << (128 - length), length))
    return upper


@st.composite
def tables(draw: st.DrawFn) -> tuple[int, list[tuple[int, int]]]:
    """A family, and more prefixes than are searched as arrays: clusters at a depth, of few or many, nested or not."""
    family = draw(st.sampled_from([4, 6]))
    bits = BITS[family]
    random = Random(draw(st.integers(0, 2**32)))
    found = set()
    for _ in range(draw(st.integers(1, 6))):
        depth = draw(st.integers(0, bits - 1))
        base = random.getrandbits(bits) >> (bits - depth) << (bits - depth)
        lengths = draw(st.lists(st.integers(depth, bits), min_size=1, max_size=4))
        spread = draw(st.sampled_from([3, 8, 20, 60, bits]))
        for _ in range(draw(st.sampled_from([1, 2, 7, 8, 9, 20, 70, 300]))):
            length = random.choice(lengths)
            number = base | random.getrandbits(min(spread, bits - depth)) << max(0, bits - depth - spread)
            found.add((number >> (bits - length) << (bits - length), length))
    if family == 6 and draw(st.booleans()):
        found = with_few_long(random, found)
    while len(found) <= 64:
        found.add((random.getrandbits(bits), bits))
    mapped = 0xFFFF << 32
    return family, sorted(one for one in found if family == 4 or one[0] >> 32 != mapped >> 32)


def near(family: int, table: list[tuple[int, int]], random: np.random.Generator) -> list[int]:
    """Addresses at the edges of prefixes, inside of them, and one bit away."""
    bits = BITS[family]
    asked = [0, 2**bits - 1]
    for index in random.integers(0, len(table), 150):
        first, length = table[index]
        last = first | (1 << bits - length) - 1
        asked += [first, last, (first - 1) % 2**bits, (last + 1) % 2**bits, first ^ 1 << int(random.integers(0, bits))]
    return [number for number in asked if family == 4 or number >> 32 != 0xFFFF]


def arrays(family: int, asked: list[int]) -> np.ndarray:
    if family == 4:
        return np.array(asked, dtype=np.uint32)
    return np.frombuffer(b"".join(number.to_bytes(16, "big") for number in asked), dtype=np.uint8).reshape(-1, 16)


@settings(max_examples=150)
@given(table=tables(), seed=st.integers(0, 2**32))
def test_every_shape_of_table_finds_what_pytricia_finds(table: tuple[int, list[tuple[int, int]]], seed: int) -> None:
    family, prefixes = table
    texts = [f"{text(family, first)}/{length}" for first, length in prefixes]
    trie = PrefixTrie(texts)
    peer = PyTricia(BITS[family])
    for prefix in texts:
        peer[prefix] = prefix
    order = {prefix: index for index, prefix in enumerate(trie)}
    assert list(order) == texts
    asked = near(family, prefixes, np.random.default_rng(seed))
    expected = [peer.get(text(family, number)) for number in asked]
    assert [trie.lookup(text(family, number)) for number in asked] == expected
    places = [-1 if match is None else order[match] for match in expected]
    assert trie.lookup_many(arrays(family, asked)).tolist() == places
    assert trie.lookup_many([text(family, number) for number in asked]).tolist() == places
    # The same list beside one of the other family, whose index comes before it or after it.
    both = PrefixTrie([*texts, *(f"9.9.9.{n}/32" for n in range(70)), *(f"2600::{n:x}/128" for n in range(70))])
    assert [both.contains_many(arrays(family, asked)).tolist()] == [
        [both.match(text(family, n)) is not None for n in asked]
    ]


def random_table(family: int, shape: str, count: int) -> list[str]:
    source = np.random.default_rng(count)
    upper = [int(number) for number in source.integers(0, 2**63, count)]
    lower = [int(number) for number in source.integers(0, 2**63, count)]
    made = {
        "random /32": lambda n: f"{IPv4Address(upper[n] & 0xFFFFFFFF)}/32",
        "random /128": lambda n: f"{IPv6Address(upper[n] << 65 | lower[n])}/128",
        "/64 in a /32": lambda n: f"{IPv6Address(0x26064700 << 96 | (upper[n] & 0xFFFFFFFF) << 64)}/64",
        "/128 in a /48": lambda n: f"{IPv6Address(0x260647000001 << 80 | (upper[n] & 0xFFFF) << 64 | lower[n])}/128",
    }
    return [made[shape](n) for n in range(count)]


@pytest.mark.parametrize("count", [64, 65, 500, 4_096, 8_191, 8_192, 20_000])
@pytest.mark.parametrize(
    ("family", "shape", "most"),
    [(4, "random /32", 40), (6, "random /128", 60), (6, "/64 in a /32", 60), (6, "/128 in a /48", 60)],
)
def test_a_prefix_takes_few_bytes_whatever_its_length(family: int, shape: str, most: int, count: int) -> None:
    trie = PrefixTrie(random_table(family, shape, count))
    assert trie.nbytes / len(trie) <= most


def test_a_bitmap_answers_many_numbers_as_the_trie_does() -> None:
    source = np.random.default_rng(6)
    prefixes = [
        "0.0.0.0/32",
        "255.255.255.255/32",
        "255.255.255.0/25",
        "9.0.0.0/8",
        "9.9.9.0/25",
        "9.9.9.9/32",
        "10.0.0.0/23",
    ]
    for length in (7, 11, 15, 16, 17, 22, 23, 24, 25, 30, 31, 32):
        count = 40 if length <= 24 else 8  # a bitmap is made where few prefixes are longer than /24
        prefixes += [
            f"{IPv4Address(int(n) >> 32 - length << 32 - length)}/{length}" for n in source.integers(0, 2**32, count)
        ]
    trie = PrefixTrie(prefixes)
    assert len(trie) > 127
    numbers = source.integers(0, 2**32, 300_000, dtype=np.uint32)
    firsts = np.array([int(IPv4Address(prefix.partition("/")[0])) for prefix in trie], dtype=np.uint32)
    numbers[: 5 * len(firsts)] = np.concatenate([firsts + np.uint32(by) for by in (0, 1, 127, 255, 2**32 - 1)])
    expected = trie.lookup_many(numbers) >= 0
    for count in (len(numbers), len(numbers) - 1, 262_144 + 2 * len(trie), 262_143 + 2 * len(trie)):
        assert np.array_equal(trie.contains_many(numbers[:count]), expected[:count])
    matcher = Matcher()
    matcher.publish("acct-1", prefixes)
    assert np.array_equal(matcher.allows_many("acct-1", numbers), expected)
    # Where most prefixes are longer, the trie is walked.
    longer = PrefixTrie(random_table(4, "random /32", 500))
    assert np.array_equal(longer.contains_many(numbers), longer.lookup_many(numbers) >= 0)
    whole = PrefixTrie([*prefixes, "0.0.0.0/0"])
    assert whole.contains_many(numbers).all()


def test_a_branch_ends_at_the_limit_of_slots() -> None:
    runs = [f"{n}.1.{m}.3/32" for n in range(1, 40) for m in (1, 2)]
    try:
        for limit in range(1, 400, 7):
            _set_limit("words", limit)
            try:
                trie = PrefixTrie(runs)
            except MemoryError:
                continue
            assert [trie.match(prefix.partition("/")[0]) for prefix in runs] == runs
    finally:
        _set_limit("words", None)
    assert len(PrefixTrie(runs)) == len(runs)


def large_table(name: str) -> list[str]:
    """Tables of IPv6 prefixes large enough for edges."""
    source = np.random.default_rng(len(name))
    wide = [int(number) for number in source.integers(0, 2**63, 9_000)]
    long = [f"{IPv6Address(wide[n] << 65 | n << 32)}/96" for n in range(300)]
    long += [f"{IPv6Address(wide[n] << 65 | n)}/128" for n in range(200, 400)]
    lengths = [int(length) for length in source.choice([16, 20, 29, 32, 40, 44, 48, 56, 63, 64], 9_000)]
    random = [
        f"{IPv6Address(n << 1 >> 64 - length << 128 - length)}/{length}"
        for n, length in zip(wide, lengths, strict=True)
    ]
    ends = [
        "::/0",
        "::/128",
        "::/64",
        "ffff:ffff:ffff:ffff::/64",
        "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128",
        "8000::/1",
    ]
    chain = [f"{IPv6Address((0x26064700 << 96) >> 128 - length << 128 - length)}/{length}" for length in range(65)]
    siblings = [f"2a00:0:0:{n:x}::/64" for n in range(8_200)]
    return {
        "random": random,
        "ends and chains": [*random, *ends, *chain],
        "siblings": siblings,
        "siblings of one network": [*siblings, "2a00::/48"],
        "longer ones": [*random, *long, *(f"2a00:0:0:1::{n:x}/128" for n in range(40)), "2a00:0:0:1::/64"],
        "beside IPv4": [*siblings, *(f"9.9.{n}.0/24" for n in range(200))],
    }[name]


@pytest.mark.parametrize("form", _vector_forms())
@pytest.mark.parametrize(
    "name", ["random", "ends and chains", "siblings", "siblings of one network", "longer ones", "beside IPv4"]
)
def test_edges_find_what_the_walk_finds(name: str, form: str) -> None:
    prefixes = large_table(name)
    trie = PrefixTrie(prefixes)
    small = trie.nbytes
    source = np.random.default_rng(3)
    table = [(int(IPv6Address(one.partition("/")[0])), int(one.partition("/")[2])) for one in prefixes if ":" in one]
    asked = [number for _ in range(20) for number in near(6, table, source)]
    asked += [(first - 1) % 2**128 for first, _ in table[:800]] + [first for first, _ in table[-800:]]
    asked += [(first | (1 << 128 - length) - 1) + by & 2**128 - 1 for first, length in table[-800:] for by in (0, 1)]
    asked = [number for number in asked if number >> 32 != 0xFFFF]
    array = arrays(6, asked)
    walked = np.concatenate([trie.lookup_many(array[at : at + 2_000]) for at in range(0, len(array), 2_000)])
    for ipv4 in (np.zeros(5_000, dtype=np.uint32), np.zeros((5_000, 4), dtype=np.uint8)):
        trie.contains_many(ipv4)
    assert trie.nbytes == small  # small arrays are walked, and arrays of IPv4 need no edges
    try:
        _use_vector_form(None)
        trie.lookup_many(array)
        _use_vector_form(form)
        assert np.array_equal(trie.lookup_many(array), walked)
        assert np.array_equal(trie.contains_many(array), walked >= 0)
        assert np.array_equal(trie.lookup_many([text(6, number) for number in asked]), walked)
    finally:
        _use_vector_form(None)
    peer = PyTricia(128)
    order = list(trie)
    for prefix in order:
        if ":" in prefix:
            peer[prefix] = prefix
    for number, match in zip(asked[::7], walked[::7], strict=True):
        assert (None if match < 0 else order[match]) == peer.get(text(6, number))
    if _vector_forms() != ["portable"]:
        assert 0 < trie.nbytes - small < 40 * len(prefixes)
    # An index for arrays makes no other trie.
    assert trie == PrefixTrie(prefixes)
    assert hash(trie) == hash(PrefixTrie(prefixes))


def test_a_table_of_long_prefixes_makes_no_edges() -> None:
    trie = PrefixTrie(random_table(6, "random /128", 9_000))
    small = trie.nbytes
    assert trie.contains_many(arrays(6, [int(IPv6Address(prefix.partition("/")[0])) for prefix in trie])).all()
    assert trie.nbytes == small


def test_threads_that_ask_first_make_the_edges_once() -> None:
    prefixes = large_table("random")
    array = arrays(6, [int(IPv6Address(prefix.partition("/")[0])) for prefix in prefixes])
    for _ in range(10):
        trie = PrefixTrie(prefixes)
        start = Barrier(4)

        def ask(trie: PrefixTrie[str] = trie, start: Barrier = start) -> bool:
            start.wait(30)
            return bool(trie.contains_many(array).all())

        with ThreadPoolExecutor(4) as pool:
            assert all(answer.result() for answer in [pool.submit(ask) for _ in range(4)])


def test_tries_of_the_same_prefixes_are_equal_whatever_was_in_their_memory() -> None:
    # Blocks are compared with their padding, and an index may have an odd number of slots.
    for count in range(65, 140):
        prefixes = random_table(4, "random /32", count)
        first = PrefixTrie(prefixes)
        for filler in (b"\xff", b"\x01"):
            kept = [filler * (first.nbytes - 33) for _ in range(50)]
            del kept
            assert PrefixTrie(prefixes) == first
            assert hash(PrefixTrie(prefixes)) == hash(first)
